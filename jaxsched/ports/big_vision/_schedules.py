"""big_vision's learning rate schedules, by the arguments that its configs have in ``schedule``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared
from jaxsched.schedules import (
    Schedule,
    constant,
    cooldown,
    cosine,
    inverse_sqrt,
    linear,
    piecewise,
    polynomial,
    product,
    sequential,
    warmup,
)

DECAY_TYPES = ("stair", "linear", "polynomial", "cosine", "rsqrt")
_SUFFIXES = ("steps", "examples", "epochs", "percent")


def create_learning_rate_schedule(
    total_steps: int,
    batch_size: int | None = None,
    data_size: int | None = None,
    base: float = 1.0,
    decay_type: str = "stair",
    scale_with_batchsize: bool = False,
    **kw: Any,
) -> Schedule:
    """The schedule that big_vision's function of this name makes, by its arguments.

    With ``T``, ``W`` and ``C`` the steps of the run, the warm-up and the cooldown, and ``t = (step - W) / (T - W)``
    clamped to [0, 1], it is ``base`` times

    - cosine: ``(1 + cos(pi * t)) / 2``
    - linear, polynomial: ``(1 - t) ** power``, from ``base`` to ``end`` (or ``linear_end``)
    - rsqrt: ``1 / sqrt(1 + (step - W + shift) / timescale)`` from ``W`` on, before it the value at ``W``
    - stair: ``mults[k]`` from ``steps[k]`` on, before it 1

    times ``min(1, step / W)``, times ``min(1, (T - step) / C)``. With a cooldown it is 0 after ``T``, where the
    original would go below 0.

    ``W``, ``C``, the timescale and the shift are each given as ``warmup_steps``, ``warmup_examples``, ``warmup_epochs``
    or ``warmup_percent``, a fraction of the run; what is not in steps is rounded to the nearest step, and to at least
    one.

    Args:
        total_steps: Steps of the run, > 0.
        batch_size: Examples in a batch.
        data_size: Examples in the training data.
        base: Value after the warm-up.
        decay_type: One of the above.
        scale_with_batchsize: Multiply ``base`` by ``batch_size / 256``.
        kw: The durations, and ``power``, ``end``, ``linear_end``, ``timescale``, ``shift``, ``steps``, ``mults``.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is out of its range, or an argument is not known.

    Examples:
        >>> from jaxsched.ports import big_vision
        >>> lr = big_vision.create_learning_rate_schedule(8, decay_type="cosine", warmup_percent=0.5)
        >>> [round(float(lr(step)), 3) for step in range(9)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    values = {"base": base, "decay_type": decay_type, "scale_with_batchsize": scale_with_batchsize, **kw}
    run = Run(total_steps, batch_size, data_size)
    a = shared.Settings("create_learning_rate_schedule", values)
    found = schedule_of(a, run)
    a.finish()
    return found


class Run:
    """What durations are counted by.

    Args:
        steps: Steps of the run, > 0; None while they are not known.
        batch_size: Examples in a batch, or None.
        data_size: Examples in the training data, or None.
    """

    def __init__(self, steps: Any, batch_size: Any, data_size: Any):
        self.steps = None if steps is None else shared.as_count("total_steps", steps)
        self.batch_size = None if batch_size is None else shared.as_count("batch_size", batch_size)
        self.data_size = None if data_size is None else shared.as_count("images", data_size)

    def duration(self, a: shared.Settings, prefix: str) -> float | None:
        """The steps that ``prefix_steps``, ``_examples``, ``_epochs`` or ``_percent`` give, or None."""
        given = {suffix: a.number(f"{prefix}_{suffix}", None) for suffix in _SUFFIXES}
        given = {suffix: value for suffix, value in given.items() if value is not None and value >= 0}
        if len(given) > 1:
            names = " and ".join(f"{prefix}_{suffix}" for suffix in given)
            raise ValueError(f"{a.where}: {names} are both given; keep one")
        for suffix, value in given.items():
            if suffix == "steps":
                return value
            length = self._unit(a, f"{prefix}_{suffix}", suffix, value)
            return max(1, round(length)) if length else 0
        return None

    def _unit(self, a: shared.Settings, name: str, suffix: str, value: float) -> float:
        if suffix == "percent":
            if self.steps is None:
                raise ValueError(f"{a.at(name)} is a part of itself; give it in steps, examples or epochs")
            return shared.within(a.at(name), value, 0.0, 1.0) * self.steps
        if self.batch_size is None:
            raise ValueError(f"{a.at(name)} needs the batch size; add input.batch_size")
        if suffix == "examples":
            return value / self.batch_size
        if self.data_size is None:
            raise shared.MissingError(a.where, f"{name} counts epochs", ("images",))
        return value * (self.data_size / self.batch_size)


def schedule_of(a: shared.Settings, run: Run, scale: float = 1.0) -> Schedule:
    """The schedule that settings give, times ``scale``."""
    steps = run.steps
    assert steps is not None
    base = a.number("base", 1.0, low=0.0)
    if a.flag("scale_with_batchsize", False):
        if run.batch_size is None:
            raise ValueError(f"{a.at('scale_with_batchsize')} needs the batch size; add input.batch_size")
        base = base * run.batch_size / 256.0
    warm, cool = run.duration(a, "warmup") or 0, run.duration(a, "cooldown") or 0
    if warm >= steps:
        raise ValueError(f"{a.where}: the warm-up of {warm:g} steps must be shorter than the run of {steps}")
    kind = a.choice("decay_type", DECAY_TYPES, "stair")
    try:
        value = _SHAPES[kind](a, run, base * scale, warm, scale)
        if cool > steps:
            return product(value, linear(steps / cool, 0.0, steps))
        if cool != int(cool):
            raise ValueError(f"the cooldown must be a whole number of steps, got {cool:g}")
        return cooldown(value, at=steps - int(cool), steps=int(cool)) if cool else value
    except (TypeError, ValueError) as error:
        text = str(error)
        raise type(error)(text if text.startswith(a.where) else f"{a.where}: {text}") from None


def _after(rise_to: Any, warm: float, falls: Schedule) -> Schedule:
    """A line from 0 to ``rise_to`` at ``warm``, then a schedule with a clock of its own."""
    if warm != int(warm):
        raise ValueError(f"warmup_steps must be a whole number, got {short(warm)}; a part of the run is warmup_percent")
    return sequential([linear(0.0, rise_to, int(warm)), falls], at=[int(warm)]) if warm else falls


def _falling(shape: str, peak: float, warm: float, steps: int, floor: float) -> Schedule:
    """Half a cosine or a line to ``floor`` at ``steps``, after a warm-up that may end between two steps."""
    if warm == int(warm):
        made = cosine if shape == "cos" else lambda start, length, end: linear(start, end, length)
        return _after(peak, warm, made(peak, steps - int(warm), floor))
    first = math.ceil(warm)
    falls = shared.phases([peak, peak, floor], ends=[warm, steps], shape=shape)
    return piecewise([linear(0.0, peak, warm) if first > 1 else 0.0, falls], at=[first])


def _cosine(a: shared.Settings, run: Run, peak: float, warm: float, scale: float) -> Schedule:
    del a, scale
    return _falling("cos", peak, warm, run.steps or 0, 0.0)


def _polynomial(a: shared.Settings, run: Run, peak: float, warm: float, scale: float) -> Schedule:
    steps, power = run.steps or 0, a.positive("power", 1)
    linear_end = a.number("linear_end", 0, low=0.0)
    end = a.number("end", linear_end, low=0.0) * scale
    if power == 1:
        return _falling("linear", peak, warm, steps, end)
    return _after(peak, warm, polynomial(peak, end, steps - int(warm), power))


def _rsqrt(a: shared.Settings, run: Run, peak: float, warm: float, scale: float) -> Schedule:
    del scale
    plain = {"timescale": a.number("timescale", 10_000), "shift": a.number("shift", 0)}
    found = {name: run.duration(a, name) for name in plain}
    time, shift = (plain[name] if found[name] is None else found[name] for name in plain)
    assert time is not None
    assert shift is not None
    if time <= 0 or time + shift <= 0:
        raise ValueError(f"timescale and timescale + shift must be positive, got {time:g} and {time + shift:g}")
    # 1 + (x + shift) / time = (time + shift) / time * (1 + x / (time + shift))
    peak = peak * math.sqrt(time / (time + shift))
    return _after(peak, warm, inverse_sqrt(peak, time + shift))


def _stair(a: shared.Settings, run: Run, peak: float, warm: float, scale: float) -> Schedule:
    del run, scale
    at, mults = a.counts("steps", [], least=0), a.numbers("mults", [])
    if len(mults) < len(at) or at != sorted(set(at)):
        raise ValueError(f"{a.at('steps')} must ascend, with a number in mults for each, got {short(at)}")
    if any(mult < 0 for mult in mults):
        raise ValueError(f"{a.at('mults')} must be >= 0, got {short(mults)}")
    stairs = piecewise([peak, *(peak * mult for mult in mults[: len(at)])], at=at) if at else constant(peak)
    return warmup(stairs, warm) if warm else stairs


_SHAPES: Mapping[str, Any] = {
    "stair": _stair,
    "linear": _polynomial,
    "polynomial": _polynomial,
    "cosine": _cosine,
    "rsqrt": _rsqrt,
}
