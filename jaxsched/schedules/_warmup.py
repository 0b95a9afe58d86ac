"""Warm-up and cooldown: from a start to a schedule, and from a schedule to an end."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxsched.checks import Duration, Number, Step, WholeLength
from jaxsched.schedules._declarations import cools_down, warms_up
from jaxsched.schedules._ramps import Shape, between, check_shape
from jaxsched.schedules._schedule import Schedule, Value, composition, schedule, value_at


def _check_warmup(schedule: Any, steps: Any, start: Any, shape: str) -> None:
    check_shape(shape, schedule=schedule, start=start)


@schedule(moments=warms_up("steps"), check=_check_warmup)
def warmup(step: jax.Array, schedule: Value, steps: Duration, start: Value = 0.0, shape: Shape = "linear") -> jax.Array:
    """Warm up from ``start`` to ``schedule`` over the first ``steps`` steps.

    With ``s`` the schedule's value at this very step (its clock runs on during warm-up) and ``t = step / steps``:

    - linear: ``start * (1 - t) + s * t``
    - cosine: ``start * (1 - c) + s * c`` with ``c = (1 - cos(pi * t)) / 2``
    - quadratic: ``start * (1 - t**2) + s * t**2``
    - sqrt: ``start * (1 - sqrt(t)) + s * sqrt(t)``
    - exponential: ``start ** (1 - t) * s ** t`` (start and schedule > 0)
    - constant: ``start``

    At step 0 it is ``start``, from ``steps`` on exactly the schedule.

    Args:
        schedule: What to warm up to: a schedule or a number.
        steps: Length of the warm-up in steps, > 0. For none, use ``schedule`` itself.
        start: Value at step 0: a number, or a schedule such as ``0.1 * schedule`` for a warm-up by ratio.
        shape: One of the shapes above.

    Raises:
        ValueError: If ``steps`` is not positive, ``shape`` unknown, or ``start`` not positive where it must be.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.warmup(js.constant(1.0), steps=4)(jnp.arange(6))
        Array([0.  , 0.25, 0.5 , 0.75, 1.  , 1.  ], dtype=float32)
    """
    return between(step, steps, value_at(start, step), value_at(schedule, step), shape)


def _check_cooldown(schedule: Any, at: Any, steps: Any, end: Any, shape: str) -> None:
    check_shape(shape, schedule=schedule, end=end)


@schedule(moments=cools_down("at", "steps"), check=_check_cooldown)
def cooldown(
    step: jax.Array, schedule: Value, at: Step, steps: Duration, end: Value = 0.0, shape: Shape = "linear"
) -> jax.Array:
    """Cool down from ``schedule`` to ``end`` over ``steps`` steps, starting at step ``at``.

    With ``s`` the schedule's value at this very step (its clock runs on) and ``t = (step - at) / steps``:

    - linear: ``s * (1 - t) + end * t``
    - cosine: ``s * (1 - c) + end * c`` with ``c = (1 - cos(pi * t)) / 2``
    - quadratic: ``s * (1 - t**2) + end * t**2``
    - sqrt: ``s * (1 - sqrt(t)) + end * sqrt(t)`` (arXiv:2405.18392)
    - exponential: ``s ** (1 - t) * end ** t`` (schedule and end > 0)
    - constant: ``s``, then a jump to ``end``

    Up to ``at`` it is exactly the schedule, from ``at + steps`` on exactly ``end``.

    Args:
        schedule: What to cool down from: a schedule or a number.
        at: Step at which the cooldown begins: a whole number >= 0.
        steps: Length of the cooldown in steps, > 0.
        end: Value afterwards: a number or a schedule.
        shape: One of the shapes above.

    Raises:
        ValueError: If ``at`` is negative or fractional, ``steps`` not positive, ``shape`` unknown, or ``end`` not
            positive where it must be.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.cooldown(1.0, at=1, steps=4)(jnp.arange(7))
        Array([1.  , 1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ], dtype=float32)
    """
    since = jnp.maximum(step - jnp.asarray(at, jnp.int32), 0)
    return between(since, steps, value_at(schedule, step), value_at(end, step), shape)


@composition
def warmup_stable_decay(
    peak: Number,
    warmup: WholeLength,
    stable: Step,
    decay: WholeLength,
    start: Number = 0.0,
    floor: Number = 0.0,
    warmup_shape: Shape = "linear",
    decay_shape: Shape = "linear",
) -> Schedule:
    """Warm-up, a stable phase at ``peak``, and decay to ``floor`` (WSD, arXiv:2404.06395).

    A `cooldown` within a `warmup`.

    Args:
        peak: Value between warm-up and decay.
        warmup: Steps from ``start`` to ``peak``, whole, > 0.
        stable: Steps at ``peak``, whole, >= 0.
        decay: Steps from ``peak`` to ``floor``, whole, > 0.
        start: Value at step 0.
        floor: Value from ``warmup + stable + decay`` on.
        warmup_shape: A shape of `warmup`.
        decay_shape: A shape of `cooldown`.

    Raises:
        ValueError: If a number of steps is not a whole positive number or a shape unknown.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.warmup_stable_decay(1.0, warmup=2, stable=2, decay=2)(jnp.arange(8))
        Array([0. , 0.5, 1. , 1. , 1. , 0.5, 0. , 0. ], dtype=float32)
    """
    stays = cooldown(peak, at=warmup + stable, steps=decay, end=floor, shape=decay_shape)
    return _warmup(stays, steps=warmup, start=start, shape=warmup_shape)


_warmup = warmup  # warmup_stable_decay has an argument of this name
