"""fvcore's schedulers: numbers as functions of progress, and the same as schedules of the iteration.

Progress ``where`` is ``iteration / max_iter``, a float, so that fvcore decides with a margin of 1e-6 in which stretch
an iteration lies. That margin is absolute: with a million iterations and more, stairs come iterations early. Where a
stretch begins is found here once, on the host, with fvcore's own arithmetic; a schedule then compares integers.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jaxsched.checks import number, positive, short
from jaxsched.ports.detectron2 import _shapes as shapes
from jaxsched.schedules import Schedule, constant, cosine, delayed, linear, piecewise, polynomial

WHERE_EPSILON = 1e-6
MOST_STAIRS = 1000
"""Each is a comparison at every step."""


class Window(NamedTuple):
    """The iterations over which a scheduler's progress goes from 0 to 1.

    Attributes:
        where: From an iteration to progress, in fvcore's own arithmetic.
        begin: Where progress is 0, in iterations.
        length: How many iterations progress takes from 0 to 1.
        max_iter: How many iterations the run has; after them the last value is held.
    """

    where: Callable[[int], float]
    begin: float
    length: float
    max_iter: int

    def first(self, is_there: Callable[[float], bool]) -> int:
        """The first iteration whose progress ``is_there`` says True to (and to all later), or one after the end."""
        return bisect.bisect_left(range(self.max_iter + 1), True, key=lambda iteration: is_there(self.where(iteration)))

    def on(self, core: Callable[[float], Schedule], shape: Callable[..., Schedule], *numbers: float) -> Schedule:
        """``core`` of the window's length, or where the window does not begin at a whole iteration a shape below."""
        whole = round(self.begin)
        if abs(self.begin - whole) < 1e-6:  # which is what is left of products of shares
            near = round(self.length)
            schedule = core(near if abs(self.length - near) < 1e-6 else self.length)
            return delayed(schedule, by=whole) if whole else schedule
        whole = math.floor(self.begin)
        return shape(*numbers, begin=whole, late=self.begin - whole, length=self.length)


@dataclasses.dataclass(frozen=True)
class ParamScheduler:
    """A number as a function of progress in [0, 1], as fvcore's: ``scheduler(where)``.

    Made by the functions of this module that have the names of fvcore's classes.

    Attributes:
        value: From progress to the number.
        window: From the iterations in which progress goes from 0 to 1 to the schedule.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> cosine = detectron2.CosineParamScheduler(start_value=1.0, end_value=0.0)
        >>> cosine(0.5), round(float(cosine.over(max_iter=100)(50)), 6)
        (0.5, 0.5)
    """

    value: Callable[[float], float]
    window: Callable[[Window], Schedule]

    def __call__(self, where: float) -> float:
        return self.value(where)

    def over(self, max_iter: int) -> Schedule:
        """The schedule whose progress at a step is ``step / max_iter``; after that the last value is held.

        (fvcore raises there, or continues outside its range.)
        """
        if isinstance(max_iter, bool) or not isinstance(max_iter, int) or max_iter < 1:
            raise ValueError(f"max_iter must be a whole number >= 1, got {short(max_iter)}")
        return self.window(Window(lambda iteration: iteration / max_iter, 0.0, max_iter, max_iter))


def ConstantParamScheduler(value: float) -> ParamScheduler:
    """``value`` throughout.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> detectron2.ConstantParamScheduler(0.5)(0.3)
        0.5
    """
    value = number("ConstantParamScheduler: value", value)
    return ParamScheduler(lambda where: value, lambda window: constant(value))


def CosineParamScheduler(start_value: float, end_value: float) -> ParamScheduler:
    """Half a cosine from ``start_value`` to ``end_value``: ``end + (start - end) * (1 + cos(pi * where)) / 2``.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> detectron2.CosineParamScheduler(start_value=1.0, end_value=0.5)(0.5)
        0.75
    """
    start_value = number("CosineParamScheduler: start_value", start_value)
    end_value = number("CosineParamScheduler: end_value", end_value)

    def value(where: float) -> float:
        return end_value + 0.5 * (start_value - end_value) * (1 + math.cos(math.pi * where))

    return ParamScheduler(
        value,
        lambda window: window.on(
            lambda steps: cosine(start_value, steps, end_value), shapes.half_wave, start_value, end_value
        ),
    )


def LinearParamScheduler(start_value: float, end_value: float) -> ParamScheduler:
    """A line from ``start_value`` to ``end_value``: ``end * where + start * (1 - where)``.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> detectron2.LinearParamScheduler(start_value=1.0, end_value=0.0)(0.25)
        0.75
    """
    start_value = number("LinearParamScheduler: start_value", start_value)
    end_value = number("LinearParamScheduler: end_value", end_value)

    def value(where: float) -> float:
        return end_value * where + start_value * (1 - where)

    return ParamScheduler(
        value,
        lambda window: window.on(
            lambda steps: linear(start_value, end_value, steps), shapes.line, start_value, end_value
        ),
    )


def ExponentialParamScheduler(start_value: float, decay: float) -> ParamScheduler:
    """``start_value * decay ** where``: ``start_value * decay`` at the end of the run.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> detectron2.ExponentialParamScheduler(start_value=2.0, decay=0.25)(0.5)
        1.0
    """
    start_value = number("ExponentialParamScheduler: start_value", start_value)
    decay = number("ExponentialParamScheduler: decay", decay)

    def over(window: Window) -> Schedule:
        whole = math.floor(window.begin)
        return shapes.fall(start_value, decay, begin=whole, late=window.begin - whole, length=window.length)

    return ParamScheduler(lambda where: start_value * decay**where, over)


def PolynomialDecayParamScheduler(base_value: float, power: float) -> ParamScheduler:
    """``base_value * (1 - where) ** power``: 0 at the end of the run; ``power`` > 0.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> detectron2.PolynomialDecayParamScheduler(base_value=1.0, power=2.0)(0.5)
        0.25
    """
    base_value = number("PolynomialDecayParamScheduler: base_value", base_value)
    power = positive("PolynomialDecayParamScheduler: power", power)
    return ParamScheduler(
        lambda where: base_value * (1 - where) ** power,
        lambda window: window.on(
            lambda steps: polynomial(base_value, 0.0, steps, power), shapes.power, base_value, power
        ),
    )


def MultiStepParamScheduler(
    values: Sequence[float], num_updates: int | None = None, milestones: Sequence[int] | None = None
) -> ParamScheduler:
    """``values[k]`` after ``k`` of the ``milestones``, which are counted in units of which the run has ``num_updates``.

    Args:
        values: The values.
        num_updates: Length of the run; where left out, the last of the milestones.
        milestones: Where each value ends, the last left out if ``num_updates`` is given; evenly spread where left out.

    Raises:
        ValueError: If both are left out, their number does not fit the values, or the milestones do not ascend between
            0 and ``num_updates``.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> stairs = detectron2.MultiStepParamScheduler([1.0, 0.1, 0.01], num_updates=90, milestones=[60, 80])
        >>> stairs(0.5), stairs(0.8), stairs(0.95)
        (1.0, 0.1, 0.01)
    """
    values = _numbers("MultiStepParamScheduler: values", values)
    if num_updates is None and milestones is None:
        raise ValueError("MultiStepParamScheduler: give num_updates, milestones or both")
    if milestones is None:
        width = math.ceil(num_updates / len(values))  # type: ignore[operator]
        milestones = [width * (i + 1) for i in range(len(values) - 1)]
    elif len(milestones) != len(values) - (num_updates is not None):
        raise ValueError(
            f"MultiStepParamScheduler: {len(values)} values need {len(values) - (num_updates is not None)} milestones"
            f"{' beside num_updates' if num_updates is not None else ''}, got {short(list(milestones))}"
        )
    at = list(milestones)
    total = at.pop() if num_updates is None else num_updates
    if total < len(values):
        raise ValueError(
            f"MultiStepParamScheduler: num_updates ({total}) must be at least {len(values)}, one per value"
        )
    if any(a >= b for a, b in zip([0, *at], [*at, total], strict=True)):
        raise ValueError(f"MultiStepParamScheduler: milestones must ascend between 0 and {total}, got {short(at)}")
    return _stairs(values, lambda where: bisect.bisect_right(at, int((where + WHERE_EPSILON) * total)))


def StepParamScheduler(num_updates: float, values: Sequence[float]) -> ParamScheduler:
    """The values one after another, each for an equal stretch. ``num_updates`` must be positive and has no effect.

    (fvcore raises IndexError at progress 1; here the last value is held.)

    Raises:
        TypeError, ValueError: If ``values`` is not a list of numbers or is empty, or ``num_updates`` is not positive.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> stairs = detectron2.StepParamScheduler(num_updates=100, values=[1.0, 0.5])
        >>> stairs(0.4), stairs(0.6)
        (1.0, 0.5)
    """
    positive("StepParamScheduler: num_updates", num_updates)
    values = _numbers("StepParamScheduler: values", values)
    if not values:
        raise ValueError("StepParamScheduler: values must hold at least one")
    return _stairs(values, lambda where: min(int((where + WHERE_EPSILON) * len(values)), len(values) - 1))


def StepWithFixedGammaParamScheduler(
    base_value: float, num_decays: int, gamma: float, num_updates: int
) -> ParamScheduler:
    """``num_decays`` decays by ``gamma`` at equal distances, from ``base_value`` on.

    Args:
        base_value: Value at the start, > 0.
        num_decays: Decays in the run, from 1 to 1000.
        gamma: Factor of a decay, > 0.
        num_updates: Length of the run, >= 1; it has no effect.

    Raises:
        ValueError: If a number is out of its range.

    Examples:
        >>> from jaxsched.ports import detectron2
        >>> stairs = detectron2.StepWithFixedGammaParamScheduler(1.0, num_decays=3, gamma=0.5, num_updates=100)
        >>> [stairs(where) for where in (0.0, 0.3, 0.6, 0.9)]
        [1.0, 0.5, 0.25, 0.125]
    """
    base_value = positive("StepWithFixedGammaParamScheduler: base_value", base_value)
    gamma = positive("StepWithFixedGammaParamScheduler: gamma", gamma)
    for name, count in (("num_decays", num_decays), ("num_updates", num_updates)):
        if not isinstance(count, int) or count < 1:
            raise ValueError(
                f"StepWithFixedGammaParamScheduler: {name} must be a whole number >= 1, got {short(count)}"
            )
    if num_decays > MOST_STAIRS:
        raise ValueError(
            f"StepWithFixedGammaParamScheduler: num_decays must be <= {MOST_STAIRS}, got {short(num_decays)}"
        )
    values = [base_value]
    for _ in range(num_decays):
        values.append(values[-1] * gamma)
    return StepParamScheduler(num_updates, values)


def _numbers(name: str, values: Sequence[float]) -> list[float]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{name} must be a list of numbers, got {short(values)}")
    return [number(f"{name}[{i}]", value) for i, value in enumerate(values)]


def reaches(stair: Callable[[float], int], k: int) -> Callable[[float], bool]:
    return lambda where: stair(where) >= k


def _stairs(values: Sequence[float], stair: Callable[[float], int]) -> ParamScheduler:
    def over(window: Window) -> Schedule:
        at = [window.first(reaches(stair, k)) for k in range(1, len(values))]
        return piecewise(values, at)

    return ParamScheduler(lambda where: values[stair(where)], over)
