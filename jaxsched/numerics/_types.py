"""The numbers that the library computes with: steps are int32, everything else float32 (float64 under x64)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

MAX_STEP = 2**31 - 1


def is_host_number(value: Any) -> bool:
    """Whether ``value`` is a number that Python or numpy holds, and not a bool."""
    if isinstance(value, bool | np.bool_):
        return False
    return isinstance(value, int | float | np.integer | np.floating) or (
        isinstance(value, np.ndarray) and value.ndim == 0 and np.issubdtype(value.dtype, np.number)
    )


def is_whole(value: Any) -> bool:
    """Whether ``value`` is an integer, or an array of integers, by type."""
    return isinstance(value, int) or (hasattr(value, "dtype") and bool(jnp.issubdtype(value.dtype, jnp.integer)))


Real = float | jax.Array
"""A real number, on the host or traced."""


Whole = int | jax.Array
"""A whole number, on the host or traced."""
