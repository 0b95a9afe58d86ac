"""Schedules that several ports need and the core does not have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from jaxsched.checks import Exponent, Floor, Length, Number, Peak, Rate, Role, Step, WholeLength, choice, number
from jaxsched.numerics import (
    Fractional,
    LogRate,
    Mixed,
    Twofold,
    as_mixed,
    difference,
    exact_fractions,
    fraction,
    minus_expm1,
    power_and_rest,
    quotient,
    real,
    sin_squared,
)
from jaxsched.schedules import Arguments, Mark, Value, half_waves, no_moments, schedule, times, value_at, warms_up

Anneal = Annotated[str, choice("cos", "linear")]


def annealed(gone: jax.Array, left: jax.Array, start: Any, end: Any, shape: str) -> jax.Array:
    """From ``start`` to ``end`` along half a cosine or a line; ``gone + left == 1``, each without cancellation."""
    if shape == "cos":
        gone, left = sin_squared(gone), sin_squared(left)
    return start * left + end * gone


@schedule(moments=no_moments, clock=lambda a, clock: {"schedule": clock.moved(-a.number("by"))})
def shifted(step: jax.Array, schedule: Value, by: Number) -> jax.Array:
    """``schedule(max(step + by, 0))``: ahead in time, or behind for ``by < 0``."""
    return value_at(schedule, jnp.maximum(step + jnp.asarray(by, jnp.int32), 0))


@schedule(
    moments=lambda a, run: [Mark(a.number("after"), "end", "hold begins")],
    clock=lambda a, clock: {"schedule": clock.within(0.0, a.number("after") + 1)},
)
def held(step: jax.Array, schedule: Value, after: Step) -> jax.Array:
    """``schedule(min(step, after))``: its value at ``after`` is held."""
    return value_at(schedule, jnp.minimum(step, jnp.asarray(after, jnp.int32)))


@schedule(moments=warms_up("steps"))
def power_rise(step: jax.Array, peak: Number, steps: WholeLength, power: Exponent) -> jax.Array:
    """``peak * (step / steps) ** power``, then ``peak``."""
    gone, left = exact_fractions(step, steps)
    return peak * power_and_rest(gone, left, power)[0]


@schedule(moments=warms_up("steps"))
def quadratic_rise(step: jax.Array, peak: Number, steps: Length) -> jax.Array:
    """``peak * ((step + 1) / steps) ** 2``, then ``peak``: above 0 at step 0, and ``peak`` from ``steps - 1`` on."""
    return peak * jnp.square(fraction(jnp.minimum(step, jnp.asarray(steps, jnp.int32)) + 1, steps))


def _numbers(name: str, value: Any) -> tuple[Any, ...]:
    return tuple(number(f"{name}[{i}]", item) for i, item in enumerate(value))


def _ends(name: str, value: Any) -> tuple[Any, ...]:
    """Fractional ends as whole steps and a rest: float32 would lose digits that matter at the steps next to them."""
    found = (item if isinstance(item, Fractional) else number(f"{name}[{i}]", item) for i, item in enumerate(value))
    return tuple(Fractional(item) if isinstance(item, float) else item for item in found)


def _apart(end: Any, begin: Any) -> Twofold:
    """``end - begin`` of steps that need not be whole: whole steps are subtracted as integers."""
    end, begin = as_mixed(end), as_mixed(begin)
    return difference(Mixed(end.whole - begin.whole, end.part, end.lost), Twofold(begin.part, real(begin.lost)))


def _phases(a: Arguments, run: float) -> Iterable[Mark]:
    """A step at the end of a phase belongs to that phase, so that the end of the last one is reached."""
    del run
    values, ends = a.numbers("values"), a.numbers("ends")
    for k, t in enumerate(ends):
        if t < 0 or (k and t <= ends[k - 1]):
            continue  # a phase that is never entered
        if k == len(ends) - 1:
            yield Mark(t, "end", "last phase ends")
        else:
            rises = k == 0 and values[0] < values[1]
            yield Mark(t, "rise") if rises else Mark(t, "other", "phase ends")


@schedule(moments=_phases)
def phases(
    step: jax.Array,
    values: Annotated[Sequence[float], _numbers],
    ends: Annotated[Sequence[float], _ends, Role.STEPS],
    shape: Anneal = "cos",
) -> jax.Array:
    """From ``values[0]`` at step 0 to ``values[1]`` at ``ends[0]``, on to ``values[2]`` at ``ends[1]``, and so on.

    The ends need not be whole. A step at the end of a phase belongs to that phase. The last value is held.
    """
    result = real(values[0])
    at = (0, *ends)
    for k in reversed(range(len(ends))):
        length, left = _apart(at[k + 1], at[k]), _apart(at[k + 1], step)
        # A phase that ends before step 0 is never entered, and may have a length below 0.
        gone_part = jnp.minimum(quotient(_apart(step, at[k]), length).high, 1.0)
        left_part = jnp.maximum(quotient(left, length).high, 0.0)
        value = annealed(gone_part, left_part, values[k], values[k + 1], shape)
        result = value if k == len(ends) - 1 else jnp.where(left.high >= 0, value, result)
    return result


def phases_at(step: int, values: Sequence[float], ends: Sequence[float], shape: str) -> float:
    """`phases` at one step, in float64 on the host."""
    values, ends = [float(value) for value in values], [float(end) for end in ends]  # an end may be `Fractional`
    k = next((k for k, end in enumerate(ends) if step <= end), len(ends) - 1)
    begin, end = (ends[k - 1] if k else 0.0), ends[k]
    gone = min((step - begin) / (end - begin), 1.0)
    if shape == "cos":
        gone = (1 - math.cos(math.pi * gone)) / 2
    return values[k] + (values[k + 1] - values[k]) * gone


def _rounds(a: Arguments, run: float) -> Iterable[Mark]:
    steps, up = a.number("steps"), a.number("up")
    for k in range(times(run, steps) + 1):
        if up:
            yield Mark(k * steps + up, "other", "top of a cycle")
        yield Mark((k + 1) * steps, "restart")


@schedule(moments=_rounds)
def cyclic_ratio(
    step: jax.Array,
    steps: WholeLength,
    up: Step,
    top: Number,
    bottom: Number,
    rate: Rate = 1.0,
    shape: Anneal = "cos",
) -> jax.Array:
    """mmcv's cyclic policy: in each ``steps``, from 1 to ``top`` over ``up`` steps, then down to ``bottom``.

    In cycle ``k`` the top moves towards 1: ``1 + (top - 1) * rate ** k``. Without a rise (``up=0``) the bottom moves
    instead, as in the original.
    """
    steps, up = jnp.asarray(steps, jnp.int32), jnp.asarray(up, jnp.int32)
    cycle, within = step // steps, step % steps
    scale = LogRate.of(rate).power(cycle)
    peak = jnp.where(up > 0, 1.0 - scale + top * scale, top)
    end = jnp.where(up > 0, bottom, 1.0 - scale + bottom * scale)
    rising, falling = jnp.minimum(within, up), jnp.maximum(within - up, 0)
    rise, fall = jnp.maximum(up, 1), steps - up
    climb = annealed(quotient(rising, rise).high, quotient(rise - rising, rise).high, 1.0, peak, shape)
    descent = annealed(quotient(falling, fall).high, quotient(fall - falling, fall).high, peak, end, shape)
    return jnp.where(within < up, climb, descent)


@schedule(moments=half_waves("steps"))
def cosine_and_back(step: jax.Array, entry: Peak, base: Number, steps: WholeLength, floor: Floor = 0.0) -> jax.Array:
    """mmengine's CosineAnnealing beyond ``T_max``: down from ``entry``, then up to ``base``, down again, and so on."""
    steps = jnp.asarray(steps, jnp.int32)
    halves, over = step // steps, step % steps
    falls = halves % 2 == 0
    gone, left = jnp.where(falls, over, steps - over), jnp.where(falls, steps - over, over)
    start = jnp.where(step <= steps, entry, base)
    return annealed(quotient(gone, steps).high, quotient(left, steps).high, start, floor, "cos")


@schedule(moments=no_moments)
def before_correction(step: jax.Array, eps: Number, beta: Rate) -> jax.Array:
    """The eps of torch's Adam that equals an ``eps`` added before the bias correction, as TensorFlow's Adam adds it.

    ``eps / sqrt(1 - beta ** (step + 1))``: it falls towards ``eps``.
    """
    return eps / jnp.sqrt(minus_expm1(-(LogRate.of(beta) * (step + 1))))
