"""The moments that matter in a schedule: where a warm-up ends, milestones, the ends of its parts.

They are read off the schedule, which is a value: each of its parts declares its own (see `schedule`), on its own clock.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxsched.schedules._declarations import Arguments, Clock, Kind, Mark, UnknownArgument
from jaxsched.schedules._schedule import Schedule


@dataclasses.dataclass(frozen=True)
class Moment:
    """A step at which something happens in a schedule.

    Attributes:
        step: The step, counted from 0 as in the run.
        what: What happens: ``"warm-up ends"``, ``"milestone"``, ``"cosine ends"``, ...
        part: The part of the schedule in which it happens.
        clock: How that part counts.
        kind: What sort of moment it is; see `Mark`.
    """

    step: int
    what: str
    part: Schedule
    clock: Clock
    kind: Kind

    @property
    def happens(self) -> bool:
        """Whether the part is in use at that step, and not followed by another already."""
        return self.clock.begin <= self.step <= self.clock.end


def moments(value: Any, steps: int | None = None) -> list[Moment]:
    """The moments that matter in a schedule, in order; those that are never reached too.

    Args:
        value: A schedule, or a number, which has none.
        steps: Length of the run; parts that repeat without end are followed so far.

    Examples:
        >>> import jaxsched as js
        >>> lr = js.warmup(js.per_epoch(js.multi_step(0.02, at=(8, 11)), 7330), steps=500)
        >>> [(moment.step, moment.what) for moment in js.report.moments(lr)]
        [(500, 'warm-up ends'), (58640, 'milestone'), (80630, 'milestone')]
    """
    run = math.inf if steps is None else steps
    found = [moment for part, clock in parts(value) for moment in _own(part, clock, run)]
    return sorted(found, key=lambda moment: moment.step)


def parts(value: Any, clock: Clock | None = None) -> Iterator[tuple[Schedule, Clock]]:
    """The schedule and all those within it, each with its clock."""
    clock = clock or Clock()
    if isinstance(value, Schedule):
        yield value, clock
        for inner, its_clock in _inner(value, clock):
            yield from parts(inner, its_clock)


def has_more_parts(value: Any, most: int) -> bool:
    """Whether there are more than ``most`` different schedules in a value. It is walked only as far as needed."""
    seen: set[int] = set()
    waiting = [value]
    while waiting and len(seen) <= most:
        item = waiting.pop()
        if isinstance(item, Schedule) and id(item) not in seen:
            seen.add(id(item))
            waiting += item.arguments.values()
        elif isinstance(item, tuple | list):
            waiting += [inner for inner in item if isinstance(inner, Schedule | tuple | list)]
    return len(seen) > most


def inner_clocks(part: Schedule, clock: Clock) -> Mapping[str, Any] | None:
    """The clocks within a part by argument, as it declares them; None where nothing is known of them."""
    if part.maker.clock is not None:  # type: ignore[attr-defined]
        try:
            declared: Mapping[str, Any] = part.maker.clock(Arguments(part.arguments), clock)  # type: ignore[attr-defined]
        except UnknownArgument:
            return None
        return declared
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(part))
    on_own_clock = _on_own_clock.__wrapped__ if traced else _on_own_clock  # a cache would keep what is traced
    return {} if on_own_clock(_Kind(part)) else None


def _own(part: Schedule, clock: Clock, run: float) -> Iterator[Moment]:
    """What a part declares of itself."""
    if part.maker.moments is None:  # type: ignore[attr-defined]
        return
    try:
        marks: list[Mark] = list(part.maker.moments(Arguments(part.arguments), run / clock.every))  # type: ignore[attr-defined]
    except UnknownArgument:
        return
    for t, kind, what in marks:
        if kind == "rise":
            kind = "warm-up" if clock.begin <= 0 else "rise"
        if math.isfinite(clock.at(t)):
            yield Moment(clock.step(t), what or _WORDS.get(kind, f"{part.name} ends"), part, clock, kind)


_WORDS: Mapping[Kind, str] = {
    "rise": "rise ends",
    "warm-up": "warm-up ends",
    "milestone": "milestone",
    "part": "next part",
    "restart": "restart",
}


def _inner(part: Schedule, clock: Clock) -> Iterator[tuple[Schedule, Clock]]:
    """The schedules right within a part, each with its clock."""
    held = {name: value if isinstance(value, tuple | list) else (value,) for name, value in part.arguments.items()}
    if not any(isinstance(item, Schedule) for items in held.values() for item in items):
        return
    clocks = inner_clocks(part, clock)
    if clocks is None:
        return
    for name, items in held.items():
        inside = clocks.get(name, clock)
        each = inside if isinstance(inside, list) else [inside] * len(items)
        for item, its_clock in zip(items, each, strict=True):
            if isinstance(item, Schedule) and its_clock is not None:
                yield item, its_clock


class _Probe(Schedule):
    """A schedule within another that notes with which step it is called."""

    __slots__ = ("steps",)
    steps: list[ArrayLike]

    def __init__(self, probed: Schedule, steps: list[ArrayLike]):
        super().__init__(probed.maker, dict(probed.arguments))
        object.__setattr__(self, "steps", steps)

    def __call__(self, step: ArrayLike) -> jax.Array:
        self.steps.append(step)
        return jnp.ones(jnp.shape(step))


class _Kind:
    """A schedule, equal to all that differ from it in their numbers alone."""

    def __init__(self, part: Schedule):
        self.part = part
        self.structure: Any = jax.tree.structure(part)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kind) and bool(self.structure == other.structure)

    def __hash__(self) -> int:
        return hash(self.structure)


@functools.lru_cache(maxsize=256)
def _on_own_clock(kind: _Kind) -> bool:
    """Whether a schedule calls all that is within it with the very step that it is called with.

    It is traced for that, once for each kind: some 5 ms. So a function that a user decorated need not declare a clock
    where it does nothing to the step.
    """
    part = kind.part
    steps: list[Any] = []
    outer: list[Any] = []

    def probed(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return tuple(map(probed, value))
        return _Probe(value, steps) if isinstance(value, Schedule) else value

    def run(step: jax.Array) -> Any:
        outer.append(step)
        args, kwargs = Schedule(part.maker, {name: probed(value) for name, value in part.arguments.items()}).bound()
        return part.maker.__wrapped__(step, *args, **kwargs)  # type: ignore[attr-defined]

    try:
        jax.eval_shape(run, jax.ShapeDtypeStruct((), jnp.int32))
    except Exception:  # a user's function, which may do anything to what it is given: nothing is known then
        return False
    return bool(steps) and all(step is outer[0] for step in steps)
