"""Shapes of fvcore's schedulers where a stretch does not begin at a whole iteration, each a function of the step."""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from jaxsched.checks import Length, Number, Positive, Rate, Step
from jaxsched.numerics import LogRate, fraction, real, sin_squared
from jaxsched.schedules import Arguments, Mark, MomentsOf, ends, schedule


def progress(step: jax.Array, begin: Step, late: Number, length: Length) -> tuple[jax.Array, jax.Array]:
    """What is left and what is gone of ``length`` steps that begin at ``begin + late``, as fractions."""
    gone = step - jnp.asarray(begin, jnp.int32)
    return fraction(jnp.maximum(length - gone + late, 0.0), length), fraction(real(gone) - late, length)


def stretch_ends(start: str | None = None, end: str | None = None) -> MomentsOf:
    """The declaration of a stretch of ``length`` steps from ``begin + late`` on; see `ends`."""

    def declared(a: Arguments, run: float) -> Iterable[Mark]:
        begin = a.number("begin") + a.number("late")
        return [mark._replace(t=begin + mark.t) for mark in ends("length", start, end)(a, run)]

    return declared


@schedule(moments=stretch_ends("start", "end"))
def line(step: jax.Array, start: Number, end: Number, begin: Step, late: Number, length: Length) -> jax.Array:
    """From ``start`` to ``end``, over ``length`` steps from ``begin + late`` on."""
    left, gone = progress(step, begin, late, length)
    return start * left + end * gone


@schedule(moments=stretch_ends("start", "end"))
def half_wave(step: jax.Array, start: Number, end: Number, begin: Step, late: Number, length: Length) -> jax.Array:
    """Half a cosine from ``start`` to ``end``, over ``length`` steps from ``begin + late`` on."""
    left, gone = progress(step, begin, late, length)
    return start * sin_squared(left) + end * sin_squared(gone)


@schedule(moments=stretch_ends())
def fall(step: jax.Array, start: Number, decay: Rate, begin: Step, late: Number, length: Length) -> jax.Array:
    """``start * decay ** gone``, over ``length`` steps from ``begin + late`` on."""
    return start * jnp.exp(LogRate.of(decay) * progress(step, begin, late, length)[1])


@schedule(moments=stretch_ends())
def power(step: jax.Array, base: Number, power: Positive, begin: Step, late: Number, length: Length) -> jax.Array:
    """``base * left ** power``, over ``length`` steps from ``begin + late`` on."""
    left = progress(step, begin, late, length)[0]
    return base * jnp.where(left > 0, jnp.power(jnp.where(left > 0, left, 1.0), power), 0.0)
