"""Schedules made of schedules: one after another, by epoch, delayed, bounded."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched.checks import MOST_LEAVES, Milestones, PositiveCount, Step, short
from jaxsched.numerics import is_host_number, passed
from jaxsched.schedules._declarations import Arguments, Clock, Mark, no_moments, numbers
from jaxsched.schedules._schedule import Schedule, Value, check_value, composition, schedule, value_at


@schedule(moments=no_moments)
def maximum(step: jax.Array, *schedules: Value) -> jax.Array:
    """The largest of schedules and numbers at each step.

    Examples:
        >>> import jaxsched as js
        >>> float(js.schedules.maximum(js.linear(1.0, 0.0, 10), 0.25)(9))
        0.25
    """
    return functools.reduce(jnp.maximum, [value_at(s, step) for s in schedules])


@schedule(moments=no_moments)
def minimum(step: jax.Array, *schedules: Value) -> jax.Array:
    """The smallest of schedules and numbers at each step.

    Examples:
        >>> import jaxsched as js
        >>> float(js.schedules.minimum(js.linear(0.0, 1.0, 10), 0.5)(9))
        0.5
    """
    return functools.reduce(jnp.minimum, [value_at(s, step) for s in schedules])


@composition
def clamp(schedule: Value, low: Value, high: Value) -> Schedule:
    """A schedule limited to [``low``, ``high``]: ``minimum(maximum(schedule, low), high)``.

    Examples:
        >>> import jaxsched as js
        >>> [float(js.schedules.clamp(js.linear(0.0, 1.0, 4), 0.25, 0.5)(step)) for step in range(4)]
        [0.25, 0.25, 0.5, 0.5]
    """
    return minimum(maximum(schedule, low), high)


def _schedules(name: str, value: Any) -> tuple[Any, ...]:
    if callable(value) or not isinstance(value, Sequence) or not value:
        raise TypeError(f"{name} must be a sequence of schedules, got {short(value)}")
    return tuple(check_value(f"{name}[{i}]", item) for i, item in enumerate(value))


def _check_sequential(schedules: Sequence[Any], at: Sequence[Any]) -> None:
    if len(schedules) != len(at) + 1:
        raise ValueError(f"{len(schedules)} schedules need {len(schedules) - 1} milestones, got at={short(at)}")


def _next_parts(a: Arguments, run: float) -> Iterable[Mark]:
    del run
    return [Mark(t, "part") for t in a.numbers("at")]


def _one_after_another(a: Arguments, clock: Clock) -> dict[str, Any]:
    edges = [0.0, *a.numbers("at"), math.inf]
    clocks = [clock.within(begin, end).moved(begin) for begin, end in itertools.pairwise(edges)]
    return {"schedules": clocks}


@schedule(moments=_next_parts, clock=_one_after_another, check=_check_sequential)
def sequential(step: jax.Array, schedules: Annotated[Sequence[Any], _schedules], at: Milestones) -> jax.Array:
    """One schedule after another, each with its clock restarted.

    ``schedules[k](step - at[k - 1])`` for the ``k`` milestones at or before the step; the first starts at step 0.

    Args:
        schedules: The parts: schedules or numbers.
        at: The steps at which each part but the first begins, ascending: one fewer than ``schedules``.

    Raises:
        ValueError: If there is not one milestone fewer than parts, or ``at`` does not ascend.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.sequential([js.linear(0.0, 1.0, 2), js.step_decay(1.0, 2, 0.5)], at=[2])(jnp.arange(6))
        Array([0. , 0.5, 1. , 1. , 0.5, 0.5], dtype=float32)
    """
    value = value_at(schedules[0], step)
    for part, begin in zip(schedules[1:], at, strict=True):
        value = jnp.where(step >= begin, value_at(part, jnp.maximum(step - begin, 0)), value)
    return value


@schedule(moments=no_moments, clock=lambda a, clock: {"schedule": clock.counting(a.number("steps_per_epoch"))})
def per_epoch(step: jax.Array, schedule: Value, steps_per_epoch: PositiveCount) -> jax.Array:
    """A schedule whose clock counts epochs: its value is held within each.

    ``schedule(step // steps_per_epoch)``.

    Args:
        schedule: A schedule written in epochs, such as ``cosine(0.1, steps=300)`` for 300 epochs.
        steps_per_epoch: Steps in an epoch, > 0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.per_epoch(js.linear(1.0, 0.0, 2), steps_per_epoch=2)(jnp.arange(5))
        Array([1. , 1. , 0.5, 0.5, 0. ], dtype=float32)
    """
    return value_at(schedule, step // jnp.asarray(steps_per_epoch, jnp.int32))


@schedule(moments=no_moments, clock=lambda a, clock: {"schedule": clock.moved(a.number("by"))})
def delayed(step: jax.Array, schedule: Value, by: Step) -> jax.Array:
    """A schedule that starts ``by`` steps later: its value at 0 is held until then.

    ``schedule(max(step - by, 0))``.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.schedules.delayed(js.linear(1.0, 0.0, 2), by=2)(jnp.arange(5))
        Array([1. , 1. , 1. , 0.5, 0. ], dtype=float32)
    """
    return value_at(schedule, jnp.maximum(step - jnp.asarray(by, jnp.int32), 0))


def _values(name: str, value: Any) -> Any:
    """As `_schedules`; of many numbers one array."""
    if isinstance(value, jax.Array):
        return value
    found = _schedules(name, value.tolist() if isinstance(value, np.ndarray) else value)
    many = len(found) > MOST_LEAVES and all(map(is_host_number, found))
    return np.asarray(found, np.float64) if many else found


def _check_piecewise(values: Sequence[Any], at: Sequence[Any]) -> None:
    if len(values) != len(at) + 1:
        raise ValueError(f"{len(values)} values need {len(values) - 1} milestones, got at={short(at)}")


def _pieces(a: Arguments, run: float) -> Iterable[Mark]:
    """Between mere numbers a milestone, or the end of a warm-up that is one number."""
    del run
    values, at = numbers(a["values"]), a.numbers("at")
    if values is None:
        return [Mark(t, "part") for t in at]
    return [Mark(t, "rise" if k == 0 and values[1] > values[0] else "milestone") for k, t in enumerate(at)]


def _side_by_side(a: Arguments, clock: Clock) -> dict[str, Any]:
    edges = [0.0, *a.numbers("at"), math.inf]
    return {"values": [clock.within(begin, end) for begin, end in itertools.pairwise(edges)]}


@schedule(moments=_pieces, clock=_side_by_side, check=_check_piecewise)
def piecewise(step: jax.Array, values: Annotated[Sequence[Any] | jax.Array, _values], at: Milestones) -> jax.Array:
    """Piecewise constant: ``values[k]`` from the ``k``-th milestone on, ``values[0]`` before the first.

    Args:
        values: The values, one more than milestones: numbers, or schedules whose clocks are not restarted.
        at: Steps at which the next value begins, ascending.

    Raises:
        ValueError: If there is not one milestone fewer than values, or ``at`` does not ascend.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.piecewise([1.0, 0.5, 0.1], at=[2, 3])(jnp.arange(5))
        Array([1. , 1. , 0.5, 0.1, 0.1], dtype=float32)
    """
    stair = passed(step, at)
    if not isinstance(values, tuple):
        return jnp.asarray(values, jnp.result_type(float))[stair]
    value = value_at(values[0], step)
    for k, later in enumerate(values[1:], start=1):
        value = jnp.where(stair >= k, value_at(later, step), value)
    return value
