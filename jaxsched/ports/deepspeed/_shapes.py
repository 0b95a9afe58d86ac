"""Shapes of DeepSpeed's schedulers that the core does not have, each a pure function of the step."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.checks import Duration, Number, PositiveCount, WholeLength
from jaxsched.numerics import fraction, inverse, product, real, stair
from jaxsched.schedules import Mark, ends, schedule, stairs


@schedule(moments=lambda a, run: [Mark(a.number("steps") - 1, "warm-up")])
def log_rise(step: jax.Array, start: Number, end: Number, steps: WholeLength) -> jax.Array:
    """``start + (end - start) * log(step + 1) / log(steps)``: ``end`` from step ``steps - 1`` on."""
    whole = jnp.asarray(steps, jnp.int32)
    log = jnp.log(real(jnp.minimum(step, whole - 1) + 1))
    gone = jnp.where(step >= whole - 1, 1.0, log / jnp.log(real(whole)))
    return start * (1.0 - gone) + end * gone


@schedule(moments=stairs("every", only_if="staircase"))
def endless_line(step: jax.Array, start: Number, rate: Number, every: Duration, staircase: bool = False) -> jax.Array:
    """``start * (1 + rate * step / every)``, or by ``floor(step / every)`` in stairs; it does not end."""
    count = real(stair(step, every)) if staircase else product(step, inverse(every)).high
    return start * (1.0 + rate * count)


@schedule(moments=ends("steps", "start", "end"))
def in_stairs(
    step: jax.Array, start: Number, end: Number, steps: WholeLength, width: Duration, count: PositiveCount, down: bool
) -> jax.Array:
    """A line from ``start`` to ``end`` over ``steps``, in ``count`` stairs of ``width == steps / count`` steps.

    The stair is rounded down from ``start``, or with ``down`` towards ``end``, as the original does.
    """
    whole = jnp.asarray(steps, jnp.int32)
    gone = jnp.minimum(step, whole)
    part = fraction(stair(whole - gone if down else gone, width), count)
    near, far = (end, start) if down else (start, end)
    return near * (1.0 - part) + far * part
