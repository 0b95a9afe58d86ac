"""A number that need not be whole, kept as a ratio of integers: where float32 would not do.

In float32 the length 2.4 is not 2.4, and 36 / 2.4 may fall below 15: a stair missed. As 12 / 5 it is counted in
integers like any whole length. And 1e-9 ** 0.9 differs by 8 ulp between 0.9 and the float32 nearest to it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxsched.numerics._real import real
from jaxsched.numerics._twofold import Twofold, divide
from jaxsched.numerics._types import Whole


@jax.tree_util.register_pytree_node_class
class Ratio:
    """``over / under``, > 0. ``tilt`` is the sign of what a host number is above its ratio: -1 for 2.4 (12 / 5).

    ``over * under`` fits into the integers, so that ``step % over * under`` does.
    """

    __slots__ = ("over", "tilt", "under", "value")

    def __init__(self, over: Whole, under: Whole, tilt: Whole, value: float | None = None):
        self.over, self.under, self.tilt, self.value = over, under, tilt, value

    @classmethod
    def of(cls, value: float) -> Ratio | float:
        """The ratio nearest to ``value``; ``value`` itself if it is nearer to a float32, as 1.00001 is."""
        exact = Fraction(value)
        largest = np.iinfo(whole_type()).max
        near = exact.limit_denominator(max(int((largest / max(value, 1.0)) ** 0.5), 1))
        if abs(near / exact - 1) > Fraction(1, 2**24):
            return value
        return cls(near.numerator, near.denominator, (exact > near) - (exact < near), value)

    def __float__(self) -> float:
        return float(self.value) if self.value is not None else float(np.asarray(self.over) / np.asarray(self.under))

    def __repr__(self) -> str:
        if isinstance(self.over, Tracer):
            return f"<traced {self.over.aval.str_short()}>"
        return repr(float(self)) if np.ndim(self.over) == 0 else repr(np.divide(self.over, self.under).tolist())

    def tree_flatten(self) -> tuple[tuple[Whole, Whole, Whole], None]:
        return (self.over, self.under, self.tilt), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: tuple[Whole, Whole, Whole]) -> Ratio:
        del aux
        return cls(*children)


def whole_type() -> Any:
    """The integers to count in: int32, or int64 under ``jax_enable_x64``."""
    return jnp.result_type(int)


def is_whole(steps: Any) -> bool:
    """Whether ``steps`` is an integer by type."""
    return not isinstance(steps, Ratio) and bool(jnp.issubdtype(jnp.result_type(steps), jnp.integer))


def twofold(number: Any) -> Twofold:
    """A number that may be a `Ratio`, with all its digits."""
    if isinstance(number, Ratio):
        return divide(jnp.asarray(number.over), jnp.asarray(number.under))
    return Twofold(real(number), real(0.0))
