"""A rate of decay per step, kept as its logarithm so that float32 does not lose it.

In float32 the number 1 - 1e-8 is 1. Its logarithm is not: two float32 hold it to 48 bits. ``rate ** n`` is then
``exp(n * log(rate))`` with the product carried in two float32 as well, because an error of 1e-7 in an exponent of 80
is an error of 8e-6 in the result.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched.schedules import _checks
from jaxsched.schedules._checks import Real
from jaxsched.schedules._schedule import real

_LOG_ZERO = -1e5  # exp of it is 0 in float32 and float64, and it stays finite when multiplied by a step


@jax.tree_util.register_pytree_node_class
class LogRate:
    """A positive number (or 0) as the sum of ``high``, a float32, and ``low``: its natural logarithm."""

    __slots__ = ("high", "low", "value")

    def __init__(self, high: Real, low: Real, value: float | None = None):
        self.high, self.low, self.value = high, low, value

    @classmethod
    def of(cls, rate: Any) -> LogRate:
        if isinstance(rate, LogRate):
            return rate
        if not _checks.is_host_number(rate):
            return cls(jnp.log(rate), 0.0)
        log = math.log(rate) if rate > 0 else _LOG_ZERO
        high = float(np.float32(log))
        return cls(high, log - high, rate)

    def power(self, whole: jax.Array, fraction: Real = 0.0) -> jax.Array:
        """``rate ** (whole + fraction)`` for an int32 ``whole`` >= 0 and a ``fraction`` in [0, 1)."""
        if real(0).dtype == jnp.float64:
            return jnp.exp((whole + real(fraction)) * (real(self.high) + self.low))
        exponent, error = _exact_product(whole, real(self.high), real(self.low))
        exponent, rounding = _two_sum(exponent, real(fraction) * self.high)
        power = jnp.exp(exponent)
        return power + power * (error + rounding)

    def __mul__(self, times: Real) -> jax.Array:
        """``times * log(rate)``"""
        return (real(self.high) + real(self.low)) * times

    def __float__(self) -> float:
        if self.value is not None:
            return float(self.value)
        return float(f"{math.exp(float(self.high) + float(self.low)):.12g}")

    def __repr__(self) -> str:
        if self.value is not None:
            return repr(self.value)
        if isinstance(self.high, jax.core.Tracer):
            return f"<traced {self.high.aval.str_short()}>"
        log = np.asarray(self.high, np.float64) + np.asarray(self.low, np.float64)
        return repr(float(self)) if log.ndim == 0 else repr(np.exp(log).tolist())

    def tree_flatten(self) -> tuple[tuple[Real, Real], None]:
        return (self.high, self.low), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: tuple[Real, Real]) -> LogRate:
        del aux
        return cls(*children)


def _two_sum(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``a + b`` rounded, and what the rounding lost, exactly."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _exact_product(n: jax.Array, high: jax.Array, low: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``n * (high + low)`` as a float32 and a remainder, for an int32 ``n``.

    ``n`` is cut in pieces of 11 bits and ``high`` in pieces of 12, so that their products are exact in float32, with
    or without fused multiply-adds.
    """
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(high), jnp.uint32)
    top = jax.lax.bitcast_convert_type(bits & jnp.uint32(0xFFFFF000), jnp.float32)
    pieces = ((n >> 22) << 22, n & (0x7FF << 11), n & 0x7FF)
    total = jnp.zeros_like(high)
    error = jnp.zeros_like(high)
    for piece in pieces:
        for factor in (top, high - top):
            total, lost = _two_sum(total, piece.astype(jnp.float32) * factor)
            error = error + lost
        error = error + piece.astype(jnp.float32) * low
    return total, error


def _check_rate(name: str, value: Any) -> LogRate:
    if isinstance(value, LogRate):
        return value
    value = _checks.number(name, value)
    if _checks.is_host_number(value) and value < 0:
        raise ValueError(f"{name} must be >= 0, got {value!r}")
    return LogRate.of(value)


Rate = Annotated[Real | LogRate, _check_rate]
"""A factor >= 0 that is raised to a power: the function receives a `LogRate`."""
