"""How torchvision's reference scripts average the parameters: at some batches of each epoch."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.checks import Number, PositiveCount, Step
from jaxsched.schedules import no_moments, schedule


@schedule(moments=no_moments)
def averaging(
    step: jax.Array, decay: Number, every: PositiveCount, steps_per_epoch: PositiveCount, copies: Step = 0
) -> jax.Array:
    """The weight of the past in an average that is taken at each ``every``-th batch of an epoch, from its first one.

    It is 1 at other batches, which leave the average alone, and 0, a copy, up to the step ``copies``.
    """
    counted = step % jnp.asarray(steps_per_epoch, jnp.int32) % jnp.asarray(every, jnp.int32) == 0
    return jnp.where(counted, jnp.where(step > jnp.asarray(copies, jnp.int32), decay, 0.0), 1.0)
