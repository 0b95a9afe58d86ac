"""Sums and averages of half-precision arrays are kept in float32."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

_WIDE = (jnp.float64, jnp.complex64, jnp.complex128)


def compute_dtype(x: Any) -> jnp.dtype:
    """The dtype in which ``x`` is summed: its own, but float32 at least.

    Not ``jnp.promote_types``, which refuses bfloat16 beside float32 under strict dtype promotion.
    """
    dtype = jnp.result_type(x)
    return dtype if dtype in _WIDE else jnp.dtype(jnp.float32)
