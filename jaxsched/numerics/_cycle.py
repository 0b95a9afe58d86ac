"""Which stair, which cycle, which interval a step is in: found in integers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxsched.numerics._fraction import exact_fraction
from jaxsched.numerics._ratio import Ratio, is_whole, whole_type
from jaxsched.numerics._real import real
from jaxsched.numerics._twofold import Twofold, two_sum
from jaxsched.numerics._types import MAX_STEP, Whole


def repeats(step: jax.Array, every: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """How often ``every`` fits into ``step``, what is over, and ``every``, both in one unit."""
    if isinstance(every, Ratio):
        over, under = jnp.asarray(every.over, whole_type()), jnp.asarray(every.under, whole_type())
        times, rest = jnp.minimum(step // over, jnp.maximum(MAX_STEP // under - 1, 0)), step % over * under
        return (times * under + rest // over).astype(jnp.int32), rest % over, over
    if is_whole(every):
        whole = jnp.asarray(every, jnp.int32)
        return step // whole, step % whole, whole
    whole = real(every)
    times = jnp.floor(real(step) / whole)
    return times.astype(jnp.int32), jnp.clip(real(step) - times * whole, 0, whole), whole


def stair(step: jax.Array, every: Any) -> jax.Array:
    """``floor(step / every)``, as exact as Python's ``step // every``."""
    times, over, _ = repeats(step, every)
    if isinstance(every, Ratio):
        # Where the ratio fits exactly, the host number that is a hair longer does not.
        return jnp.maximum(times - ((over == 0) & (every.tilt > 0)), 0)
    return times


def cycle_at(step: jax.Array, steps: Whole, stretch: Whole) -> tuple[jax.Array, Twofold, Twofold]:
    """Which cycle ``step`` is in (from 0), and the fractions of it that are gone and left.

    The first cycle is ``steps`` long, each further one ``stretch`` times as long as the one before; all in integers.
    """
    steps, stretch = jnp.asarray(steps, jnp.int32), jnp.asarray(stretch, jnp.int32)
    even, more = stretch == 1, jnp.maximum(stretch, 2)
    firsts = step // steps
    # Cycle i > 0 begins after 1 + more + ... + more**(i-1) firsts, so i - 1 is this logarithm.
    log, power = floor_log(firsts - (firsts - 1) // more - ((firsts - 1) % more > 0), more)
    before = power + (power - 1) // (more - 1)
    length = steps * power
    # A cycle longer than all steps is counted in units of `stretch` steps: its length stays that of the one before.
    endless = (length > MAX_STEP // more) & (firsts > 0) & ~even
    length = jnp.where(endless, length, length * more)

    first = even | (firsts == 0)
    cycle = jnp.where(even, firsts, jnp.where(first, 0, log + 1))
    within = jnp.where(first, step % steps, step - steps * before)
    length = jnp.where(first, steps, length)
    gone, unit_part = jnp.where(endless, within // more, within), jnp.where(endless, within % more, 0)
    part = real(unit_part) / real(more) / real(length)
    up, down = exact_fraction(gone, length), exact_fraction(length - gone, length)
    return cycle, two_sum(up.high, up.low + part), two_sum(down.high, down.low - part)


def floor_log(number: jax.Array, base: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest ``n`` with ``base**n <= number``, and ``base**n``, for int32 ``number >= 1`` and ``base >= 2``."""
    powers = [base]  # base ** (1, 2, 4, 8, 16), 0 for those beyond int32
    for _ in range(4):
        powers.append(jnp.where(powers[-1] <= 46340, powers[-1] * powers[-1], 0))
    log, power, rest = jnp.zeros_like(number), jnp.ones_like(number), number
    for n, factor in reversed(list(enumerate(powers))):
        fits = (factor > 0) & (rest >= factor)
        log, power = log + (fits << n), jnp.where(fits, power * factor, power)
        rest = jnp.where(fits, rest // jnp.maximum(factor, 1), rest)
    return log, power


def passed(step: jax.Array, at: Any) -> jax.Array:
    """How many of the steps ``at`` are at or before ``step``, as int32."""
    if isinstance(at, tuple) and len(at) <= 64:
        return sum((jnp.asarray(step >= m, jnp.int32) for m in at), start=jnp.zeros_like(step))
    return jnp.searchsorted(jnp.asarray(at, jnp.int32), step, side="right").astype(jnp.int32)
