"""The moving average of squared gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.numerics import EmaWeights, ema_step


def second_moment(average: jax.Array, gradient: jax.Array, beta: EmaWeights) -> jax.Array:
    """``beta * average + (1 - beta) * gradient**2``.

    The square of a gradient of 1.9e19 is infinite in float32. The average then stays infinite, and the parameter stays
    where it is, as in torch: the form of `ema_step`, which is closer where a deviation is computed of it, would be
    ``inf - inf``, NaN, at the next update.
    """
    square = jnp.square(gradient)
    after = ema_step(average, square, beta)
    return jnp.where(jnp.isnan(after), beta.old * average + beta.new * square, after)
