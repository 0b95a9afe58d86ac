"""The moving average of squared gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.numerics import EmaWeights, ema_step

MOMENTS = {"exp_avg": ("betas", 0), "exp_avg_sq": ("betas", 1)}
"""What the moments of Adam and its relatives are averages by."""


def second_moment(average: jax.Array, gradient: jax.Array, beta: EmaWeights) -> jax.Array:
    """``beta * average + (1 - beta) * gradient**2``, as far as float32 reaches.

    The form of `ema_step` is the closer one where a deviation is computed of the average. But the square of a gradient
    of 1.9e19 is infinite, and with it ``inf - inf``, NaN, would be all that follows. Torch's form, which scales before
    it squares, stays finite some way further, and then infinite: the parameter stays where it is.
    """
    after = ema_step(average, jnp.square(gradient), beta)
    return jnp.where(jnp.isfinite(after), after, beta.old * average + beta.new * gradient * gradient)
