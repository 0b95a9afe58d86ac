"""How much of a stretch of steps is gone, or left: in integers first, then as a fraction that hits its ends.

XLA compiles ``x / constant`` to ``x * (1 / constant)``, which at ``x == constant`` need not be 1. So a fraction is 1
because ``part >= whole``, not because a division says so.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched.numerics._ratio import Ratio, is_whole, twofold, whole_type
from jaxsched.numerics._real import real
from jaxsched.numerics._twofold import Twofold, divide, is_double, minus_expm1, two_product
from jaxsched.numerics._types import Real


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


def exact_fraction(part: Any, whole: Any) -> Twofold:
    """`fraction` with twice the digits, for what magnifies its rounding."""
    if not is_whole(whole):
        return Twofold(fraction(part, whole), real(0.0))
    part, whole = jnp.asarray(part), jnp.asarray(whole)
    high, low = divide(part, whole)
    over = part >= whole
    # The quotient may be rounded up to 1, or by a reciprocal beyond it.
    return Twofold(jnp.where(over, 1.0, high), jnp.where(over, 0.0, low))


def fractions(step: jax.Array, steps: Any) -> tuple[Twofold, Twofold]:
    """The fraction of ``steps`` that is gone at ``step``, and the fraction that is left."""
    gone, left, whole = split(step, steps)
    return exact_fraction(gone, whole), exact_fraction(left, whole)


def sin_squared(turn: jax.Array, lost: Real = 0.0) -> jax.Array:
    """``sin(pi/2 * (turn + lost)) ** 2``: half a cosine wave, 0 at 0 and 1 at 1, accurate near both.

    ``(1 - cos(pi * turn)) / 2`` cancels near 0: in float32 the last 66,000 of 1e9 steps of a cosine decay are exactly
    0 that way. ``lost`` is what rounding lost of ``turn``.
    """
    wave = jnp.square(jnp.sin(jnp.pi / 2 * turn))
    if is_double():
        return wave
    # To first order a relative error of the angle a is magnified by 2 * a / tan(a), which is about 2 * (1 - turn**2).
    error = lost / jnp.where(turn > 0, turn, 1.0) + _HALF_PI_LOST
    return wave + wave * (2.0 * (1.0 - turn * turn) * error)


_HALF_PI_LOST = math.pi / 2 / float(np.float32(math.pi / 2)) - 1


def power_and_rest(x: Twofold, rest: Twofold, power: Any) -> tuple[Twofold, Twofold]:
    """``x ** power`` and ``1 - x ** power`` for fractions ``x`` and ``rest == 1 - x``, accurate where they are small.

    Both are exact, with a finite gradient, at ``x == 0`` and ``x == 1``.
    """
    inside = (x.high > 0) & (rest.high > 0)
    high, small = jnp.where(inside, x.high, 0.5), jnp.where(inside, rest.high, 0.5)
    low, rest_low = jnp.where(inside, x.low, 0.0), jnp.where(inside, rest.low, 0.0)
    logarithm = jnp.where(high < 0.5, jnp.log(high) + low / high, jnp.log1p(-small) - rest_low / high)
    power, power_lost = twofold(power)
    raised = jnp.power(high, power)
    raised_lost = raised * (power * (low / high) + power_lost * logarithm)
    exponent, lost = two_product(power, logarithm)
    unraised = minus_expm1(-exponent)
    unraised_lost = -raised * (lost + power_lost * logarithm)
    at_end = jnp.where(x.high > 0, 1.0, 0.0)
    return (
        Twofold(jnp.where(inside, raised, at_end), jnp.where(inside, raised_lost, 0.0)),
        Twofold(jnp.where(inside, unraised, 1.0 - at_end), jnp.where(inside, unraised_lost, 0.0)),
    )
