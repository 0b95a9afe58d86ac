"""The moving average of squared gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.numerics import EmaWeights


def second_moment(average: jax.Array, gradient: jax.Array, beta: EmaWeights) -> jax.Array:
    """``beta * average + (1 - beta) * gradient**2``, in this form as in torch.

    The square of a gradient of 1.9e19 is infinite in float32. In this form the average then stays infinite, and the
    parameter stays where it is; the form of `ema_step` would make it ``inf - inf``, NaN, at the next update.
    """
    return beta.old * average + beta.new * jnp.square(gradient)
