"""Shapes of timm's schedulers that the core has no word for, each a pure function of the step."""

from __future__ import annotations

import bisect
import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched.schedules import Count, Exponent, Milestones, Number, Rate, Value, WholeLength, schedule, value_at
from jaxsched.schedules._checks import MAX_STEP
from jaxsched.schedules._progress import exact_fraction, fractions, power_and_rest, sin_squared
from jaxsched.schedules._rate import LogRate
from jaxsched.schedules._schedule import real
from jaxsched.schedules._stairs import passed, repeats
from jaxsched.schedules._twofold import Twofold

MOST_CYCLES = 1000
"""Cycles of unequal lengths, at most: each is a comparison at every step."""


def _spans(name: str, value: Any) -> Any:
    if isinstance(value, jax.Array):
        return value
    values = np.asarray(value, np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        raise ValueError(f"{name} must hold a pair for each cycle, got {value!r}")
    return values


Spans = Annotated[Any, _spans]
"""For each cycle of unequal lengths: how much of it is gone at its first whole step, and its length."""


def cycles(steps: int, mul: float, limit: int) -> tuple[tuple[int, ...], np.ndarray]:
    """The first steps and the spans of cycles each ``mul`` times as long as the one before; none if they are equal.

    By timm's own arithmetic: the index of a cycle is the floor of a float logarithm, which may put a step that begins
    a cycle at the very end of the one before.
    """
    if mul == 1:
        return (), np.zeros((0, 2))

    def cycle(step: int) -> int:
        left = 1 - step / steps * (1 - mul)
        return math.floor(math.log(left, mul)) if left > 0 else MAX_STEP  # timm raises there

    starts, spans = [], []
    for i in range(limit):
        start = bisect.bisect_left(range(MAX_STEP), i, key=cycle)
        if start == MAX_STEP or cycle(start) == MAX_STEP:
            break
        if i == MOST_CYCLES:
            raise ValueError(f"cycle_limit must be at most {MOST_CYCLES} where cycle_mul is not 1, got {limit!r}")
        begin = (1 - mul**i) / (1 - mul) * steps
        starts.append(start)
        spans.append((start - begin, mul**i * steps))
    end = bisect.bisect_left(range(MAX_STEP), len(starts), key=cycle)
    return (*starts, end), np.asarray([*spans, (0.0, 1.0)])


def _position(
    step: jax.Array, steps: Any, starts: Milestones, spans: Any, limit: Any
) -> tuple[jax.Array, jax.Array, Twofold, Twofold]:
    """The cycle, whether it is past the last, and the fractions of it that are gone and left."""
    if not len(starts):
        cycle, gone, whole = repeats(step, steps)
        return cycle, cycle >= limit, exact_fraction(gone, whole), exact_fraction(whole - gone, whole)
    cycle = passed(step, starts[1:])
    since = real(step - jnp.asarray(starts, jnp.int32)[cycle])
    begun, length = jnp.moveaxis(real(spans)[cycle], -1, 0)
    gone = jnp.clip((since + begun) / length, 0.0, 1.0)
    left = jnp.clip((length - begun - since) / length, 0.0, 1.0)
    return cycle, cycle >= len(starts) - 1, Twofold(gone, real(0.0)), Twofold(left, real(0.0))


@schedule
def cosine(
    step: jax.Array,
    base: Number,
    t_initial: WholeLength,
    lr_min: Number,
    cycle_decay: Rate,
    cycle_limit: Count,
    starts: Milestones,
    spans: Spans,
    k_decay: Exponent,
) -> jax.Array:
    """Half a cosine in each cycle; ``lr_min`` after the last."""
    cycle, over, gone, left = _position(step, t_initial, starts, spans, cycle_limit)
    gone, left = power_and_rest(gone, left, k_decay)
    peak = base * LogRate.of(cycle_decay).power(cycle)
    return jnp.where(over, lr_min, peak * sin_squared(*left) + lr_min * sin_squared(*gone))


@schedule
def tanh(
    step: jax.Array,
    base: Number,
    t_initial: WholeLength,
    lb: Number,
    ub: Number,
    lr_min: Number,
    cycle_decay: Rate,
    cycle_limit: Count,
    starts: Milestones,
    spans: Spans,
) -> jax.Array:
    """A hyperbolic tangent from ``lb`` to ``ub`` in each cycle; ``lr_min`` after the last."""
    cycle, over, gone, left = _position(step, t_initial, starts, spans, cycle_limit)
    peak = base * LogRate.of(cycle_decay).power(cycle)
    # (1 - tanh(x)) / 2 is the logistic function of -2x, which does not cancel.
    x = 2.0 * (lb * (left.high + left.low) + ub * (gone.high + gone.low))
    return jnp.where(over, lr_min, peak * jax.nn.sigmoid(-x) + lr_min * jax.nn.sigmoid(x))


@schedule
def poly(
    step: jax.Array,
    base: Number,
    t_initial: WholeLength,
    power: Exponent,
    lr_min: Number,
    cycle_decay: Rate,
    cycle_limit: Count,
    starts: Milestones,
    spans: Spans,
    k_decay: Exponent,
) -> jax.Array:
    """A power of what is left in each cycle; ``lr_min`` after the last."""
    cycle, over, gone, left = _position(step, t_initial, starts, spans, cycle_limit)
    gone, left = power_and_rest(gone, left, k_decay)
    falling, rising = power_and_rest(left, gone, power)
    peak = base * LogRate.of(cycle_decay).power(cycle)
    value = peak * (falling.high + falling.low) + lr_min * (rising.high + rising.low)
    return jnp.where(over, lr_min, value)


@schedule
def power_ending(
    step: jax.Array, schedule: Value, at: Count, steps: WholeLength, end: Number, power: Exponent
) -> jax.Array:
    """``schedule``, left for ``end`` over ``steps`` steps from ``at`` on: the part left is ``1 - t ** power``."""
    gone, left = fractions(jnp.maximum(step - jnp.asarray(at, jnp.int32), 0), steps)
    rising, falling = (part.high + part.low for part in power_and_rest(gone, left, power))
    return value_at(schedule, step) * falling + end * rising


@schedule
def exponential_ending(
    step: jax.Array, schedule: Value, at: Count, steps: WholeLength, end: Number, ratio: Rate
) -> jax.Array:
    """``schedule``, left for ``end`` over ``steps`` steps from ``at`` on: left is ``(r**t - r) / (1 - r)`` of it."""
    gone, left = fractions(jnp.maximum(step - jnp.asarray(at, jnp.int32), 0), steps)
    logarithm = LogRate.of(ratio) * 1.0
    whole = jnp.expm1(logarithm)
    falling = jnp.expm1(-logarithm * (left.high + left.low)) * jnp.exp(logarithm) / -whole
    rising = jnp.expm1(logarithm * (gone.high + gone.low)) / whole
    return value_at(schedule, step) * falling + end * rising


@schedule
def at_step(step: jax.Array, schedule: Value, at: Count) -> jax.Array:
    """What ``schedule`` is at step ``at``, at every step."""
    return value_at(schedule, jnp.broadcast_to(jnp.asarray(at, jnp.int32), step.shape))


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
