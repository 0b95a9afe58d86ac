"""Numbers as the sum of two floats: about 45 bits in float32, for the few results that magnify a rounding.

A rounding of one float32 (6e-8 of the number) that is raised to the power 50, or that is in an exponent of 80, is an
error of 50 or 80 ulp of the result. Everything else is computed in single floats; see benchmarks/accuracy.py.

All products whose rounding would count are of numbers of 12 bits, therefore exact, and the same with or without fused
multiply-adds, which XLA uses as it likes. And no constant may meet another through additions alone: XLA compiles
``(c1 - x) + c2`` to ``(c1 + c2) - x``, which drops the ``c2`` that `Twofold` is for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsched.numerics._real import real
from jaxsched.numerics._types import Real


class Twofold(NamedTuple):
    """``high + low``: a number rounded to a float, and what the rounding lost."""

    high: jax.Array
    low: jax.Array


class Mixed(NamedTuple):
    """``whole + part + lost``: an integer, a fraction from 0 to 1, and what the rounding of that lost."""

    whole: jax.Array
    part: jax.Array
    lost: Real = 0.0


def rounded(number: Any) -> jax.Array:
    """An integer, a float, or a `Mixed` number as one float."""
    return real(number.whole) + number.part if isinstance(number, Mixed) else real(number)


def as_twofold(number: Any) -> Twofold:
    """An integer, a float, or a `Mixed` number, with all its digits; a `Twofold` as it is."""
    if isinstance(number, Twofold):
        return number
    if isinstance(number, Mixed):
        high, low = as_twofold(number.whole)
        high, low = ordered_sum(high, low + number.part)
        return Twofold(high, low + number.lost)
    if not jnp.issubdtype(jnp.result_type(number), jnp.integer):
        return Twofold(real(number), jnp.zeros_like(real(number)))
    # Two halves of at most 16 bits, which float32 holds exactly; an int32 may have 31.
    whole = jnp.asarray(number)
    top = whole & ~0xFFFF
    return ordered_sum(real(top), real(whole - top))


def ordered_sum(a: jax.Array, b: jax.Array) -> Twofold:
    """``a + b`` and what the rounding lost, exactly, where ``abs(a) >= abs(b)`` or ``a == 0``."""
    total = a + b
    return Twofold(total, b - (total - a))


def two_sum(a: jax.Array, b: jax.Array) -> Twofold:
    """``a + b`` and what the rounding lost, exactly, for any ``a`` and ``b``."""
    ordered = jnp.abs(a) >= jnp.abs(b)
    return ordered_sum(jnp.where(ordered, a, b), jnp.where(ordered, b, a))


def difference(x: Any, y: Any) -> Twofold:
    """``x - y``, to 2**-45 of the larger."""
    x, y = as_twofold(x), as_twofold(y)
    high, low = two_sum(x.high, -y.high)
    return ordered_sum(high, low + (x.low - y.low))


def _cut(number: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A float as one of 12 bits and the rest."""
    top = jax.lax.reduce_precision(number, exponent_bits=_EXPONENT_BITS[number.dtype.name], mantissa_bits=11)
    return top, number - top


_EXPONENT_BITS = {"float32": 8, "float64": 11}


def product(x: Any, y: Any) -> Twofold:
    """``x * y`` to 2**-34 of itself: an exponent of 87 is then right to 5e-9, a tenth of an ulp of its exponential."""
    x, y = as_twofold(x), as_twofold(y)
    (x_top, x_rest), (y_top, y_rest) = _cut(x.high), _cut(y.high)
    rest = x_top * y_rest + x_rest * y.high
    return ordered_sum(x_top * y_top, rest + (x.high * y.low + x.low * y.high))


def quotient(part: Any, whole: Any) -> Twofold:
    """``part / whole`` to 2**-45 of itself, for ``whole > 0``."""
    part, whole = as_twofold(part), as_twofold(whole)
    guess = part.high / whole.high
    guess_top, guess_rest = _cut(guess)
    top, rest = _cut(whole.high)
    # Each product is exact, and so is each difference, since the guess is within 2**-22 of the quotient.
    left = part.high - guess_top * top - guess_top * rest - guess_rest * top - guess_rest * rest
    return ordered_sum(guess, (left + (part.low - guess * whole.low)) / whole.high)


def minus_expm1(x: jax.Array, lost: Real = 0.0) -> jax.Array:
    """``1 - exp(-(x + lost))`` for ``x >= 0``, within an ulp: XLA's expm1 on the CPU is 5 ulp off in float32."""
    if x.dtype == jnp.float64:
        return -jnp.expm1(-x) + lost * jnp.exp(-x)
    small = jnp.minimum(x, 0.7)
    series = jnp.ones_like(small)
    for n in range(10, 2, -1):
        series = 1.0 - small * (1.0 / n) * series
    rest = jnp.exp(-x)
    # x is added last, as the largest: the roundings of the series count little.
    return jnp.where(x < 0.7, small - (0.5 * jnp.square(small) * series - lost * rest), 1.0 - (rest - lost * rest))
