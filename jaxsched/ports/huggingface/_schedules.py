"""The schedules of transformers' get_scheduler (5.23.0), each from its own arguments and a base lr."""

from __future__ import annotations

import bisect
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxsched.checks import count, number, short
from jaxsched.ports.huggingface._by_metric import OfLr, greedy_lr, reduce_lr_on_plateau
from jaxsched.ports.shared import MOST_CYCLES, cosine_cycles, shifted
from jaxsched.schedules import (
    Schedule,
    constant,
    cooldown,
    cosine,
    inverse_sqrt,
    linear,
    periodic_cosine,
    piecewise,
    polynomial,
    sequential,
)


def get_scheduler(
    name: str,
    num_warmup_steps: int | None = None,
    num_training_steps: int | None = None,
    scheduler_specific_kwargs: Mapping[str, Any] | None = None,
) -> OfLr:
    """The schedule that transformers' function of this name makes; the result is called with a base lr.

    ``get_scheduler(...)(lr, default=None)``: ``default`` is the lr that the optimizer was made with, to which
    ``lr_end`` and ``min_lr`` refer, where it differs from the group's. With ``W`` and ``T`` the two lengths and
    ``p = (s - W) / max(1, T - W)``, after a line from 0 at step 0 to the lr at ``W``:

    - linear: ``max(0, 1 - p)``. constant: 1, with no warm-up. constant_with_warmup: 1.
    - cosine (``num_cycles=0.5``): a wave of ``num_cycles`` periods, which continues past ``T``: it rises again.
    - cosine_with_restarts (``num_cycles=1``): ``num_cycles`` decays from 1; 0 from ``T`` on.
    - polynomial (``lr_end=1e-7``, ``power=1.0``): to ``lr_end``.
    - inverse_sqrt (``timescale=W or 10000``): ``1 / sqrt(1 + (s - W) / timescale)``.
    - cosine_with_min_lr (``num_cycles=0.5``, ``min_lr`` or ``min_lr_rate``): a wave between 1 and the rate.
    - cosine_warmup_with_min_lr (and ``warmup_lr_rate``): the same one step ahead; warm-up from ``1 / W``, or the rate.
    - warmup_stable_decay (``num_decay_steps``, ``num_stable_steps``, ``warmup_type``, ``decay_type``,
      ``min_lr_ratio=0``, ``num_cycles=0.5``): both ends at ``min_lr_ratio``, also the beginning of warm-up.
    - reduce_lr_on_plateau: torch's ReduceLROnPlateau with its arguments, as a `plateau`.
    - greedy: GreedyLR with its arguments, as a `greedy`. ``verbose`` changes nothing.

    A ``min_lr`` or ``max_lr`` by group is given to a ``get_scheduler`` for each group.

    Args:
        name: One of the above.
        num_warmup_steps: ``W``, where it is needed.
        num_training_steps: ``T``, where it is needed.
        scheduler_specific_kwargs: The further arguments of the schedule.

    Raises:
        TypeError: If the schedule has no such argument.
        ValueError: If ``name`` is not known, a length is missing or a number out of its range.

    Examples:
        >>> from jaxsched.ports import huggingface
        >>> lr = huggingface.get_scheduler("linear", num_warmup_steps=2, num_training_steps=6)(1.0)
        >>> [float(lr(step)) for step in range(8)]
        [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    name = str(getattr(name, "value", name))
    if name not in _SCHEDULES:
        raise ValueError(f"get_scheduler: name must be one of {', '.join(_SCHEDULES)}, got {short(name)}")
    make = _SCHEDULES[name]
    parameters = inspect.signature(make).parameters
    given = {"num_warmup_steps": num_warmup_steps, "num_training_steps": num_training_steps}
    lengths = {key: count(f"get_scheduler: {key}", value) for key, value in given.items() if value is not None}
    for key in given:
        if key in parameters and key not in lengths and parameters[key].default is inspect.Parameter.empty:
            raise ValueError(f"get_scheduler: {name} needs {key}; give it")
    kwargs = dict(scheduler_specific_kwargs or {})
    own = {key: value for key, value in lengths.items() if key in parameters}
    try:
        bound = inspect.signature(make).bind(**own, **kwargs)
    except TypeError as error:
        known = ", ".join(key for key in parameters if key not in given) or "none"
        raise TypeError(f"get_scheduler: {name}: {error}; its further arguments are {known}") from None
    return make(*bound.args, **bound.kwargs)


def _warmed(lr: float, num_warmup_steps: int, after: Schedule, line: Schedule | None = None) -> Schedule:
    """A line from 0 to the lr, then the schedule from its beginning."""
    if not num_warmup_steps:
        return after
    return sequential([line or linear(0.0, lr, num_warmup_steps), after], at=[num_warmup_steps])


def _wave(lr: float, steps: int, num_cycles: float, floor: float = 0.0) -> Schedule:
    periods = 2.0 * abs(number("num_cycles", num_cycles))
    return periodic_cosine(lr, steps / periods, floor) if periods else constant(lr)


def _constant() -> OfLr:
    return lambda lr, default=None: constant(lr)


def _constant_with_warmup(num_warmup_steps: int) -> OfLr:
    return lambda lr, default=None: _warmed(lr, num_warmup_steps, constant(lr))


def _linear(num_warmup_steps: int, num_training_steps: int) -> OfLr:
    steps = num_training_steps - num_warmup_steps

    def of_lr(lr: float, default: float | None = None) -> Schedule:
        del default
        return _warmed(lr, num_warmup_steps, linear(lr, 0.0, steps) if steps > 0 else constant(0.0))

    return of_lr


def _cosine(num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5) -> OfLr:
    steps = max(1, num_training_steps - num_warmup_steps)
    return lambda lr, default=None: _warmed(lr, num_warmup_steps, _wave(lr, steps, num_cycles))


def _cosine_with_restarts(num_warmup_steps: int, num_training_steps: int, num_cycles: float = 1) -> OfLr:
    steps = max(1, num_training_steps - num_warmup_steps)
    if not 0 < number("num_cycles", num_cycles) <= MOST_CYCLES:
        raise ValueError(f"num_cycles must be in (0, {MOST_CYCLES}], got {short(num_cycles)}")

    def cycle(step: int) -> int:
        """In transformers' own arithmetic, in which a restart may come a step late."""
        return math.floor(float(num_cycles) * (step / steps))

    length = steps / num_cycles
    wanted = range(math.ceil(num_cycles))
    starts = [bisect.bisect_left(range(steps), i, key=cycle) for i in wanted]
    spans = [(start - i * length, length) for i, start in zip(wanted, starts, strict=True)]

    def of_lr(lr: float, default: float | None = None) -> Schedule:
        del default
        if [*starts, steps] == [i * length for i in range(len(starts) + 1)]:
            falls = cosine_cycles(lr, int(length), cycles=len(starts))
        else:
            falls = cosine_cycles(lr, steps, cycles=len(starts), starts=[*starts, steps], spans=[*spans, (0.0, 1.0)])
        return _warmed(lr, num_warmup_steps, falls)

    return of_lr


def _polynomial(num_warmup_steps: int, num_training_steps: int, lr_end: float = 1e-7, power: float = 1.0) -> OfLr:
    steps = num_training_steps - num_warmup_steps

    def of_lr(lr: float, default: float | None = None) -> Schedule:
        default = lr if default is None else default
        if not default > number("lr_end", lr_end):
            raise ValueError(f"polynomial: lr_end must be below the lr ({default}), got {short(lr_end)}")
        end = lr * (lr_end / default)
        return _warmed(lr, num_warmup_steps, polynomial(lr, end, steps, power) if steps > 0 else constant(end))

    return of_lr


def _inverse_sqrt(num_warmup_steps: int, timescale: int | None = None) -> OfLr:
    scale = (num_warmup_steps or 10_000) if timescale is None else timescale
    return lambda lr, default=None: _warmed(lr, num_warmup_steps, inverse_sqrt(lr, scale))


def _rate(min_lr: float | None, min_lr_rate: float | None) -> Callable[[float], float]:
    """The least lr as a share of the optimizer's."""
    if (min_lr is None) == (min_lr_rate is None):
        raise ValueError(f"give exactly one of min_lr and min_lr_rate, got {short(min_lr)} and {min_lr_rate!r}")
    for name, value in (("min_lr", min_lr), ("min_lr_rate", min_lr_rate)):
        if value is not None and number(name, value) < 0:
            raise ValueError(f"{name} must be >= 0, got {short(value)}")
    return lambda default: min_lr / default if min_lr_rate is None else min_lr_rate  # type: ignore[operator]


def _cosine_with_min_lr(
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
) -> OfLr:
    rate = _rate(min_lr, min_lr_rate)
    steps = max(1, num_training_steps - num_warmup_steps)

    def of_lr(lr: float, default: float | None = None) -> Schedule:
        floor = lr * rate(lr if default is None else default)
        return _warmed(lr, num_warmup_steps, _wave(lr, steps, num_cycles, floor))

    return of_lr


def _cosine_warmup_with_min_lr(
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
    warmup_lr_rate: float | None = None,
) -> OfLr:
    rate = _rate(min_lr, min_lr_rate)
    steps = max(1, num_training_steps - num_warmup_steps)

    def of_lr(lr: float, default: float | None = None) -> Schedule:
        wave = _wave(lr, steps, num_cycles, lr * rate(lr if default is None else default))
        start = lr * (1 / max(1, num_warmup_steps) if warmup_lr_rate is None else warmup_lr_rate)
        line = linear(start, lr, num_warmup_steps - 1) if num_warmup_steps > 1 else constant(start)
        return _warmed(lr, num_warmup_steps, shifted(wave, 1), line)

    return of_lr


def _warmup_stable_decay(
    num_warmup_steps: int,
    num_decay_steps: int,
    num_training_steps: int | None = None,
    num_stable_steps: int | None = None,
    warmup_type: str = "linear",
    decay_type: str = "cosine",
    min_lr_ratio: float = 0,
    num_cycles: float = 0.5,
) -> OfLr:
    for name, value in (("warmup_type", warmup_type), ("decay_type", decay_type)):
        if value not in ("linear", "cosine", "1-sqrt"):
            raise ValueError(f"{name} must be 'linear', 'cosine' or '1-sqrt', got {short(value)}")
    count("num_decay_steps", num_decay_steps)
    if num_stable_steps is not None:
        begin = num_warmup_steps + count("num_stable_steps", num_stable_steps)
    elif num_training_steps is not None:
        begin = num_training_steps - num_decay_steps
    else:
        raise ValueError("warmup_stable_decay: give num_training_steps or num_stable_steps")
    end = begin + num_decay_steps
    ratio = number("min_lr_ratio", min_lr_ratio)
    if ratio < 0:
        raise ValueError(f"min_lr_ratio must be >= 0, got {short(ratio)}")

    def of_lr(lr: float, default: float | None = None) -> Schedule:
        del default
        floor, warm, down = lr * ratio, max(1, num_warmup_steps), max(1, num_decay_steps)
        rises = {
            "linear": linear(floor, lr, warm),
            "cosine": cosine(floor, warm, lr),
            "1-sqrt": polynomial(floor, lr, warm, power=0.5),
        }
        falls = {
            "linear": linear(lr, floor, down),
            "cosine": cosine(lr, down, floor) if num_cycles == 0.5 else _wave(lr, down, num_cycles, floor),
            "1-sqrt": cooldown(lr, at=0, steps=down, end=floor, shape="sqrt"),
        }
        # With more warm-up and decay than there are steps, decay is entered in its middle.
        parts, at = [rises[warmup_type], constant(lr), shifted(falls[decay_type], -begin)], [num_warmup_steps, begin]
        if decay_type == "cosine" and num_cycles != 0.5:  # a wave that does not stay where it ends
            parts, at = [*parts, constant(floor)], [*at, end]
        return piecewise(parts, at=np.maximum(at, num_warmup_steps).tolist())

    return of_lr


_SCHEDULES: dict[str, Callable[..., OfLr]] = {
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _cosine_with_restarts,
    "polynomial": _polynomial,
    "constant": _constant,
    "constant_with_warmup": _constant_with_warmup,
    "inverse_sqrt": _inverse_sqrt,
    "reduce_lr_on_plateau": reduce_lr_on_plateau,
    "greedy": greedy_lr,
    "cosine_with_min_lr": _cosine_with_min_lr,
    "cosine_warmup_with_min_lr": _cosine_warmup_with_min_lr,
    "warmup_stable_decay": _warmup_stable_decay,
}
