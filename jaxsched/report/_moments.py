"""The moments that matter in a schedule: where a warm-up ends, milestones, the ends of its parts.

A schedule is a value, so they are read off it: from the arguments that the vocabulary of schedules has (``steps``,
``at``, ``every``), each on the clock of the part it belongs to.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jax.core import Tracer

from jaxsched.schedules import Schedule

MOST = 100
"""Moments of one part that repeats; what comes later is like what came before."""


class Clock(NamedTuple):
    """How a part counts, and the steps ``[begin, end)`` in which it is used.

    It counts batches, epochs or updates: one for every ``every`` batches since the step ``zero``, and one at the end of
    each ``epoch`` of so many batches. Its ``t`` is the count ``start + t``.
    """

    start: float = 0.0
    begin: float = 0.0
    end: float = math.inf
    every: int = 1
    epoch: int = 1
    zero: float = 0.0

    def at(self, t: float) -> float:
        """When ``t`` is reached, in steps of the run; in fractions of one too, where batches are counted."""
        count = self.start + t
        if self.every == 1 or math.isinf(count):
            return self.zero + count
        whole, rest = divmod(math.ceil(count), -(-self.epoch // self.every))
        return self.zero + whole * self.epoch + rest * self.every

    def step(self, t: float) -> int:
        """The first step of the run at which ``t`` is reached."""
        return math.ceil(self.at(t))

    def moved(self, by: float) -> Clock:
        return self._replace(start=self.start + by)

    def within(self, begin: float, end: float) -> Clock:
        """Used between two of its ``t`` only."""
        return self._replace(begin=max(self.begin, self.at(begin)), end=min(self.end, self.at(end)))

    def counting(self, every: float, epoch: float) -> Clock:
        """One within this that counts groups of its counts."""
        if self.every == 1:
            return self._replace(start=0.0, every=int(every), epoch=int(epoch), zero=self.zero + self.start)
        return self._replace(start=self.start / every, every=int(self.every * every), epoch=int(self.epoch * epoch))


@dataclasses.dataclass(frozen=True)
class Moment:
    """A step at which something happens in a schedule."""

    step: int
    """The step, counted from 0 as in the run."""
    what: str
    """``"warm-up ends"``, ``"milestone"``, ``"cosine ends"``, ..."""
    part: Schedule
    """The part of the schedule that it is in."""
    clock: Clock
    """How that part counts."""

    @property
    def happens(self) -> bool:
        """Whether the part is in use then (and not followed by another already)."""
        return self.clock.begin <= self.step <= self.clock.end


def moments(value: Any, steps: int | None = None) -> list[Moment]:
    """The moments that matter in a schedule, in order; those that are never reached too.

    Args:
        value: A schedule, or a number (which has none).
        steps: Length of the run; parts that repeat without end are followed so far.

    Example:
        >>> import jaxsched as js
        >>> lr = js.warmup(js.per_epoch(js.multi_step(0.02, at=(8, 11)), 7330), steps=500)
        >>> [(moment.step, moment.what) for moment in js.report.moments(lr)]
        [(500, 'warm-up ends'), (58640, 'milestone'), (80630, 'milestone')]
    """
    return sorted(_walk(value, Clock(), math.inf if steps is None else steps), key=lambda moment: moment.step)


def parts(value: Any, clock: Clock | None = None) -> Iterator[tuple[Schedule, Clock]]:
    """The schedule and all those within it, each with its clock."""
    clock = clock or Clock()
    if isinstance(value, Schedule):
        yield value, clock
        for inner, its_clock in _inner(value, clock):
            yield from parts(inner, its_clock)


def number(value: Any) -> float | None:
    """A number of any kind that the host knows, or None."""
    if isinstance(value, Tracer) or value is None or isinstance(value, str | bool | Schedule):
        return None
    if hasattr(value, "dtype"):
        return float(value) if np.ndim(value) == 0 and np.issubdtype(value.dtype, np.number) else None
    return float(value) if hasattr(value, "__float__") else None


def numbers(value: Any) -> list[float]:
    """The numbers in a sequence or array; none where there is something else."""
    if isinstance(value, Tracer) or value is None or isinstance(value, str):
        return []
    found = [number(item) for item in value] if hasattr(value, "__len__") and np.ndim(value) == 1 else []
    return [item for item in found if item is not None]


def _walk(value: Any, clock: Clock, steps: float) -> Iterator[Moment]:
    for part, its_clock in parts(value, clock):
        for t, what in _own(part, steps / its_clock.every):
            yield Moment(its_clock.step(t), what, part, its_clock)


def _own(part: Schedule, length: float) -> Iterator[tuple[float, str]]:
    """When something happens in a part by itself, on its own clock."""
    if not _known(part):
        return
    arguments = part.arguments
    repeating = _REPEATING.get(part.name)
    duration, at = number(arguments.get("steps")), numbers(arguments.get("at"))
    if repeating:
        yield from repeating(arguments, length)
    elif part.name == "cooldown" and (begin := number(arguments["at"])) is not None and duration is not None:
        yield begin, "cooldown begins"
        yield begin + duration, "cooldown ends"
    elif at:
        yield from zip(at, _joins(part, len(at)), strict=True)
    elif (window := number(arguments.get("length"))) is not None:  # Detectron2's, with a beginning of their own
        end = (number(arguments["begin"]) or 0.0) + (number(arguments["late"]) or 0.0) + window
        yield end, "warm-up ends" if rises(part) else f"{part.name} ends"
    elif duration is not None and part.name not in _TIME_CONSTANTS:
        yield duration, "warm-up ends" if rises(part) else f"{part.name} ends"


def _known(part: Schedule) -> bool:
    """Whether its arguments mean what the vocabulary says: those of a user's schedule may mean anything."""
    module = part.maker.__module__
    return module.startswith("jaxsched.schedules") or (module.startswith("jaxsched.ports") and part.name in _OF_PORTS)


_OF_PORTS = (
    *("quadratic_rise", "shifted", "held", "line", "half_wave", "power", "fall", "by_update"),
    *("cosine_cycles", "tanh_cycles", "poly_cycles"),
)
"""Schedules of ports whose arguments are known here."""
_TIME_CONSTANTS = ("exponential_ramp", "inverse_power", "exponential")
"""Schedules whose lengths are no ends."""


def _joins(part: Schedule, count: int) -> list[str]:
    """What the steps ``at`` are: between mere numbers a milestone, or the end of a warm-up that is one number."""
    if part.name == "multi_step":
        return ["milestone"] * count
    values = numbers(part.arguments.get("values"))
    if part.name != "piecewise" or len(values) != count + 1:
        return ["next part"] * count
    return ["warm-up ends" if k == 0 and values[1] > values[0] else "milestone" for k in range(count)]


def rises(part: Schedule) -> bool:
    """Whether a part is a warm-up: one by name, or a rise that ends."""
    low, high = (number(part.arguments.get(name)) for name in ("start", "end"))
    if part.name in ("linear", "polynomial", "line", "half_wave"):
        return low is not None and high is not None and low < high
    return part.name in ("warmup", "quadratic_rise")


def _stairs(arguments: Any, length: float) -> Iterator[tuple[float, str]]:
    every = number(arguments["every"])
    if every:
        yield from ((k * every, "milestone") for k in range(1, min(MOST, math.ceil(min(length, 1e9) / every) - 1) + 1))


def _restarts(arguments: Any, length: float) -> Iterator[tuple[float, str]]:
    cycle, stretch, cycles = (number(arguments[name]) for name in ("steps", "stretch", "cycles"))
    t = 0.0
    for k in range(1, MOST if cycles is None else int(cycles) + 1):
        t += cycle or length
        yield t, "cosine ends" if k == cycles else "restart"
        cycle = (cycle or length) * (stretch or 1)
        if t >= length:
            return


def _cycles(arguments: Any, length: float) -> Iterator[tuple[float, str]]:
    cycle, cycles, starts = number(arguments["steps"]), number(arguments["cycles"]), numbers(arguments["starts"])
    last = len(starts) - 1 if starts else int(cycles or 0)
    for k in range(1, min(MOST, last) + 1):
        end = starts[k] if starts else k * (cycle or length)
        yield end, "last cycle ends" if k == last else "restart"
        if end >= length:
            return


def _waves(arguments: Any, length: float) -> Iterator[tuple[float, str]]:
    up = number(arguments["up"])
    down = number(arguments.get("down")) or up
    if up and down:
        for k in range(min(MOST, int(min(length, 1e9) // (up + down)) + 1)):
            yield k * (up + down) + up, "top of a cycle"
            yield (k + 1) * (up + down), "restart"


def _halves(arguments: Any, length: float) -> Iterator[tuple[float, str]]:
    half = number(arguments["steps"])
    if half:
        for k in range(1, min(MOST, int(min(length, 1e9) // half)) + 1):
            yield k * half, "floor of the wave" if k % 2 else "top of the wave"


_REPEATING: dict[str, Callable[[Any, float], Iterator[tuple[float, str]]]] = {
    "step_decay": _stairs,
    "cosine_restarts": _restarts,
    "cyclic": _waves,
    "cosine_cycles": _cycles,
    "tanh_cycles": _cycles,
    "poly_cycles": _cycles,
    "periodic_cosine": _halves,
}


def _inner(part: Schedule, clock: Clock) -> Iterator[tuple[Any, Clock]]:
    """What is within a part, each with its clock."""
    if not _known(part):
        return
    a = part.arguments
    scale, by, after, every = (number(a.get(name)) for name in ("steps_per_epoch", "by", "after", "every"))
    if part.name in ("sequential", "piecewise") and (at := numbers(a["at"])):
        edges = [0.0, *at, math.inf]
        for k, inner in enumerate(a.get("schedules", a.get("values"))):
            inside = clock.within(edges[k], edges[k + 1])
            yield inner, inside.moved(edges[k]) if part.name == "sequential" else inside
        return
    if part.name == "per_epoch" and scale:
        clock = clock.counting(scale, scale)
    elif part.name == "by_update" and scale and every:
        clock = clock.counting(every, scale)
    elif part.name in ("delayed", "shifted") and by is not None:
        clock = clock.moved(by if part.name == "delayed" else -by)
    elif part.name == "held" and after is not None:
        clock = clock.within(0.0, after)
    for value in a.values():
        for inner in value if isinstance(value, tuple | list) else (value,):
            yield inner, clock
