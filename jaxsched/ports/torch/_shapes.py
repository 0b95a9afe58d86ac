"""Schedules for torch's cycles: fractional cycle lengths, and functions of a count."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp

from jaxsched.checks import Count, PositiveCount, WholeLength
from jaxsched.numerics import MAX_STEP, real
from jaxsched.schedules import Value, no_moments, restarts, schedule, value_at


def in_units(*lengths: float) -> tuple[tuple[int, ...], int]:
    """Lengths in steps as whole numbers of a unit, and how many units a step has: 2.5 steps are 5 halves.

    If no such unit keeps the arithmetic in int32, the lengths are rounded to one that does.
    """
    for finest in (10**6, 10**5, 10**4, 10**3, 10**2, 10, 1):
        fractions = [Fraction(length).limit_denominator(finest) for length in lengths]
        units = math.lcm(*(fraction.denominator for fraction in fractions))
        whole = tuple(int(fraction * units) for fraction in fractions)
        if 2 * sum(whole) * units <= MAX_STEP:
            break
    return whole, units


@schedule(
    moments=restarts("every"),
    clock=lambda a, clock: {"schedule": clock.within(0.0, a.number("every"))},
)
def repeating(step: jax.Array, schedule: Value, every: WholeLength) -> jax.Array:
    """A schedule that restarts every ``every`` steps."""
    return value_at(schedule, step % jnp.asarray(every, jnp.int32))


@schedule(moments=no_moments, clock=lambda a, clock: {"schedule": clock.faster(a.number("units"))})
def faster(step: jax.Array, schedule: Value, units: PositiveCount) -> jax.Array:
    """A schedule whose argument counts units, with ``units`` units in a step."""
    units = jnp.asarray(units, jnp.int32)
    return value_at(schedule, jnp.minimum(step, MAX_STEP // units) * units)


@schedule(moments=no_moments)
def counted(step: jax.Array, function: Callable[[Any], Any], every: WholeLength = 1, first: Count = 0) -> jax.Array:
    """``function(step // every + first)``."""
    times = step // jnp.asarray(every, jnp.int32) + first
    return real(function(times.astype(jnp.result_type(int))))  # int64 under x64, so that its results are float64
