"""How much of a stretch of steps is gone, or left: in integers first, then as a fraction that hits its ends.

XLA compiles ``x / constant`` to ``x * (1 / constant)``, which at ``x == constant`` need not be 1. So a fraction is 1
because ``part >= whole``, not because a division says so.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.schedules._checks import Real
from jaxsched.schedules._schedule import real
from jaxsched.schedules._twofold import lost_in_division


def is_whole(steps: Real) -> bool:
    """Whether ``steps`` is an integer by type."""
    return bool(jnp.issubdtype(jnp.result_type(steps), jnp.integer))


def done(step: jax.Array, steps: Real) -> jax.Array:
    """The steps of ``steps`` that are gone at ``step``: an integer if ``steps`` is one."""
    return jnp.minimum(step if is_whole(steps) else real(step), steps)


def left(step: jax.Array, steps: Real) -> jax.Array:
    """The steps of ``steps`` still to go at ``step``, from ``steps`` down to 0."""
    if is_whole(steps):
        return jnp.maximum(jnp.asarray(steps, jnp.int32) - step, 0)
    # Whole steps are subtracted in integers, so that the part after the point survives a large step.
    whole = jnp.floor(real(steps))
    return jnp.maximum(real(whole.astype(jnp.int32) - step) + (real(steps) - whole), 0)


def fraction(part: Real, whole: Real) -> jax.Array:
    """``part / whole`` for ``0 <= part``; exactly 1 from ``part == whole`` on, exactly 0 at 0."""
    return jnp.where(part >= whole, 1.0, jnp.minimum(real(part) / real(whole), 1.0))


def fraction_and_lost(part: Real, whole: Real) -> tuple[jax.Array, jax.Array]:
    """`fraction`, and what its rounding lost: the sum has twice the digits, for what magnifies errors."""
    rounded = fraction(part, whole)
    if not is_whole(whole):
        return rounded, jnp.zeros_like(rounded)
    return rounded, jnp.where(part >= whole, 0.0, lost_in_division(jnp.asarray(part), jnp.asarray(whole), rounded))


def gone_fraction(step: jax.Array, steps: Real) -> jax.Array:
    return fraction(done(step, steps), steps)


def left_fraction(step: jax.Array, steps: Real) -> jax.Array:
    return fraction(left(step, steps), steps)


def sin_squared(turn: jax.Array) -> jax.Array:
    """``sin(pi/2 * turn) ** 2``: half a cosine wave, 0 at 0 and 1 at 1, accurate near both.

    ``(1 - cos(pi * turn)) / 2`` cancels near 0: in float32 the last 66,000 of 1e9 steps of a cosine decay are exactly
    0 that way.
    """
    return jnp.square(jnp.sin(jnp.pi / 2 * turn))


def power_and_rest(x: jax.Array, rest: jax.Array, power: Real, lost: Real = 0.0) -> tuple[jax.Array, jax.Array]:
    """``x ** power`` and ``1 - x ** power``, both accurate where they are small, for fractions ``x`` and ``1 - x``.

    ``lost`` is what the rounding of ``x`` lost. Both are exact, with a finite gradient, at ``x == 0`` and ``x == 1``.
    """
    inside = (x > 0) & (rest > 0)
    some, others = jnp.where(inside, x, 0.5), jnp.where(inside, rest, 0.5)
    raised = jnp.power(some, power)
    raised = raised + raised * (power * lost / some)
    unraised = -jnp.expm1(power * jnp.where(some < 0.5, jnp.log(some), jnp.log1p(-others)))
    ends = jnp.where(x > 0, 1.0, 0.0)
    return jnp.where(inside, raised, ends), jnp.where(inside, unraised, 1.0 - ends)
