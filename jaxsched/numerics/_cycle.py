"""The stair, cycle or interval that a step is in, computed in integers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxsched.numerics._kept import Fractional
from jaxsched.numerics._real import real
from jaxsched.numerics._twofold import Mixed
from jaxsched.numerics._types import MAX_STEP, Whole, is_whole


def repeats(step: jax.Array, every: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """How often ``every`` fits into ``step``, what is over, and ``every``, both in one unit.

    At most 2**31 - 1 times: where ``every`` is below 1, the count ends before the steps do.
    """
    if is_whole(every):
        whole = jnp.asarray(every, jnp.int32)
        return step // whole, step % whole, whole
    if isinstance(every, Fractional):
        over, under = (jnp.asarray(x, jnp.int32) for x in (every.forms.over, every.forms.under))
        times = jnp.minimum(step // over, MAX_STEP // under - (over < under)) * under
        part = step % over
        # part * under // over, which may be beyond int32: a float is at most two off, and the difference of the
        # products, which is small, survives the overflow of both.
        more = (real(part) / real(over) * real(under)).astype(jnp.int32)
        rest = part * under - more * over
        return times + more + rest // over, rest % over, over
    whole = real(every)
    times = jnp.floor(real(step) / whole)
    return times.astype(jnp.int32), jnp.clip(real(step) - times * whole, 0, whole), whole


def stair(step: jax.Array, every: Any) -> jax.Array:
    """``floor(step / every)``, as exact as Python's ``step // every``."""
    times, over, _ = repeats(step, every)
    if isinstance(every, Fractional):
        # Where the ratio fits exactly, the host number that is a hair longer does not.
        return jnp.maximum(times - ((over == 0) & (every.forms.tilt > 0)), 0)
    return times


def cycle_at(step: jax.Array, steps: Whole, stretch: Whole) -> tuple[jax.Array, Mixed, Mixed, jax.Array]:
    """Which cycle ``step`` is in (from 0), and how much of it is gone, is left, and its length, in one unit.

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
    unit = jnp.where(endless, more, 1)
    length = jnp.where(endless, length, length * more)

    first = even | (firsts == 0)
    cycle = jnp.where(even, firsts, jnp.where(first, 0, log + 1))
    within = jnp.where(first, step % steps, step - steps * before)
    length = jnp.where(first, steps, length)
    gone, over = within // unit, within % unit
    begun = over > 0
    left = Mixed(length - gone - begun, jnp.where(begun, real(unit - over) / real(unit), 0.0))
    return cycle, Mixed(gone, real(over) / real(unit)), left, length


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
    """How many of the ascending steps ``at`` are at or before ``step``, as int32."""
    if isinstance(at, tuple) and len(at) <= 8:  # a search has more operations than so few comparisons
        return sum((jnp.asarray(step >= m, jnp.int32) for m in at), start=jnp.zeros_like(step))
    # Unrolled, 5,000 milestones are 13 reads and no loop.
    return jnp.searchsorted(jnp.asarray(at, jnp.int32), step, side="right", method="scan_unrolled").astype(jnp.int32)
