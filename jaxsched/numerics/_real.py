"""The step as int32, and any number as float32 (float64 under ``jax_enable_x64``)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxsched.numerics._types import MAX_STEP


def as_step(step: ArrayLike) -> jax.Array:
    """``step`` as int32, from 0 to 2**31 - 1. Integral floats are accepted; other host floats raise."""
    if isinstance(step, jax.Array):
        if jnp.issubdtype(step.dtype, jnp.floating):
            # A float32 holds 2**31 but not 2**31 - 1, which is where an int32 ends.
            return jnp.clip(step, 0, 2.0**31 - 128).astype(jnp.int32)
        if jnp.iinfo(step.dtype).max > MAX_STEP:
            step = jnp.minimum(step, jnp.asarray(MAX_STEP, step.dtype))
        return jnp.maximum(step.astype(jnp.int32), 0)
    host = np.asarray(step)
    if host.dtype == bool or not np.issubdtype(host.dtype, np.number) or np.any(host != np.floor(host)):
        raise TypeError(f"a step is a whole number, counted from 0; got {step!r:.60}")
    return jnp.asarray(np.clip(host, 0, MAX_STEP).astype(np.int32))


def real(value: ArrayLike) -> jax.Array:
    """``value`` as float32, or float64 under ``jax_enable_x64``."""
    if callable(value) and not hasattr(value, "dtype"):
        raise TypeError(
            f"called with the step it gives no number but the schedule {value!r:.60}: a scheduler of a port is called "
            "with the base lr first, as in StepLR(30)(0.1)"
        )
    return jnp.asarray(value, dtype=jnp.result_type(float))
