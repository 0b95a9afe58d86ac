"""Composes mmengine's schedulers, which change one shared number in turn, into one schedule.

Each scheduler counts *ticks*: steps, or epochs. It acts while ``begin <= tick < begin + length``; inside, ``t = tick
- begin`` is its clock. After its window nothing is restored. Two kinds have a closed form in ``t``:

- a *factor* multiplies the number: any of them together are their product, in any order;
- an *interpolation* goes from the current value (if *absolute*, the base value) to a floor. That is exact as long as
  no other scheduler moves the number on the way. Where one does, the recursion itself is run once, in float64, into
  a table.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxsched.ports.shared import held
from jaxsched.schedules import Schedule, constant, delayed, per_epoch, piecewise, product, table

MAX_TABLE = 5_000_000


class ClosedForm(NamedTuple):
    """A closed form: as a schedule of the clock, and in float64 on the host.

    Attributes:
        constant_after: Whether the schedule stays by itself after the window.
    """

    schedule: Schedule
    at: Callable[[int], float]
    constant_after: bool = False


@dataclass(frozen=True)
class Scheduler:
    """One scheduler of a list.

    Attributes:
        tick: Steps in a tick.
        acts: The ``t`` at which it changes the number, ascending.
        rule: The recursion: from the number, ``t`` and the base value to the next number.
        interpolation: From what it finds and the base value.
        base: What it makes the base value for itself and those after it in the list; None: leaves it.
    """

    begin: int
    length: int
    tick: int
    acts: Sequence[int]
    rule: Callable[[float, int, float], float]
    factor: ClosedForm | None = None
    interpolation: Callable[[float, float], ClosedForm] | None = None
    absolute: bool = False
    base: float | None = None

    @property
    def start(self) -> int:
        """The step at which its window begins."""
        return self.begin * self.tick

    @property
    def first(self) -> int:
        """The step of its first change."""
        return (self.begin + self.acts[0]) * self.tick

    @property
    def last(self) -> int:
        return (self.begin + self.acts[-1]) * self.tick

    def moves(self, first: int, last: int) -> bool:
        """Whether it changes the number at a step in [first, last]."""
        low, high = -(-first // self.tick) - self.begin, last // self.tick - self.begin
        return bisect_left(self.acts, low) < bisect_right(self.acts, high)

    def clock(self, step: int) -> int:
        """``t`` at a step, held at the end of the window; below 0 before it."""
        return min(step // self.tick - self.begin, self.length - 1)

    def factor_at(self, step: int) -> float:
        t = self.clock(step)
        return self.factor.at(t) if self.factor and t >= 0 else 1.0

    def on_steps(self, form: ClosedForm | None, steps: int) -> Schedule:
        """A form on the clock as a schedule of the step, 1 (or what it begins with) before the window."""
        if form is None:
            return constant(1.0)
        schedule = form.schedule
        if not form.constant_after and (self.begin + self.length) * self.tick < steps:
            schedule = held(schedule, self.length - 1)
        if self.begin:
            schedule = delayed(schedule, self.begin)
            if form is self.factor and form.at(0) != 1:
                schedule = piecewise([1.0, schedule], at=[self.begin])
        return schedule if self.tick == 1 else per_epoch(schedule, self.tick)


ValueAt = Callable[[int], float]


def compose(schedulers: Sequence[Scheduler], base: float, steps: int) -> Schedule:
    """The number at each of ``steps`` steps, starting from ``base``."""
    bases = {}
    initial = base
    for one in schedulers:
        initial = initial if one.base is None else one.base
        bases[id(one)] = initial
    acting = [one for one in schedulers if one.acts and one.first < steps]
    interpolations = sorted((one for one in acting if one.interpolation), key=lambda one: one.first)
    if any(other.moves(one.first, one.last) for one in interpolations for other in acting if other is not one):
        return _by_recursion(acting, base, bases, steps)
    factors = [one for one in acting if one.factor]
    if interpolations and any(one.factor_at(one.last) == 0 for one in factors):
        return _by_recursion(acting, base, bases, steps)

    starts = [*(one.first for one in interpolations), steps]  # until when each part counts
    soon = [one for one in factors if one.first < starts[0]]
    parts: list[Any] = [product(base, *(one.on_steps(one.factor, steps) for one in soon)) if soon else base]
    at = [0]
    value_at = _value_at(lambda step: base, factors)
    for one, until in zip(interpolations, starts[1:], strict=True):
        form = one.interpolation(value_at(max(one.first - 1, 0)), bases[id(one)])  # type: ignore[misc]
        still = not any(other.moves(one.start + 1, one.first) for other in acting if other is not one)
        since = one.start if still else one.first  # where nothing moves it, it already has the entry's value
        later = [other for other in factors if other.last > since and other.first < until]
        schedule = one.on_steps(form, steps)
        if later:
            done = _product_at(later, since)
            schedule = product(schedule, *(other.on_steps(other.factor, steps) for other in later), 1.0 / done)
        parts.append(schedule)
        at.append(since)

        value_at = _value_at(functools.partial(_at, one, form), factors, since)

    while len(at) > 1 and at[1] == 0:
        del parts[0], at[1]
    if len(parts) > 1:
        return piecewise(parts, at=at[1:])
    return parts[0] if isinstance(parts[0], Schedule) else constant(parts[0])


def _at(one: Scheduler, form: ClosedForm, step: int) -> float:
    return form.at(one.clock(step))


def _value_at(
    interpolation: Callable[[int], float], factors: Sequence[Scheduler], since: int | None = None
) -> Callable[[int], float]:
    """The number at a step: that of an interpolation, times what the factors have become ``since``."""
    before = 1.0 if since is None else _product_at(factors, since)
    return lambda step: interpolation(step) * _product_at(factors, step) / before


def _product_at(factors: Sequence[Scheduler], step: int) -> float:
    return math.prod(one.factor_at(step) for one in factors)


def _by_recursion(schedulers: Sequence[Scheduler], base: float, bases: dict[int, float], steps: int) -> Schedule:
    tick = math.gcd(*(one.tick for one in schedulers))
    length = min(max(one.last for one in schedulers), steps - 1) // tick + 1
    if length > MAX_TABLE:
        raise ValueError(
            f"param_scheduler: schedulers that change one number at the same time are tabulated, for {MAX_TABLE} steps "
            f"at most, and these go on for {length}: give them windows that do not overlap"
        )
    # At the end of an epoch those that count steps act before those that count epochs.
    in_turn = sorted(schedulers, key=lambda one: one.tick)
    value, values = base, np.empty(length)
    for now in range(length):
        for one in in_turn if now else schedulers:
            t, rest = divmod(now * tick, one.tick)
            if not rest and one.begin <= t < one.begin + one.length:
                value = one.rule(value, t - one.begin, bases[id(one)])
        values[now] = value
    return table(values) if tick == 1 else per_epoch(table(values), tick)
