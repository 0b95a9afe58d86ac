"""Warm-up: another schedule, approached from a start."""

from __future__ import annotations

from typing import Annotated

import jax
import jax.numpy as jnp

from jaxsched.schedules._checks import Length, Real, choice
from jaxsched.schedules._decay import blend
from jaxsched.schedules._progress import gone_fraction, left_fraction
from jaxsched.schedules._schedule import Value, schedule, value_at


@schedule
def warmup(
    step: jax.Array,
    schedule: Value,
    steps: Length,
    start: Value = 0.0,
    shape: Annotated[str, choice("linear", "constant", "exponential", "quadratic")] = "linear",
) -> jax.Array:
    """``schedule``, approached from ``start`` over the first ``steps`` steps.

    With ``s`` the schedule's value at this very step (its clock runs on during warm-up) and ``t = step / steps``:

    - linear: ``start * (1 - t) + s * t``
    - constant: ``start``
    - exponential: ``start ** (1 - t) * s ** t`` (start and schedule > 0)
    - quadratic: ``start * (1 - t**2) + s * t**2``

    At step 0 it is ``start``, from ``steps`` on exactly the schedule.

    Args:
        schedule: What to approach: a schedule, or a number.
        steps: Length of the warm-up in steps, > 0. For none, leave the warm-up out.
        start: Value at step 0: a number, or a schedule such as ``0.1 * schedule`` for a warm-up by ratio.
        shape: One of the above.

    Raises:
        ValueError: If ``steps`` is not positive or ``shape`` unknown.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.warmup(js.constant(1.0), steps=4)(jnp.arange(6))
        Array([0.  , 0.25, 0.5 , 0.75, 1.  , 1.  ], dtype=float32)
    """
    begin, goal = value_at(start, step), value_at(schedule, step)
    return jnp.where(step >= steps, goal, _SHAPES[shape](step, steps, begin, goal))


def _constant(step: jax.Array, steps: Real, begin: jax.Array, goal: jax.Array) -> jax.Array:
    del step, steps, goal
    return begin


def _exponential(step: jax.Array, steps: Real, begin: jax.Array, goal: jax.Array) -> jax.Array:
    return jnp.power(begin, left_fraction(step, steps)) * jnp.power(goal, gone_fraction(step, steps))


def _quadratic(step: jax.Array, steps: Real, begin: jax.Array, goal: jax.Array) -> jax.Array:
    left, gone = left_fraction(step, steps), gone_fraction(step, steps)
    return begin * left * (1.0 + gone) + goal * jnp.square(gone)


_SHAPES = {"linear": blend, "constant": _constant, "exponential": _exponential, "quadratic": _quadratic}
