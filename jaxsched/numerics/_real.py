"""The step as int32, and any number as float32 (float64 under ``jax_enable_x64``)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxsched.numerics._types import MAX_STEP


def as_step(step: ArrayLike) -> jax.Array:
    """``step`` as int32, from 0 to 2**31 - 1. Integral floats are accepted; other host floats raise."""
    host = step if isinstance(step, jax.Array) else np.asarray(step)
    is_float = jnp.issubdtype(host.dtype, jnp.floating)
    if not (is_float or jnp.issubdtype(host.dtype, jnp.integer)):
        raise TypeError(f"a step is a whole number, counted from 0; got {_what(step)}")
    if not isinstance(host, jax.Array):
        if np.any(host != np.floor(host)):
            raise TypeError(f"a step is a whole number, counted from 0; got {_what(step)}")
        return jnp.asarray(np.clip(host, 0, MAX_STEP).astype(np.int32))
    if is_float:  # a float32 holds 2**31 but not 2**31 - 1, which is where an int32 ends
        return jnp.clip(host, 0, 2.0**31 - 128).astype(jnp.int32)
    if jnp.iinfo(host.dtype).max > MAX_STEP:
        host = jnp.minimum(host, jnp.asarray(MAX_STEP, host.dtype))
    return jnp.maximum(host.astype(jnp.int32), 0)


def _what(step: ArrayLike) -> str:
    return f"an array of {step.dtype}" if isinstance(step, jax.Array) else f"{step!r:.60}"


def real(value: ArrayLike) -> jax.Array:
    """``value`` as float32, or float64 under ``jax_enable_x64``."""
    if callable(value) and not hasattr(value, "dtype"):
        raise TypeError(
            f"called with the step it gives no number but the schedule {value!r:.60}: a scheduler of a port is called "
            "with the base lr first, as in StepLR(30)(0.1)"
        )
    return jnp.asarray(value, dtype=jnp.result_type(float))
