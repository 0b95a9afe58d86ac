"""What a schedule declares beside its formula: where something happens in it, and how its parts count steps.

``explain``, ``lint`` and ``plot`` know a schedule by its declarations alone, never by its name::

    @schedule(moments=ends("steps", "start", "end"))
    def linear(step, start: Number, end: Number, steps: Duration): ...

    @schedule(moments=no_moments, clock=lambda a, clock: {"schedule": clock.counting(a.number("steps_per_epoch"))})
    def per_epoch(step, schedule: Value, steps_per_epoch: PositiveCount): ...
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jax.core import Tracer

MOST = 100
"""Moments listed of a part that repeats; the later ones are like the earlier ones."""

Kind = Literal["rise", "warm-up", "milestone", "part", "restart", "end", "low", "other"]


class Mark(NamedTuple):
    """A moment of a schedule on its own clock.

    Attributes:
        t: When it happens, in counts of the schedule's clock; it need not be whole.
        kind: ``"rise"``: the end of a rise, which is a warm-up where the run begins with it. ``"warm-up"``: the end of
            a warm-up. ``"milestone"``: a jump. ``"part"``: the next part begins. ``"restart"``: a cycle begins.
            ``"end"``: the value stays from here on. ``"low"``: the lowest point of a wave. ``"other"``: anything else.
        what: What happens, in words; by default those of the kind.
    """

    t: float
    kind: Kind
    what: str = ""


class UnknownArgument(Exception):
    """An argument that only a compiled program knows, or that is not a number."""


class Arguments(Mapping[str, Any]):
    """The arguments of a schedule, as a declaration reads them."""

    def __init__(self, values: Mapping[str, Any]):
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def number(self, name: str, default: float | None = None) -> float:
        """The number ``name``, or ``default`` where the argument is None."""
        value = self[name]
        found = default if value is None and default is not None else number(value)
        if found is None:
            raise UnknownArgument(name)
        return found

    def numbers(self, name: str) -> list[float]:
        """The numbers in the sequence ``name``."""
        found = numbers(self[name])
        if found is None:
            raise UnknownArgument(name)
        return found


def _same(t: float) -> float:
    return float(t)


@dataclasses.dataclass(frozen=True)
class Clock:
    """How a part of a schedule counts, and the steps of the run in which the part is used.

    Attributes:
        begin: The first step of the run at which the part is used.
        end: The step at which it is replaced; infinite where nothing replaces it.
        every: Steps of the run to one count.
        unit: What it counts, in words.
        at: From a count, fractions included, to the step of the run at which it is reached, fractions included.
    """

    begin: float = 0.0
    end: float = math.inf
    every: float = 1.0
    unit: str = "steps"
    at: Callable[[float], float] = _same

    def step(self, t: float) -> int:
        """The first step of the run at which the count ``t`` is reached."""
        return math.ceil(self.at(t))

    def moved(self, by: float) -> Clock:
        """A clock that begins to count at the count ``by`` of this one."""
        return dataclasses.replace(self, at=lambda t: self.at(t + by))

    def within(self, begin: float, end: float) -> Clock:
        """This clock, for a part that is used between two of its counts."""
        return dataclasses.replace(self, begin=max(self.begin, self.at(begin)), end=min(self.end, self.at(end)))

    def counting(self, every: float, epoch: float | None = None, unit: str = "") -> Clock:
        """A clock that counts groups of ``every`` counts of this one.

        Args:
            every: The size of a group.
            epoch: Counts of this clock to an epoch; the last group of an epoch ends with it, however small it is.
            unit: What the groups are called.
        """
        groups = math.ceil((epoch or every) / every)

        def at(t: float) -> float:
            if math.isinf(t):
                return t
            epochs, rest = divmod(math.ceil(t), groups)  # a group is over before what lies inside the next one
            return self.at(epochs * (epoch or every) + rest * every)

        return Clock(self.begin, self.end, self.every * every, unit or f"x {every:g} {self.unit}", at)

    def faster(self, units: float) -> Clock:
        """A clock that counts ``units`` to each count of this one."""
        unit = self.unit if units == 1 else f"1/{units:g} {self.unit}"
        return Clock(self.begin, self.end, self.every / units, unit, lambda t: self.at(t / units))


MomentsOf = Callable[[Arguments, float], Iterable[Mark]]
"""From a schedule's arguments and the length of the run in its counts (infinite if unknown) to its moments."""
ClockOf = Callable[[Arguments, Clock], Mapping[str, Any]]
"""From a schedule's arguments and its clock to the clocks of the schedules within it, by argument: a `Clock`; a list of
them for a sequence; None where nothing that happens within shows. Arguments left out are on the schedule's own."""


def no_moments(a: Arguments, run: float) -> Iterable[Mark]:
    """The declaration of a schedule in which nothing happens but in its parts: it has no end of its own.

    Args:
        a: The arguments of the schedule.
        run: Length of the run, in steps of the schedule's own clock.
    """
    del a, run
    return ()


def ends(length: str, start: str | None = None, end: str | None = None) -> MomentsOf:
    """The declaration of a schedule that stays at its last value from the argument ``length`` on.

    Args:
        length: The argument that says when.
        start: The argument that it comes from, and
        end: that it goes to: where the second is the larger, it is a rise.

    Examples:
        >>> import jaxsched as js
        >>> from jaxsched.schedules import Length, Number, ends, schedule
        >>> @schedule(moments=ends("steps"))
        ... def half_sawtooth(step, peak: Number, steps: Length):
        ...     return peak * (1 - (step / steps).clip(0, 1))
        >>> [(moment.step, moment.what) for moment in js.report.moments(half_sawtooth(0.1, 300))]
        [(300, 'half_sawtooth ends')]
    """

    def declared(a: Arguments, run: float) -> Iterable[Mark]:
        del run
        low, high = (None if name is None else number(a[name]) for name in (start, end))
        yield Mark(a.number(length), "rise" if low is not None and high is not None and low < high else "end")

    return declared


def warms_up(length: str) -> MomentsOf:
    """The declaration of a schedule that is a warm-up until the argument ``length``."""
    return lambda a, run: [Mark(a.number(length), "warm-up")]


def cools_down(at: str, length: str) -> MomentsOf:
    """The declaration of a schedule that is left at ``at``, and at its last value ``length`` later."""
    return lambda a, run: [
        Mark(a.number(at), "other", "cooldown begins"),
        Mark(a.number(at) + a.number(length), "end", "cooldown ends"),
    ]


def stairs(every: str, only_if: str | None = None) -> MomentsOf:
    """The declaration of a schedule that jumps at regular intervals, if the argument ``only_if`` is true.

    ``every`` names the argument with the length of the intervals.
    """

    def declared(a: Arguments, run: float) -> Iterable[Mark]:
        if only_if is not None and not a[only_if]:
            return []
        length = a.number(every)
        return [Mark(k * length, "milestone") for k in range(1, times(run, length, before_end=True) + 1)]

    return declared


def restarts(every: str) -> MomentsOf:
    """The declaration of a schedule that restarts at regular intervals; ``every`` names the argument with it."""

    def declared(a: Arguments, run: float) -> Iterable[Mark]:
        cycle = a.number(every)
        return [Mark(k * cycle, "restart") for k in range(1, times(run, cycle) + 1)]

    return declared


def half_waves(half: str) -> MomentsOf:
    """The declaration of a wave that is at its lowest at ``half``, and at its highest again at twice that."""

    def declared(a: Arguments, run: float) -> Iterable[Mark]:
        length = a.number(half)
        for k in range(1, times(run, length) + 1):
            low = k % 2 == 1
            yield Mark(k * length, "low" if low else "other", "floor of the wave" if low else "top of the wave")

    return declared


def times(run: float, length: float, before_end: bool = False) -> int:
    """How often ``length`` fits into the run, `MOST` at most; ``before_end``: strictly before the run's end."""
    if length <= 0:
        return 0
    often = min(run, 1e9) / length
    return min(MOST, math.ceil(often) - 1 if before_end else math.floor(often))


def number(value: Any) -> float | None:
    """A number of any type that the host knows, or None."""
    if isinstance(value, Tracer) or value is None or isinstance(value, str | bool):
        return None
    if hasattr(value, "dtype"):
        return float(value) if np.ndim(value) == 0 and np.issubdtype(value.dtype, np.number) else None
    return float(value) if hasattr(value, "__float__") else None


def numbers(value: Any) -> list[float] | None:
    """The numbers in a sequence or array, or None where there is anything else."""
    if isinstance(value, Tracer) or not (isinstance(value, tuple | list) or np.ndim(value) == 1):
        return None
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":  # may be of many thousand milestones
        return [float(item) for item in value.tolist()]
    found = [number(item) for item in value]
    known = [item for item in found if item is not None]
    return known if len(known) == len(found) else None
