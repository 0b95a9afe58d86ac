"""The norm of several arrays together, and its limit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxsched.numerics import compute_dtype


def norm(tree: Any) -> jax.Array:
    """The square root of the sum of the squares of all entries, in float32 at least; its derivative at 0 is 0."""
    squares = sum((jnp.sum(_square(leaf)) for leaf in jax.tree.leaves(tree)), start=jnp.zeros((), jnp.float32))
    is_zero = squares == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, squares)))


def clip_by_norm(tree: Any, limit: jax.Array, epsilon: float = 0.0) -> Any:
    """All arrays scaled by ``min(1, limit / (norm + epsilon))``, in their own dtypes."""
    factor = limit / jnp.maximum(norm(tree) + epsilon, limit)

    def scaled(leaf: jax.Array) -> jax.Array:
        leaf, wide = jnp.asarray(leaf), compute_dtype(leaf)
        return (leaf.astype(wide) * factor.astype(wide)).astype(leaf.dtype)

    return jax.tree.map(scaled, tree)


def _square(leaf: Any) -> jax.Array:
    wide = jnp.asarray(leaf).astype(compute_dtype(leaf))
    return jnp.square(wide.real) + jnp.square(wide.imag) if jnp.iscomplexobj(wide) else jnp.square(wide)
