"""Schedules that count updates, for trainers whose last update of an epoch may have fewer batches."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.checks import PositiveCount
from jaxsched.schedules import Value, no_moments, schedule, value_at


@schedule(
    moments=no_moments,
    clock=lambda a, clock: {"schedule": clock.counting(a.number("every"), a.number("steps_per_epoch"), "updates")},
)
def by_update(step: jax.Array, schedule: Value, every: PositiveCount, steps_per_epoch: PositiveCount) -> jax.Array:
    """A schedule that counts updates: one every ``every`` batches, and one at the end of each epoch."""
    nb = jnp.asarray(steps_per_epoch, jnp.int32)
    updates = (nb + every - 1) // jnp.asarray(every, jnp.int32)
    return value_at(schedule, step // nb * updates + step % nb // jnp.asarray(every, jnp.int32))


@schedule(moments=no_moments)
def batches_to_an_update(step: jax.Array, every: PositiveCount, steps_per_epoch: PositiveCount) -> jax.Array:
    """``every``, but 1 at the last batch of an epoch, which is always an update."""
    return jnp.where((step + 1) % jnp.asarray(steps_per_epoch, jnp.int32) == 0, 1, jnp.asarray(every, jnp.int32))
