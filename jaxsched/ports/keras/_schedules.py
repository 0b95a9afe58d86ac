"""Keras' learning-rate schedules, and three functions of TensorFlow 1."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched.checks import Exponent, Number, Rate, WholeLength, number, short
from jaxsched.numerics import MAX_STEP, LogRate, Mixed, difference, power_and_rest, quotient, real, sin_squared
from jaxsched.ports.shared import MOST_CYCLES, held
from jaxsched.schedules import (
    Arguments,
    Mark,
    Schedule,
    cosine,
    cosine_restarts,
    exponential,
    inverse_time,
    linear,
    periodic_cosine,
    piecewise,
    polynomial,
    restarts,
    schedule,
    sequential,
)
from jaxsched.schedules.internal import MOST


def ExponentialDecay(
    initial_learning_rate: float,
    decay_steps: float,
    decay_rate: float,
    staircase: bool = False,
    name: str = "ExponentialDecay",
) -> Schedule:
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``, in stairs with ``staircase``; without end.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.keras.ExponentialDecay(1.0, decay_steps=2, decay_rate=0.25)(jnp.arange(4))
        Array([1.   , 0.5  , 0.25 , 0.125], dtype=float32)
    """
    del name
    return exponential(initial_learning_rate, decay_rate, decay_steps, staircase)


def InverseTimeDecay(
    initial_learning_rate: float,
    decay_steps: float,
    decay_rate: float,
    staircase: bool = False,
    name: str = "InverseTimeDecay",
) -> Schedule:
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``, in stairs with ``staircase``; without end.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.keras.InverseTimeDecay(1.0, decay_steps=1, decay_rate=1.0)(jnp.arange(3))
        Array([1.        , 0.5       , 0.33333334], dtype=float32)
    """
    del name
    return inverse_time(initial_learning_rate, decay_rate, decay_steps, staircase)


def PiecewiseConstantDecay(
    boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"
) -> Schedule:
    """``values[k]`` after ``k`` boundaries. A boundary itself still has the value before it (optax: the one after).

    Raises:
        ValueError: If there is not one value more than boundaries, or they do not ascend.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.keras.PiecewiseConstantDecay(boundaries=[2], values=[1.0, 0.5])(jnp.arange(4))
        Array([1. , 1. , 1. , 0.5], dtype=float32)
    """
    del name
    steps = [number(f"PiecewiseConstantDecay: boundaries[{i}]", boundary) for i, boundary in enumerate(boundaries)]
    if len(values) != len(steps) + 1 or steps != sorted(steps):
        raise ValueError(
            "PiecewiseConstantDecay: boundaries must ascend, and values have one entry more; got "
            f"boundaries={boundaries!r}, values={values!r}"
        )
    return piecewise(values, at=[max(math.floor(boundary) + 1, 0) for boundary in steps])


def PolynomialDecay(
    initial_learning_rate: float,
    decay_steps: int,
    end_learning_rate: float = 0.0001,
    power: float = 1.0,
    cycle: bool = False,
    name: str = "PolynomialDecay",
) -> Schedule:
    """``(initial - end) * (1 - step / decay_steps) ** power + end``, then ``end``.

    ``initial`` is ``initial_learning_rate``, ``end`` is ``end_learning_rate``.

    With ``cycle``, ``decay_steps`` is doubled, tripled, ... each time it is over: ``end`` is met at each multiple of
    it, and a step later the value is up again, though less each time.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.keras.PolynomialDecay(1.0, decay_steps=2, end_learning_rate=0.0, cycle=True)(jnp.arange(5))
        Array([1.  , 0.5 , 0.  , 0.25, 0.  ], dtype=float32)
    """
    del name
    if not cycle:
        return polynomial(initial_learning_rate, end_learning_rate, decay_steps, power)
    return growing_polynomial(initial_learning_rate, end_learning_rate, decay_steps, power)


@schedule(moments=restarts("steps"))
def growing_polynomial(
    step: jax.Array, start: Number, end: Number, steps: WholeLength, power: Exponent = 1.0
) -> jax.Array:
    """A fall from ``start`` over the smallest multiple of ``steps`` that is not yet over."""
    steps = jnp.asarray(steps, jnp.int32)
    over = step % steps
    left = jnp.where((over == 0) & (step > 0), 0, steps - over)
    # The multiple may be beyond int32.
    total = difference(step, difference(0, left))
    falling, rising = power_and_rest(quotient(left, total), quotient(step, total), power)
    return start * falling + end * rising


def CosineDecay(
    initial_learning_rate: float,
    decay_steps: float,
    alpha: float = 0.0,
    name: str = "CosineDecay",
    warmup_target: float | None = None,
    warmup_steps: int = 0,
) -> Schedule:
    """Half a cosine from ``initial_learning_rate`` to ``alpha`` times that in ``decay_steps``, then flat.

    With ``warmup_target``, first a line from ``initial_learning_rate`` to it in ``warmup_steps``, and then the cosine
    from there, in ``decay_steps`` more.

    Examples:
        >>> import jaxsched as js
        >>> lr = js.ports.keras.CosineDecay(0.0, decay_steps=10, warmup_target=1.0, warmup_steps=4)
        >>> [round(float(lr(step)), 4) for step in (0, 2, 4, 9, 14)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    del name
    alpha = number("CosineDecay: alpha", alpha)
    if warmup_target is None:
        return cosine(initial_learning_rate, decay_steps, initial_learning_rate * alpha)
    decay = cosine(warmup_target, decay_steps, warmup_target * alpha)
    if warmup_steps == 0:
        return decay
    return sequential([linear(initial_learning_rate, warmup_target, warmup_steps), decay], at=[warmup_steps])


def CosineDecayRestarts(
    initial_learning_rate: float,
    first_decay_steps: int,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
    name: str = "SGDRDecay",
) -> Schedule:
    """Half a cosine again and again, each ``t_mul`` times as long and ``m_mul`` times as high; without end.

    ``initial_learning_rate * ((1 - alpha) * m_mul**i * (1 + cos(pi * t)) / 2 + alpha)`` in cycle ``i``, whose fraction
    ``t`` is over. The first cycle has ``first_decay_steps`` steps.

    Raises:
        ValueError: If ``t_mul`` is below 1: the cycles would come to an end, after which Keras' values are NaN.

    Examples:
        >>> import jaxsched as js
        >>> lr = js.ports.keras.CosineDecayRestarts(1.0, first_decay_steps=10, m_mul=0.5)
        >>> [round(float(lr(step)), 4) for step in (0, 5, 10, 20)]
        [1.0, 0.5, 0.5, 0.25]
    """
    del name
    peak, alpha = number("CosineDecayRestarts: initial_learning_rate", initial_learning_rate), number("alpha", alpha)
    t_mul = number("CosineDecayRestarts: t_mul", t_mul)
    if t_mul < 1:
        raise ValueError(f"CosineDecayRestarts: t_mul must be >= 1, got {short(t_mul)}")
    height = peak * (1.0 - alpha)
    if t_mul == int(t_mul):
        waves = cosine_restarts(height, first_decay_steps, 0.0, int(t_mul), m_mul)
    else:
        begins = [0.0]
        while begins[-1] <= MAX_STEP:
            if len(begins) > MOST_CYCLES:
                raise ValueError(
                    f"CosineDecayRestarts: t_mul={short(t_mul)} makes more than {MOST_CYCLES} cycles of unequal "
                    f"lengths before step 2**31; they begin with first_decay_steps={short(first_decay_steps)}"
                )
            begins.append(begins[-1] + first_decay_steps * t_mul ** (len(begins) - 1))
        whole = np.floor(np.minimum(begins, MAX_STEP)).astype(np.int32)
        waves = uneven_cosines(height, whole, np.asarray(begins) - whole, m_mul)
    return waves + peak * alpha if alpha else waves


def _restarts(a: Arguments, run: float) -> Iterable[Mark]:
    begins = [whole + part for whole, part in zip(a.numbers("begins"), a.numbers("parts"), strict=True)]
    return [Mark(t, "restart") for t in begins[1:-1] if t <= run][:MOST]


@schedule(moments=_restarts)
def uneven_cosines(step: jax.Array, peak: Number, begins: Any, parts: Any, decay: Rate = 1.0) -> jax.Array:
    """Half a cosine from ``peak`` to 0 between any two of ``begins + parts``, ``decay`` times as high each time.

    ``begins`` are whole steps, ``parts`` fractions of one; the last is beyond all steps.
    """
    begins, parts = jnp.asarray(begins), real(parts)
    # A cycle that begins between two steps is first seen at the second.
    cycle = jnp.searchsorted(begins[1:-1] + (parts[1:-1] > 0), step, side="right").astype(jnp.int32)
    begin, end, part = begins[cycle], begins[cycle + 1], parts[cycle + 1]
    left = quotient(Mixed(end - step, part), Mixed(end - begin, part - parts[cycle])).high
    return LogRate.of(decay).power(cycle, peak) * sin_squared(jnp.minimum(left, 1.0))


def natural_exp_decay(
    learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False, name: str | None = None
) -> Schedule:
    """``learning_rate * exp(-decay_rate * step / decay_steps)``: TensorFlow 1's, less ``global_step``.

    With ``staircase`` the quotient is rounded down.

    Examples:
        >>> import jaxsched as js
        >>> round(float(js.ports.keras.natural_exp_decay(1.0, decay_steps=10, decay_rate=1.0)(10)), 6)
        0.367879
    """
    del name
    rate = number("natural_exp_decay: decay_rate", decay_rate)
    return exponential(learning_rate, math.exp(-rate), decay_steps, staircase)


def inverse_time_decay(
    learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False, name: str | None = None
) -> Schedule:
    """`InverseTimeDecay` as TensorFlow 1 calls it, less ``global_step``.

    ``learning_rate / (1 + decay_rate * step / decay_steps)``; with ``staircase`` the quotient is rounded down.

    Examples:
        >>> import jaxsched as js
        >>> float(js.ports.keras.inverse_time_decay(1.0, decay_steps=1, decay_rate=1.0)(1))
        0.5
    """
    del name
    return inverse_time(learning_rate, decay_rate, decay_steps, staircase)


def linear_cosine_decay(
    learning_rate: float,
    decay_steps: int,
    num_periods: float = 0.5,
    alpha: float = 0.0,
    beta: float = 0.001,
    name: str | None = None,
) -> Schedule:
    """``learning_rate * ((alpha + 1 - t) * (1 + cos(2 * pi * num_periods * t)) / 2 + beta)``: TensorFlow 1's.

    ``t = min(step / decay_steps, 1)``. Less ``global_step``.

    Raises:
        ValueError: If ``num_periods`` is not positive.

    Examples:
        >>> import jaxsched as js
        >>> lr = js.ports.keras.linear_cosine_decay(1.0, decay_steps=10)
        >>> [round(float(lr(step)), 4) for step in (0, 5, 10, 20)]
        [1.001, 0.251, 0.001, 0.001]
    """
    del name
    periods = number("linear_cosine_decay: num_periods", num_periods)
    if periods <= 0:
        raise ValueError(f"linear_cosine_decay: num_periods must be positive, got {short(num_periods)}")
    wave = held(periodic_cosine(1.0, decay_steps / (2 * periods)), decay_steps)
    return learning_rate * (linear(1.0 + alpha, alpha, decay_steps) * wave + beta)


SCHEDULES = (growing_polynomial, uneven_cosines)
"""The schedules that a saved recipe names by keys of this port."""
