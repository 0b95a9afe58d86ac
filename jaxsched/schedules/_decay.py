"""Elementary schedules: constant, linear, polynomial, exponential, and stairs."""

from __future__ import annotations

import jax

from jaxsched.checks import Duration, Exponent, Milestones, Number, Rate
from jaxsched.numerics import (
    LogRate,
    Twofold,
    as_mixed,
    exact_fractions,
    fractions,
    inverse,
    minus_expm1,
    passed,
    power_and_rest,
    real,
    rounded,
    stair,
)
from jaxsched.schedules._declarations import Mark, ends, no_moments, stairs
from jaxsched.schedules._schedule import schedule


@schedule(moments=no_moments)
def constant(step: jax.Array, value: Number) -> jax.Array:
    """``value`` at every step.

    Examples:
        >>> import jaxsched as js
        >>> float(js.constant(0.5)(7))
        0.5
    """
    del step
    return real(value)


@schedule(moments=ends("steps", "start", "end"))
def linear(step: jax.Array, start: Number, end: Number, steps: Duration) -> jax.Array:
    """A straight line from ``start`` to ``end`` over ``steps`` steps, then flat.

    ``start * (1 - t) + end * t`` with ``t = min(step / steps, 1)``: ``start`` at step 0, exactly ``end`` from step
    ``steps`` on.

    Args:
        start: Value at step 0.
        end: Value from ``steps`` on. If its sign is not that of ``start``, values are within 8 float32 ulp of the
            larger of the two: near 0 there are no more digits.
        steps: Length in steps, > 0.

    Raises:
        ValueError: If ``steps`` is not positive.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.linear(1.0, 0.0, steps=4)(jnp.arange(6))
        Array([1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ], dtype=float32)
    """
    # start and end are weighted separately: there is no cancellation, and both ends are exact.
    gone, left = fractions(step, steps)
    return start * left + end * gone


@schedule(moments=ends("steps", "start", "end"))
def polynomial(
    step: jax.Array,
    start: Number,
    end: Number,
    steps: Duration,
    power: Exponent = 1.0,
    k: Exponent | None = None,
) -> jax.Array:
    """Polynomial decay from ``start`` to ``end``, then flat.

    ``end + (start - end) * (1 - t**k) ** power`` with ``t = min(step / steps, 1)``: ``start`` at step 0, exactly
    ``end`` from step ``steps`` on.

    Args:
        start: Value at step 0.
        end: Value from ``steps`` on.
        steps: Length in steps, > 0.
        power: > 0; 1 is linear, 2 falls faster at first, 0.5 at the end.
        k: Exponent of k-decay (Zhang and Li 2020, arXiv:2004.05909), > 0: above 1 the value stays high for longer and
            then falls faster. With it the value is within ``2 + 3 * power`` float32 ulp, not 8.

    Raises:
        ValueError: If ``steps``, ``power`` or ``k`` is not positive.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.polynomial(1.0, 0.0, steps=4, power=2)(jnp.arange(6))
        Array([1.    , 0.5625, 0.25  , 0.0625, 0.    , 0.    ], dtype=float32)
    """
    gone, left = exact_fractions(step, steps)
    if k is not None:
        gone, left = (Twofold(part, real(0.0)) for part in power_and_rest(gone, left, k))
    falling, rising = power_and_rest(left, gone, power)
    return start * falling + end * rising


@schedule(moments=stairs("every", only_if="staircase"))
def exponential(step: jax.Array, start: Number, rate: Rate, every: Duration = 1, staircase: bool = False) -> jax.Array:
    """Exponential decay ``start * rate ** (step / every)``, which does not end.

    Args:
        start: Value at step 0.
        rate: Factor per ``every`` steps, >= 0. Rates as close to 1 as 1 - 1e-12 keep their digits.
        every: Steps per factor, > 0. A fractional ``every`` that is not a ratio of integers below 2**29 and 2**22 puts
            a stair up to one step early or late.
        staircase: Use ``floor(step / every)``: the value falls in stairs.

    Raises:
        ValueError: If ``rate`` is negative or ``every`` not positive.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.exponential(1.0, rate=0.25, every=2)(jnp.arange(5))
        Array([1.    , 0.5   , 0.25  , 0.125 , 0.0625], dtype=float32)
    """
    if staircase:
        return LogRate.of(rate).power(stair(step, every), start)
    return LogRate.of(rate).power(step, start, inverse(every))


@schedule(moments=stairs("every"))
def step_decay(step: jax.Array, start: Number, every: Duration, factor: Rate = 0.1) -> jax.Array:
    """``start * factor ** floor(step / every)``: one stair every ``every`` steps, endlessly.

    Args:
        start: Value at step 0.
        every: Length of a stair in steps, > 0.
        factor: Factor of each stair, >= 0.

    Raises:
        ValueError: If ``every`` is not positive or ``factor`` negative.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.step_decay(1.0, every=2, factor=0.5)(jnp.arange(5))
        Array([1.  , 1.  , 0.5 , 0.5 , 0.25], dtype=float32)
    """
    return LogRate.of(factor).power(stair(step, every), start)


@schedule(moments=lambda a, run: [Mark(t, "milestone") for t in a.numbers("at")])
def multi_step(step: jax.Array, start: Number, at: Milestones, factor: Rate = 0.1) -> jax.Array:
    """``start * factor ** k`` with ``k`` the number of milestones at or before the step.

    Args:
        start: Value before the first milestone.
        at: Steps at which the factor applies, ascending; a step given twice applies it twice, step 0 from the start.
        factor: Factor of each milestone, >= 0.

    Raises:
        ValueError: If ``at`` does not ascend or holds a fraction or a negative step.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.multi_step(1.0, at=(2, 3), factor=0.5)(jnp.arange(5))
        Array([1.  , 1.  , 0.5 , 0.25, 0.25], dtype=float32)
    """
    return LogRate.of(factor).power(passed(step, at), start)


@schedule(moments=no_moments)
def exponential_ramp(step: jax.Array, end: Number, steps: Duration) -> jax.Array:
    """``end * (1 - exp(-(step + 1) / steps))``: a rise from near 0 towards ``end``, fast at first.

    At step 0 it is about ``end / steps``; it is within 1 % of ``end`` after ``4.6 * steps``. The EMA
    decay of YOLOv5 and Ultralytics is ``exponential_ramp(0.9999, 2000)``.

    Args:
        end: The limit.
        steps: Time constant in steps, > 0.

    Raises:
        ValueError: If ``steps`` is not positive.

    Examples:
        >>> import jaxsched as js
        >>> round(float(js.schedules.exponential_ramp(0.9999, 2000)(1999)), 4)
        0.6321
    """
    # 1 - exp(-x), computed directly, has lost half its digits at the start.
    return end * minus_expm1((real(step) + 1.0) / rounded(as_mixed(steps)))
