"""Shapes of Darknet's learning rates that the core does not have, each a pure function of the step."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.checks import Number, PreciseNumber, Step
from jaxsched.numerics import precise, product
from jaxsched.schedules import Mark, schedule


@schedule(moments=lambda a, run: [Mark(a.number("at"), "other", "half of the sigmoid")])
def sigmoid_fall(step: jax.Array, peak: Number, gamma: PreciseNumber, at: Step) -> jax.Array:
    """``peak / (1 + exp(gamma * (step - at)))``: half of the peak at step ``at``."""
    exponent, lost = product(step - jnp.asarray(at, jnp.int32), precise(gamma))
    return peak / (1.0 + jnp.exp(jnp.minimum(exponent, 80.0)) * (1.0 + lost))
