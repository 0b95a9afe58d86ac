"""How much of a stretch of steps is gone, or left: in integers first, then as a fraction that hits its ends.

XLA compiles ``x / constant`` to ``x * (1 / constant)``, which at ``x == constant`` need not be 1. So a fraction is 1
because ``part >= whole``, not because a division says so.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxsched.schedules._checks import Real
from jaxsched.schedules._ratio import Ratio, is_whole, rounded_and_lost, whole_type
from jaxsched.schedules._schedule import real
from jaxsched.schedules._twofold import lost_in_division


def split(step: jax.Array, steps: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of ``steps``, what is gone at ``step``, what is left, and the whole, all in one unit.

    The first goes from 0 to the whole and stays there. Integers, unless ``steps`` is a traced float.
    """
    if isinstance(steps, Ratio):
        over, under = jnp.asarray(steps.over, whole_type()), jnp.asarray(steps.under, whole_type())
        gone = jnp.minimum(jnp.minimum(step, over // under + 1) * under, over)
        return gone, over - gone, over
    if is_whole(steps):
        whole = jnp.asarray(steps, jnp.int32)
        gone = jnp.minimum(step, whole)
        return gone, whole - gone, whole
    # Whole steps are subtracted in integers, so that the part after the point survives a large step.
    whole = real(steps)
    floor = jnp.floor(whole)
    left = jnp.maximum(real(floor.astype(jnp.int32) - step) + (whole - floor), 0)
    return jnp.minimum(real(step), whole), left, whole


def left(step: jax.Array, steps: Any) -> jax.Array:
    """The steps of ``steps`` still to go at ``step``, from ``steps`` down to 0."""
    return split(step, steps)[1]


def fraction(part: Real, whole: Real) -> jax.Array:
    """``part / whole`` for ``0 <= part``; exactly 1 from ``part == whole`` on, exactly 0 at 0."""
    return jnp.where(part >= whole, 1.0, jnp.minimum(real(part) / real(whole), 1.0))


def fraction_and_lost(part: Real, whole: Real) -> tuple[jax.Array, jax.Array]:
    """`fraction`, and what its rounding lost: the sum has twice the digits, for what magnifies errors."""
    rounded = fraction(part, whole)
    if not is_whole(whole):
        return rounded, jnp.zeros_like(rounded)
    return rounded, jnp.where(part >= whole, 0.0, lost_in_division(jnp.asarray(part), jnp.asarray(whole), rounded))


def fractions(step: jax.Array, steps: Any) -> tuple[jax.Array, jax.Array]:
    """The fraction of ``steps`` that is gone at ``step``, and the fraction that is left."""
    gone, left, whole = split(step, steps)
    return fraction(gone, whole), fraction(left, whole)


def sin_squared(turn: jax.Array) -> jax.Array:
    """``sin(pi/2 * turn) ** 2``: half a cosine wave, 0 at 0 and 1 at 1, accurate near both.

    ``(1 - cos(pi * turn)) / 2`` cancels near 0: in float32 the last 66,000 of 1e9 steps of a cosine decay are exactly
    0 that way.
    """
    return jnp.square(jnp.sin(jnp.pi / 2 * turn))


def power_and_rest(part: Any, rest: Any, whole: Any, power: Any) -> tuple[jax.Array, jax.Array]:
    """``x ** power`` and ``1 - x ** power`` for ``x = part / whole``, both accurate where they are small.

    ``part + rest`` is the ``whole``. Both results are exact, with a finite gradient, at ``x == 0`` and ``x == 1``.
    """
    inside = (part > 0) & (rest > 0)
    x, lost = fraction_and_lost(jnp.where(inside, part, whole), whole)
    logarithm = jnp.where(x < 0.5, jnp.log(x), jnp.log1p(-fraction(jnp.where(inside, rest, 0), whole)))
    power, power_lost = rounded_and_lost(power)
    raised = jnp.power(x, power) * (1.0 + (power * (lost / x) + power_lost * logarithm))
    unraised = -jnp.expm1((power + power_lost) * logarithm)
    at_end = jnp.where(part > 0, 1.0, 0.0)
    return jnp.where(inside, raised, at_end), jnp.where(inside, unraised, 1.0 - at_end)
