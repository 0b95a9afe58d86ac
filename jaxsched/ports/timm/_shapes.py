"""Shapes of timm's schedulers that the core has no word for, each a pure function of the step."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.checks import Exponent, Number, Rate, Step, WholeLength
from jaxsched.numerics import LogRate, exact_fractions, fractions, power_and_rest
from jaxsched.schedules import Value, cools_down, no_moments, schedule, value_at


@schedule(moments=cools_down("at", "steps"))
def power_ending(
    step: jax.Array, schedule: Value, at: Step, steps: WholeLength, end: Number, power: Exponent
) -> jax.Array:
    """``schedule``, left for ``end`` over ``steps`` steps from ``at`` on: the part left is ``1 - t ** power``."""
    gone, left = exact_fractions(jnp.maximum(step - jnp.asarray(at, jnp.int32), 0), steps)
    rising, falling = power_and_rest(gone, left, power)
    return value_at(schedule, step) * falling + end * rising


@schedule(moments=cools_down("at", "steps"))
def exponential_ending(
    step: jax.Array, schedule: Value, at: Step, steps: WholeLength, end: Number, ratio: Rate
) -> jax.Array:
    """``schedule``, left for ``end`` over ``steps`` steps from ``at`` on: left is ``(r**t - r) / (1 - r)`` of it."""
    gone, left = fractions(jnp.maximum(step - jnp.asarray(at, jnp.int32), 0), steps)
    logarithm = LogRate.of(ratio) * 1.0
    whole = jnp.expm1(logarithm)
    falling = jnp.expm1(-logarithm * left) * jnp.exp(logarithm) / -whole
    rising = jnp.expm1(logarithm * gone) / whole
    return value_at(schedule, step) * falling + end * rising


@schedule(moments=no_moments, clock=lambda a, clock: {"schedule": None})
def at_step(step: jax.Array, schedule: Value, at: Step) -> jax.Array:
    """What ``schedule`` is at step ``at``, at every step."""
    return value_at(schedule, jnp.broadcast_to(jnp.asarray(at, jnp.int32), step.shape))
