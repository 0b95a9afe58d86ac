"""A rate of decay per step, kept as its logarithm so that float32 does not lose it.

In float32 the number 1 - 1e-8 is 1. Its logarithm is not: two float32 hold it to 48 bits. ``rate ** n`` is then
``exp(n * log(rate))`` with the product carried in two float32 as well, because an error of 1e-7 in an exponent of 80
is an error of 8e-6 in the result.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxsched.numerics._real import real
from jaxsched.numerics._twofold import exact_product, two_product, two_sum
from jaxsched.numerics._types import Real, is_host_number

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
        if not is_host_number(rate):
            positive = rate > 0
            return cls(jnp.where(positive, jnp.log(jnp.where(positive, rate, 1.0)), _LOG_ZERO), 0.0)
        log = math.log(rate) if rate > 0 else _LOG_ZERO
        high = float(np.float32(log))
        return cls(high, log - high, rate)

    def power(self, whole: jax.Array, fraction: Real = 0.0, lost: Real = 0.0) -> jax.Array:
        """``rate ** (whole + fraction + lost)`` for an int32 ``whole`` >= 0.

        ``fraction`` is in [0, 1], and ``lost`` what its rounding lost.
        """
        high, low = real(self.high), real(self.low)
        exponent, error = exact_product(whole, high, low)
        part, part_error = two_product(real(fraction), high)
        exponent, rounding = two_sum(exponent, part)
        return jnp.exp(exponent) * (1.0 + (error + part_error + rounding + (fraction * low + lost * high)))

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
        if isinstance(self.high, Tracer):
            return f"<traced {self.high.aval.str_short()}>"
        log = np.asarray(self.high, np.float64) + np.asarray(self.low, np.float64)
        return repr(float(self)) if log.ndim == 0 else repr(np.exp(log).tolist())

    def tree_flatten(self) -> tuple[tuple[Real, Real], None]:
        return (self.high, self.low), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: tuple[Real, Real]) -> LogRate:
        del aux
        return cls(*children)
