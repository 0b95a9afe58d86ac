"""Sums and averages of half-precision arrays are kept in float32."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def compute_dtype(x: Any) -> Any:
    """The dtype in which ``x`` is summed: its own, but float32 at least."""
    return jnp.promote_types(jnp.result_type(x), jnp.float32)
