"""A number as the sum of two float32: twice the digits, where the rounding of one would show in the result.

An error of 1e-7 in an exponent of 80 is an error of 8e-6 in its exponential; one in ``left`` is five times as large in
``left ** 5``. Under ``jax_enable_x64`` one float64 has all the digits needed, and the second number is 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxsched.numerics._real import real
from jaxsched.numerics._types import Real


class Twofold(NamedTuple):
    """``high + low``: a rounded number, and what the rounding lost."""

    high: jax.Array
    low: jax.Array


def is_double() -> bool:
    """Whether numbers are float64: under ``jax_enable_x64``."""
    return bool(real(0).dtype == jnp.float64)


def two_sum(a: jax.Array, b: jax.Array) -> Twofold:
    """``a + b`` rounded, and what the rounding lost, exactly."""
    total = a + b
    of_b = total - a
    return Twofold(total, (a - (total - of_b)) + (b - of_b))


def exact_product(n: jax.Array, high: jax.Array, low: Real = 0.0) -> Twofold:
    """``n * (high + low)`` as a float32 and a remainder, for an int32 ``n``.

    ``n`` is cut in pieces of 11 bits and ``high`` in pieces of 12, so that their products are exact in float32, with
    or without fused multiply-adds.
    """
    if is_double():
        product = n * (high + low)
        return Twofold(product, jnp.zeros_like(product))
    pieces = [piece.astype(jnp.float32) for piece in ((n >> 22) << 22, n & (0x7FF << 11), n & 0x7FF)]
    total, error = _sum(piece * half for piece in pieces for half in _halves(high))
    return Twofold(total, error + real(n) * low)


def two_product(a: jax.Array, b: jax.Array) -> Twofold:
    """``a * b`` rounded, and what the rounding lost."""
    if is_double():
        return Twofold(a * b, jnp.zeros_like(a * b))
    return _sum(x * y for x in _halves(a) for y in _halves(b))


def _halves(number: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A float32 as two of 12 bits each. The gradient is that of the number."""
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(number), jnp.uint32)
    top = jax.lax.bitcast_convert_type(bits & jnp.uint32(0xFFFFF000), jnp.float32)
    return top, number - top


def _sum(terms: Iterable[jax.Array]) -> Twofold:
    total, error = real(0.0), real(0.0)
    for term in terms:
        total, lost = two_sum(total, term)
        error = error + lost
    return Twofold(total, error)


def divide(part: jax.Array, whole: jax.Array) -> Twofold:
    """``part / whole`` for integers."""
    quotient = real(part) / real(whole)
    if is_double():
        return Twofold(quotient, jnp.zeros_like(quotient))
    back, error = exact_product(whole, jax.lax.stop_gradient(quotient))
    top = (part >> 16) << 16
    remainder = ((real(top) - back) + real(part - top)) - error
    return Twofold(quotient, remainder / real(whole))


def minus_expm1(x: jax.Array) -> jax.Array:
    """``1 - exp(-x)`` for ``x >= 0``, accurate where it is small: XLA's expm1 on the CPU is 5 ulp off in float32."""
    if is_double():
        return -jnp.expm1(-x)
    small = jnp.minimum(x, 0.7)
    series = jnp.ones_like(small)
    for n in range(10, 1, -1):
        series = 1.0 - small / n * series
    return jnp.where(x < 0.7, small * series, 1.0 - jnp.exp(-x))
