"""Checks of arguments that are host numbers, made when a schedule is made. Tracers and arrays are not checked.

A check takes the name of an argument and its value, and returns the value in its canonical form. It is attached to a
parameter by its annotation: ``steps: Length``.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Annotated, Any

import jax
import numpy as np

from jaxsched.checks._short import short
from jaxsched.numerics import MAX_STEP, Real, Whole, is_host_number


class Role(enum.Enum):
    """What an argument is to a schedule, beside its type: a part of its annotation, ``Annotated[..., Role.STEPS]``."""

    STEPS = "steps"
    """A position or a length on the schedule's own clock."""
    PEAK = "peak"
    """The value that a decay comes from."""
    FLOOR = "floor"
    """The value that a decay goes to."""


LARGEST = float(np.finfo(np.float32).max)
"""The largest float32: schedules are computed in it."""


def number(name: str, value: Any) -> Any:
    """A finite real number within the range of float32. Tracers and arrays are not checked."""
    if is_host_number(value):
        host = value.item() if isinstance(value, np.generic | np.ndarray) else value
        if isinstance(host, float) and not math.isfinite(host):
            raise ValueError(f"{name} must be finite, got {short(host)}")
        if abs(host) > LARGEST:
            raise ValueError(f"{name} must be at most {LARGEST:.2g}, the largest float32, got {short(host)}")
        return host
    if isinstance(value, str):
        raise TypeError(f"{name} must be a number, got the string {short(value)}; convert it with float() first")
    if value is None or isinstance(value, bool | np.bool_ | complex) or not hasattr(value, "dtype"):
        raise TypeError(f"{name} must be a number, got {short(value)}")
    return value


SHORTEST = 1e-6
"""The shortest length, in steps: 2**31 steps over a shorter one lose the digits that schedules promise."""


def length(name: str, value: Any) -> Any:
    """A positive number of steps, a whole one as an int; below 2**31."""
    value = number(name, value)
    if not is_host_number(value):
        return value
    if value <= 0:
        raise ValueError(f"{name} must be a positive number of steps, got {short(value)}")
    if value > MAX_STEP:
        raise ValueError(f"{name} must be below 2**31 (steps are int32), got {short(value)}")
    if value < SHORTEST:
        raise ValueError(f"{name} must be at least {SHORTEST:g} of a step, got {short(value)}")
    return int(value) if value == int(value) else float(value)


def count(name: str, value: Any) -> Any:
    """A whole number that is not negative."""
    value = number(name, value)
    if not is_host_number(value):
        return value
    if value < 0 or value != int(value):
        raise ValueError(f"{name} must be a whole number >= 0, got {short(value)}")
    if value > MAX_STEP:
        raise ValueError(f"{name} must be below 2**31 (steps are int32), got {short(value)}")
    return int(value)


def positive_count(name: str, value: Any) -> Any:
    """A whole number that is at least 1."""
    value = count(name, value)
    if is_host_number(value) and value < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {short(value)}")
    return value


def whole_length(name: str, value: Any) -> Any:
    """A positive whole number of steps."""
    value = length(name, value)
    if isinstance(value, float):
        raise ValueError(f"{name} must be a whole number of steps, got {short(value)}; round it as its source does")
    return value


class Size(int):
    """A whole number that is the size of arrays: static in a schedule, so that it is known while tracing."""


def size(name: str, value: Any) -> Size:
    """A positive whole number that shapes arrays."""
    if not is_host_number(value):
        raise TypeError(f"{name} must be a positive whole number and not an array (it is a size), got {short(value)}")
    return Size(whole_length(name, value))


def positive(name: str, value: Any) -> Any:
    value = number(name, value)
    if is_host_number(value) and value <= 0:
        raise ValueError(f"{name} must be positive, got {short(value)}")
    return value


def not_negative(name: str, value: Any) -> Any:
    value = number(name, value)
    if is_host_number(value) and value < 0:
        raise ValueError(f"{name} must be >= 0, got {short(value)}")
    return value


MOST_LEAVES = 64
"""A longer sequence of numbers is one array: a pytree of 5,000 leaves takes seconds to trace."""


MOST_MILESTONES = 2**15
"""Most milestones of a schedule: reports look at each of them, and a table needs none."""


def milestones(name: str, value: Any) -> Any:
    """Steps in ascending order, each a whole number >= 0. Repeats are allowed: each acts."""
    if hasattr(value, "dtype") and not isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.ndarray | Sequence) and len(value) > MOST_MILESTONES:
        raise ValueError(f"{name} must have at most {MOST_MILESTONES:,} steps, got {len(value):,}; use js.table")
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a sequence of steps such as (30, 60), got {short(value)}")
    steps = tuple(count(f"{name}[{i}]", step) for i, step in enumerate(value))
    if not all(is_host_number(step) for step in steps):
        return steps
    if list(steps) != sorted(steps):
        raise ValueError(f"{name} must ascend, got {short(steps)}; write {short(tuple(sorted(steps)))}")
    return np.asarray(steps, np.int32) if len(steps) > MOST_LEAVES else steps


def choice(*allowed: str) -> Any:
    """A check that the value is one of ``allowed``."""

    def check(name: str, value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {short(value)}")
        return value

    return check


Number = Annotated[Real, number]
Positive = Annotated[Real, positive]
Count = Annotated[Whole, count]
"""How many, none included: reports, cycles."""
PositiveCount = Annotated[Whole, positive_count]
"""How many, at least one."""
ArraySize = Annotated[int, size]
Length = Annotated[Real, length, Role.STEPS]
"""A number of steps, > 0."""
WholeLength = Annotated[Whole, whole_length, Role.STEPS]
"""A whole number of steps, > 0."""
Step = Annotated[Whole, count, Role.STEPS]
"""A step counted from 0, or a whole number of steps that may be 0."""
Milestones = Annotated[Sequence[Whole] | jax.Array, milestones, Role.STEPS]
"""Steps in ascending order."""
Peak = Annotated[Real, number, Role.PEAK]
"""The value that a decay comes from."""
Floor = Annotated[Real, number, Role.FLOOR]
"""The value that a decay goes to."""
