"""The fraction of a length that is gone, or left: counted in integers, then divided, and exact at both ends.

XLA compiles ``x / constant`` to ``x * (1 / constant)``, which at ``x == constant`` need not be 1. So a fraction is 1
because ``part >= whole``, not because a division says so.

What is left is never ``1 - gone``: of 1e9 steps, float32 would then have the last 30 at 0. Both are fractions of
integers, each within 1.5 ulp.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxsched.numerics._kept import Fractional, precise
from jaxsched.numerics._real import real
from jaxsched.numerics._twofold import Mixed, Twofold, as_twofold, minus_expm1, product, quotient, rounded, two_sum
from jaxsched.numerics._types import is_whole


def split(step: jax.Array, steps: Any) -> tuple[Any, Any, Any]:
    """Of ``steps``, what is gone at ``step``, what is left, and the whole.

    The first goes from 0 to the whole and stays there. Integers; `Mixed` numbers where ``steps`` is not whole; floats
    where it is a traced float.
    """
    if is_whole(steps):
        whole = jnp.asarray(steps, jnp.int32)
        gone = jnp.minimum(step, whole)
        return gone, whole - gone, whole
    if isinstance(steps, Fractional):
        whole, part, lost = steps.mixed
        gone, inside = jnp.minimum(step, whole), step <= whole
        left = Mixed(whole - gone, jnp.where(inside, part, 0.0), jnp.where(inside, lost, 0.0))
        return Mixed(gone, jnp.where(inside, 0.0, part), jnp.where(inside, 0.0, lost)), left, steps.mixed
    # Whole steps are subtracted in integers, so that the part after the point survives a large step.
    length = real(steps)
    floor = jnp.floor(length)
    to_go = jnp.maximum(real(floor.astype(jnp.int32) - step) + (length - floor), 0)
    return jnp.minimum(real(step), length), to_go, length


def fraction(part: Any, whole: Any) -> jax.Array:
    """``part / whole`` for ``0 <= part``; exactly 1 from ``part == whole`` on, exactly 0 at 0."""
    if isinstance(part, Mixed) or isinstance(whole, Mixed):
        part, whole = rounded(part), rounded(whole)
    return jnp.where(part >= whole, 1.0, jnp.minimum(real(part) / real(whole), 1.0))


def fractions(step: jax.Array, steps: Any) -> tuple[jax.Array, jax.Array]:
    """The fraction of ``steps`` that is gone at ``step``, and the fraction that is left."""
    gone, left, whole = split(step, steps)
    return fraction(gone, whole), fraction(left, whole)


def exact_fractions(step: jax.Array, steps: Any) -> tuple[Twofold, Twofold]:
    """`fractions` with twice the digits, for what magnifies their rounding."""
    gone, left, whole = split(step, steps)
    whole = as_twofold(whole)
    return quotient(gone, whole), quotient(left, whole)


def sin_squared(turn: jax.Array) -> jax.Array:
    """``sin(pi/2 * turn) ** 2``: half a cosine wave, 0 at 0 and 1 at 1, accurate near both.

    ``(1 - cos(pi * turn)) / 2`` cancels near 0: in float32 the last 66,000 of 1e9 steps of a cosine decay are exactly
    0 that way.
    """
    return jnp.square(jnp.sin(jnp.pi / 2 * turn))


def power_and_rest(x: Twofold, rest: Twofold, power: Any) -> tuple[jax.Array, jax.Array]:
    """``x ** power`` and ``1 - x ** power`` for fractions ``x`` and ``rest == 1 - x``, accurate where they are small.

    Both are exact, with a finite gradient, at ``x == 0`` and ``x == 1``.
    """
    exponent, exponent_low = precise(power)
    inside = (x.high > 0) & (rest.high > 0)
    high, low = jnp.where(inside, x.high, 0.5), jnp.where(inside, x.low, 0.0)
    relative = low / high
    # Each where XLA's is within 1.2 ulp of the true value: log1p is 2.5 off for -0.5. The one that is not chosen is
    # finite, as log1p(-1) is not: its derivative times 0 would be NaN.
    near = inside & (high >= 0.7)
    logarithm = jnp.where(near, jnp.log1p(-jnp.where(near, rest.high, 0.5)), jnp.log(high) + relative)
    # A rounding of x counts as often as the power says: 50 ulp for a power of 50.
    raised = jnp.power(high, exponent) * (1.0 + (exponent * relative + exponent_low * logarithm))
    unraised = minus_expm1(*product(Twofold(-exponent, -exponent_low), logarithm))
    at_end = jnp.where(x.high > 0, 1.0, 0.0)
    return jnp.where(inside, raised, at_end), jnp.where(inside, unraised, 1.0 - at_end)


def tanh_and_rest(gone: Twofold, left: Twofold, lower: Any, upper: Any) -> tuple[jax.Array, jax.Array]:
    """``(1 - tanh(x)) / 2`` and ``(1 + tanh(x)) / 2`` where ``x`` goes from ``lower`` to ``upper``.

    They are ``1 / (1 + exp(2 x))`` and ``1 / (1 + exp(-2 x))``, which do not cancel. ``x`` has all its digits: with
    ``upper`` 40, a rounding of it would be an error of 80 ulp near the end.
    """
    first, second = product(left, precise(lower)), product(gone, precise(upper))
    x, lost = two_sum(first.high, second.high)
    lost += first.low + second.low
    falls = x > 0
    # The exponential of -abs(2 x) does not overflow, so its gradient is not NaN.
    small = jnp.exp(-2.0 * jnp.abs(x)) * (1.0 - jnp.where(falls, 2.0, -2.0) * lost)
    large = 1.0 / (1.0 + small)
    return jnp.where(falls, small * large, large), jnp.where(falls, large, small * large)
