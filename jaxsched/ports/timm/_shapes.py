"""Shapes of timm's schedulers that the core does not have, each a pure function of the step."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.checks import Exponent, Number, Rate, Step, WholeLength
from jaxsched.numerics import LogRate, Twofold, exact_fractions, minus_expm1, power_and_rest, product
from jaxsched.schedules import Value, cools_down, no_moments, schedule, value_at


@schedule(moments=cools_down("at", "steps"))
def power_ending(
    step: jax.Array, schedule: Value, at: Step, steps: WholeLength, end: Number, power: Exponent
) -> jax.Array:
    """From ``schedule`` to ``end`` over ``steps`` steps from ``at`` on; its weight is ``1 - t ** power``."""
    gone, left = exact_fractions(jnp.maximum(step - jnp.asarray(at, jnp.int32), 0), steps)
    rising, falling = power_and_rest(gone, left, power)
    return value_at(schedule, step) * falling + end * rising


@schedule(moments=cools_down("at", "steps"))
def exponential_ending(
    step: jax.Array, schedule: Value, at: Step, steps: WholeLength, end: Number, ratio: Rate
) -> jax.Array:
    """From ``schedule`` to ``end`` over ``steps`` steps from ``at`` on; its weight is ``(r**t - r) / (1 - r)``."""
    gone, left = exact_fractions(jnp.maximum(step - jnp.asarray(at, jnp.int32), 0), steps)
    log = LogRate.of(ratio).twofold
    falls = log.high < 0
    size = Twofold(jnp.where(falls, log.high, -log.high), jnp.where(falls, log.low, -log.low))

    def near(part: Twofold) -> jax.Array:
        """``1 - r ** part`` for the ratio or one over it, whichever is below 1."""
        exponent, lost = product(part, size)
        return minus_expm1(-exponent, -lost) / minus_expm1(-size.high, -size.low)

    # The weights are 1 - r ** gone and r ** gone - r, over 1 - r: without a difference of large numbers.
    exponent, lost = product(Twofold(*(jnp.where(falls, a, b) for a, b in zip(gone, left, strict=True))), size)
    shrunk = jnp.exp(exponent) * (1.0 + lost)
    falling, rising = near(left) * jnp.where(falls, shrunk, 1.0), near(gone) * jnp.where(falls, 1.0, shrunk)
    return value_at(schedule, step) * falling + end * rising


@schedule(moments=no_moments, clock=lambda a, clock: {"schedule": None})
def at_step(step: jax.Array, schedule: Value, at: Step) -> jax.Array:
    """The value of ``schedule`` at step ``at``, held at every step."""
    return value_at(schedule, jnp.broadcast_to(jnp.asarray(at, jnp.int32), step.shape))
