"""The clock of Swin-Transformer's schedulers, which are stepped after an update by the number of the batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.checks import PositiveCount
from jaxsched.schedules import Value, no_moments, schedule, value_at


@schedule(
    moments=no_moments,
    clock=lambda a, clock: {"schedule": clock.counting(a.number("every"), a.number("steps_per_epoch"), "updates")},
)
def after_updates(step: jax.Array, schedule: Value, every: PositiveCount, steps_per_epoch: PositiveCount) -> jax.Array:
    """A schedule that is set after an update to ``schedule(batch // every)``, where ``batch`` is that of the update.

    The first two updates have its value at 0: it is one update late. What is left of an epoch makes no update.
    """
    every, nb = jnp.asarray(every, jnp.int32), jnp.asarray(steps_per_epoch, jnp.int32)
    epoch, batch = step // nb, step % nb
    here = epoch * nb + batch // every * every - 1
    before = (epoch - 1) * nb + nb // every * every - 1
    last = jnp.where(batch < every, before, here)
    return value_at(schedule, jnp.maximum(last, 0) // every)


@schedule(moments=no_moments)
def from_epoch_start(step: jax.Array, every: PositiveCount, steps_per_epoch: PositiveCount) -> jax.Array:
    """How many batches make an update where each ``every`` of an epoch do, counted from its first one.

    It is 1 at these, and elsewhere more than can have come since the last.
    """
    every, nb = jnp.asarray(every, jnp.int32), jnp.asarray(steps_per_epoch, jnp.int32)
    return jnp.where((step % nb + 1) % every == 0, 1, 2 * every)
