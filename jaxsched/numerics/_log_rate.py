"""A factor per step, kept as its logarithm so that float32 does not lose it.

In float32 the number 1 - 1e-8 is 1. Its logarithm is not: two float32 hold it to 48 bits. ``rate ** n`` is then
``exp(n * log(rate))`` with a `Twofold` exponent: an error of 6e-8 in an exponent of 80 is one of 80 ulp in the result.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxsched.numerics._kept import split_float
from jaxsched.numerics._real import real
from jaxsched.numerics._twofold import Twofold, product
from jaxsched.numerics._types import Real, is_host_number

_LOG_ZERO = -1e20
"""For a rate of 0: its exponential is 0 after a 2**31th of a step, and it stays finite when multiplied by 2**31."""


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
        return cls(*split_float(math.log(rate) if rate > 0 else _LOG_ZERO), rate)

    @property
    def twofold(self) -> Twofold:
        return Twofold(real(self.high), real(self.low))

    def power(self, count: Any, start: Real = 1.0, per: Twofold | None = None) -> jax.Array:
        """``start * rate ** (count * per)`` for an integer or a `Twofold` ``count``; 0 where ``start`` is 0."""
        exponent, lost = product(count, self.twofold if per is None else product(self.twofold, per))
        # In two factors of which neither overflows: 0 * 1.5**400 is 0, not NaN, and 1e30 * 0.5**200 is 6e-31.
        most = 0.98 * math.log(jnp.finfo(exponent.dtype).max)
        inner = jnp.clip(exponent, -most, most)
        outer = jnp.clip(exponent - inner, -most, most)
        # Bounded for a rate of 0, whose exponent may have lost more than 1: 0 times that is -0.
        return start * jnp.exp(inner) * jnp.exp(outer) * (1.0 + jnp.clip(lost, -0.5, 0.5))

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
