"""Shapes of fvcore's schedulers where a stretch does not begin at a whole iteration, each a function of the step."""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from jaxsched.checks import Duration, Exponent, Number, PreciseNumber, Rate, Step
from jaxsched.numerics import (
    LogRate,
    Mixed,
    Twofold,
    as_mixed,
    difference,
    power_and_rest,
    precise,
    quotient,
    sin_squared,
    two_sum,
)
from jaxsched.schedules import Arguments, Mark, MomentsOf, ends, schedule


def progress(step: jax.Array, begin: Step, late: PreciseNumber, length: Duration) -> tuple[Twofold, Twofold]:
    """What is left and what is gone of ``length`` steps that begin at ``begin + late``, as fractions."""
    since = jnp.maximum(step - jnp.asarray(begin, jnp.int32), -1)
    whole, part, lost = as_mixed(length)
    late, late_lost = precise(late)
    gone = difference(since, Twofold(late, late_lost))
    # Whole steps are subtracted as integers: of what is left, less than a step at the end, no digit is lost.
    over, over_lost = two_sum(part, late)
    left = difference(whole - since, Twofold(-over, -(over_lost + lost + late_lost)))
    total = Mixed(whole, part, lost)

    def share(of: Twofold, other: Twofold) -> Twofold:
        high, low = quotient(of, total)
        inside = (of.high > 0) & (other.high > 0)
        return Twofold(jnp.where(inside, high, jnp.where(of.high > 0, 1.0, 0.0)), jnp.where(inside, low, 0.0))

    return share(left, gone), share(gone, left)


def stretch_ends(start: str | None = None, end: str | None = None) -> MomentsOf:
    """The declaration of a stretch of ``length`` steps from ``begin + late`` on; see `ends`."""

    def declared(a: Arguments, run: float) -> Iterable[Mark]:
        begin = a.number("begin") + a.number("late")
        return [mark._replace(t=begin + mark.t) for mark in ends("length", start, end)(a, run)]

    return declared


@schedule(moments=stretch_ends("start", "end"))
def line(step: jax.Array, start: Number, end: Number, begin: Step, late: PreciseNumber, length: Duration) -> jax.Array:
    """From ``start`` to ``end``, over ``length`` steps from ``begin + late`` on."""
    left, gone = progress(step, begin, late, length)
    return start * left.high + end * gone.high


@schedule(moments=stretch_ends("start", "end"))
def half_wave(
    step: jax.Array, start: Number, end: Number, begin: Step, late: PreciseNumber, length: Duration
) -> jax.Array:
    """Half a cosine from ``start`` to ``end``, over ``length`` steps from ``begin + late`` on."""
    left, gone = progress(step, begin, late, length)
    return start * sin_squared(left.high) + end * sin_squared(gone.high)


@schedule(moments=stretch_ends())
def fall(step: jax.Array, start: Number, decay: Rate, begin: Step, late: PreciseNumber, length: Duration) -> jax.Array:
    """``start * decay ** gone``, over ``length`` steps from ``begin + late`` on."""
    return LogRate.of(decay).power(progress(step, begin, late, length)[1], start)


@schedule(moments=stretch_ends())
def power(
    step: jax.Array, base: Number, power: Exponent, begin: Step, late: PreciseNumber, length: Duration
) -> jax.Array:
    """``base * left ** power``, over ``length`` steps from ``begin + late`` on."""
    return base * power_and_rest(*progress(step, begin, late, length), power)[0]
