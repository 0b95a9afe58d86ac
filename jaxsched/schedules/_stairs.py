"""Which stair, which cycle, which interval a step is in: found in integers."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.schedules._checks import MAX_STEP, Milestones, Real, Whole
from jaxsched.schedules._progress import fraction, fraction_and_lost, is_whole
from jaxsched.schedules._schedule import real


def stairs_at(step: jax.Array, every: Real) -> tuple[jax.Array, jax.Array, jax.Array]:
    """How often ``every`` fits into ``step``, the fraction of it that is over, and what its rounding lost."""
    if is_whole(every):
        every = jnp.asarray(every, jnp.int32)
        return step // every, *fraction_and_lost(step % every, every)
    stairs = jnp.floor(real(step) / real(every))
    within = fraction(real(step) - stairs * every, every)
    return stairs.astype(jnp.int32), within, jnp.zeros_like(within)


def cycle_at(step: jax.Array, steps: Whole, stretch: Whole) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Which cycle ``step`` is in (from 0), at which step of it, and how long it is.

    The first cycle is ``steps`` long, each further one ``stretch`` times as long as the one before; all in integers.
    """
    steps, stretch = jnp.asarray(steps, jnp.int32), jnp.asarray(stretch, jnp.int32)
    cycle, within, length = jnp.zeros_like(step), step, steps
    # Lengths at least double, so that 31 cycles reach 2**31 steps; one longer than that counts as that.
    for _ in range(31):
        over = within >= length
        longer = jnp.where(length > MAX_STEP // stretch, MAX_STEP, length * stretch)
        cycle, within = cycle + over, jnp.where(over, within - length, within)
        length = jnp.where(over, longer, length)
    even = stretch == 1
    return (
        jnp.where(even, step // steps, cycle),
        jnp.where(even, step % steps, within),
        jnp.where(even, steps, length),
    )


def passed(step: jax.Array, at: Milestones) -> jax.Array:
    """How many of the steps ``at`` are at or before ``step``, as int32."""
    if isinstance(at, tuple) and len(at) <= 64:
        return sum((jnp.asarray(step >= m, jnp.int32) for m in at), start=jnp.zeros_like(step))
    return jnp.searchsorted(jnp.asarray(at, jnp.int32), step, side="right").astype(jnp.int32)
