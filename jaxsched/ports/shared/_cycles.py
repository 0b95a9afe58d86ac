"""Decays that restart, in cycles of equal or unequal lengths: timm's schedules, and transformers' restarts."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched.checks import Count, Exponent, Floor, Milestones, Peak, PreciseNumber, Rate, WholeLength, short
from jaxsched.numerics import (
    MAX_STEP,
    LogRate,
    Twofold,
    difference,
    ordered_sum,
    passed,
    power_and_rest,
    quotient,
    real,
    repeats,
    sin_squared,
    tanh_and_rest,
    two_sum,
)
from jaxsched.schedules import Arguments, Mark, schedule
from jaxsched.schedules.internal import MOST as MOST_MARKED

MOST_CYCLES = 1000
"""Most cycles of unequal lengths, since each costs a comparison at every step."""


def _spans(name: str, value: Any) -> Any:
    if isinstance(value, jax.Array):
        return value
    values = np.asarray(value, np.float64)
    if values.ndim != 2 or values.shape[1] not in (2, 4):
        raise ValueError(f"{name} must hold a pair for each cycle, got {short(value)}")
    if values.shape[1] == 4:
        return values
    begun, length = values.T
    left = length - begun
    taken = length - left
    lost = (length - (left + taken)) + (taken - begun)  # what rounding took: a share of the last, short step
    return np.stack([begun, left // _TOP * _TOP, left % _TOP // 1, left % 1 + lost], axis=1)


_TOP = 2**16
"""Steps are taken apart into multiples of this and a rest: float32 holds both exactly, and not a sum above 2**24."""


Spans = Annotated[Any, _spans]
"""For each cycle of unequal lengths: the elapsed part at its first whole step, and its length.

Stored as four numbers: the elapsed part, and the remaining length as a multiple of 2**16, whole steps and a fraction.
The difference of two float32 lengths of 1e6 steps would be off by 0.1 steps.
"""


def unequal(steps: int, mul: float, limit: int) -> dict[str, Any]:
    """``starts`` and ``spans`` of cycles that are each ``mul`` times as long as the one before; empty if ``mul`` is 1.

    As in timm, the index of a cycle is the floor of a float logarithm, whose rounding may assign the first step of a
    cycle to the end of the one before.
    """
    if mul == 1:
        return {}

    def cycle(step: int) -> int:
        left = 1 - step / steps * (1 - mul)
        return math.floor(math.log(left, mul)) if left > 0 else MAX_STEP  # timm raises there

    starts, spans = [], []
    for i in range(limit):
        start = bisect.bisect_left(range(MAX_STEP), i, key=cycle)
        if start == MAX_STEP or cycle(start) == MAX_STEP:
            break
        if i == MOST_CYCLES:
            raise ValueError(f"cycle_limit must be at most {MOST_CYCLES} where cycle_mul is not 1, got {short(limit)}")
        begin = (1 - mul**i) / (1 - mul) * steps
        starts.append(start)
        spans.append((start - begin, mul**i * steps))
    end = bisect.bisect_left(range(MAX_STEP), len(starts), key=cycle)
    return {"starts": (*starts, end), "spans": [*spans, (0.0, 1.0)]}


def _position(
    step: jax.Array, steps: Any, starts: Milestones, spans: Any, limit: Any
) -> tuple[jax.Array, jax.Array, Twofold, Twofold]:
    """The cycle, whether it is past the last, and the fractions of it that are gone and left."""
    if not len(starts):
        cycle, over, each = repeats(step, steps)
        return jnp.minimum(cycle, limit), cycle >= limit, quotient(over, each), quotient(each - over, each)
    cycle = passed(step, starts[1:])
    since = step - jnp.asarray(starts, jnp.int32)[cycle]
    begun, top, rest, part = jnp.moveaxis(real(spans)[cycle], -1, 0)
    above = since // _TOP * _TOP
    high, low = two_sum(top - real(above), rest - real(since - above))
    gone, left = difference(since, -begun), ordered_sum(high, low + part)
    total = difference(ordered_sum(top, rest + part), -begun)
    return cycle, cycle >= len(starts) - 1, _share(gone, total), _share(left, total)


def _share(part: Twofold, whole: Twofold) -> Twofold:
    """A fraction clipped to [0, 1], since timm's rounding may put a step just outside its cycle."""
    high, low = quotient(part, whole)
    return Twofold(jnp.clip(high, 0.0, 1.0), jnp.where((high > 0) & (high < 1), low, 0.0))


def _cycles(a: Arguments, run: float) -> Iterable[Mark]:
    cycle, starts = a.number("steps"), a.numbers("starts")
    last = len(starts) - 1 if starts else int(a.number("cycles"))
    for k in range(1, min(MOST_MARKED, last) + 1):
        end = starts[k] if starts else k * cycle
        yield Mark(end, "end", "last cycle ends") if k == last else Mark(end, "restart")
        if end >= run:
            return


@schedule(moments=_cycles)
def cosine_cycles(
    step: jax.Array,
    peak: Peak,
    steps: WholeLength,
    floor: Floor = 0.0,
    decay: Rate = 1.0,
    cycles: Count = 1,
    starts: Milestones = (),
    spans: Spans | None = None,
    k_decay: Exponent = 1.0,
) -> jax.Array:
    """Half a cosine in each cycle; ``floor`` after the last."""
    cycle, over, gone, left = _position(step, steps, starts, spans, cycles)
    rising, falling = power_and_rest(gone, left, k_decay)
    top = LogRate.of(decay).power(cycle, peak)
    return jnp.where(over, floor, top * sin_squared(falling) + floor * sin_squared(rising))


@schedule(moments=_cycles)
def tanh_cycles(
    step: jax.Array,
    peak: Peak,
    steps: WholeLength,
    lb: PreciseNumber,
    ub: PreciseNumber,
    floor: Floor = 0.0,
    decay: Rate = 1.0,
    cycles: Count = 1,
    starts: Milestones = (),
    spans: Spans | None = None,
) -> jax.Array:
    """A hyperbolic tangent from ``lb`` to ``ub`` in each cycle; ``floor`` after the last."""
    cycle, over, gone, left = _position(step, steps, starts, spans, cycles)
    top = LogRate.of(decay).power(cycle, peak)
    falling, rising = tanh_and_rest(gone, left, lb, ub)
    return jnp.where(over, floor, top * falling + floor * rising)


@schedule(moments=_cycles)
def poly_cycles(
    step: jax.Array,
    peak: Peak,
    steps: WholeLength,
    power: Exponent,
    floor: Floor = 0.0,
    decay: Rate = 1.0,
    cycles: Count = 1,
    starts: Milestones = (),
    spans: Spans | None = None,
    k_decay: Exponent = 1.0,
) -> jax.Array:
    """A power of what is left in each cycle; ``floor`` after the last."""
    cycle, over, gone, left = _position(step, steps, starts, spans, cycles)
    gone, left = (Twofold(part, real(0.0)) for part in power_and_rest(gone, left, k_decay))
    falling, rising = power_and_rest(left, gone, power)
    top = LogRate.of(decay).power(cycle, peak)
    return jnp.where(over, floor, top * falling + floor * rising)
