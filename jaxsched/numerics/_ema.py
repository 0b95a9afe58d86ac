"""Exponential moving averages (EMA), as optimizers use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched.numerics._types import is_host_number


class EmaWeights(NamedTuple):
    """The EMA's beta, and 1 - beta.

    They are kept apart because float32 loses 1 - beta: for 0.999 it would be off by a factor of 1 + 1.3e-5.

    Attributes:
        old: beta, the weight of the average.
        new: 1 - beta, the weight of a new value.
    """

    old: jax.Array
    new: jax.Array


def ema_step(average: jax.Array, value: jax.Array, shares: EmaWeights) -> jax.Array:
    """The average after ``value``: ``average + (1 - beta) * (value - average)``.

    Where beta is below a half it is computed as ``value - beta * (value - average)``, which is equal. Like
    ``torch.lerp``, it starts from the nearer end, so that the rounding error is that of the smaller term.
    """
    change = value - average
    return jnp.where(shares.new < 0.5, average + shares.new * change, value - shares.old * change)


def bias_correction(shares: EmaWeights, count: jax.Array) -> jax.Array:
    """``1 - beta ** count``: the total weight of ``count`` values in an average that started at 0.

    That formula cancels: in float32, with a beta of 0.999, it has a relative error of 3e-5 at the second step.
    """
    return -jnp.expm1(count.astype(shares.new.dtype) * jnp.log1p(-shares.new))


def one_minus(cells: Sequence[Any], found: jax.Array) -> jax.Array:
    """``1 - found``, computed in float64 from those ``cells`` that are host numbers and then rounded once."""
    cells = cells if found.ndim else cells[:1]
    known = [is_host_number(cell) for cell in cells]
    if not any(known):
        return 1 - found
    rest = np.asarray([1 - cell if own else 0 for cell, own in zip(cells, known, strict=True)], found.dtype)
    return jnp.asarray(rest.reshape(found.shape)) if all(known) else jnp.where(np.asarray(known), rest, 1 - found)
