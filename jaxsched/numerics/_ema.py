"""Exponential moving averages, as many rules keep them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched.numerics._types import is_host_number


class EmaWeights(NamedTuple):
    r"""Of an average that moves: what it keeps of itself, :math:`\beta`, and what it takes of a value, the rest.

    Both, since :math:`1 - \beta` of a float32 is that of another beta: with 0.999 it is off by 1.3e-5 of itself.
    """

    old: jax.Array
    new: jax.Array


def ema_step(average: jax.Array, value: jax.Array, shares: EmaWeights) -> jax.Array:
    r"""The average after ``value``: :math:`a + (1 - \beta)(x - a)`.

    Or, which is the same, :math:`x + \beta (a - x)`: from the nearer end, as ``torch.lerp`` does, so that little of a
    large average is left in a small one.
    """
    change = value - average
    return jnp.where(shares.new < 0.5, average + shares.new * change, value - shares.old * change)


def bias_correction(shares: EmaWeights, count: jax.Array) -> jax.Array:
    r"""How much weight ``count`` values have in an average that started at 0: :math:`1 - \beta^t`.

    Not by that formula, which cancels: in float32, with a beta of 0.999, it is off by 3e-5 at the second step.
    """
    return -jnp.expm1(count.astype(shares.new.dtype) * jnp.log1p(-shares.new))


def one_minus(cells: Sequence[Any], found: jax.Array) -> jax.Array:
    """``1 - found``; of a number, what float64 leaves, rounded once."""
    cells = cells if found.ndim else cells[:1]
    known = [is_host_number(cell) for cell in cells]
    if not any(known):
        return 1 - found
    rest = np.asarray([1 - cell if own else 0 for cell, own in zip(cells, known, strict=True)], found.dtype)
    return jnp.asarray(rest.reshape(found.shape)) if all(known) else jnp.where(np.asarray(known), rest, 1 - found)
