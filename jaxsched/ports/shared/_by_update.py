"""Trainers that end each epoch with an update, however few batches it holds, and whose schedules count updates."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.checks import WholeLength
from jaxsched.schedules import Value, schedule, value_at


@schedule
def by_update(step: jax.Array, schedule: Value, every: WholeLength, steps_per_epoch: WholeLength) -> jax.Array:
    """A schedule whose clock counts updates, of which there is one each ``every`` batches and at the end of epochs."""
    nb = jnp.asarray(steps_per_epoch, jnp.int32)
    updates = (nb + every - 1) // jnp.asarray(every, jnp.int32)
    return value_at(schedule, step // nb * updates + step % nb // jnp.asarray(every, jnp.int32))


@schedule
def batches_to_an_update(step: jax.Array, every: WholeLength, steps_per_epoch: WholeLength) -> jax.Array:
    """``every``, but 1 at the last batch of an epoch, which always ends in an update."""
    return jnp.where((step + 1) % jnp.asarray(steps_per_epoch, jnp.int32) == 0, 1, jnp.asarray(every, jnp.int32))
