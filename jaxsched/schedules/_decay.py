"""From one value to another: constant, linear, polynomial, exponential, inverse time, and in stairs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.schedules._checks import Length, Milestones, Number, Positive, Real
from jaxsched.schedules._progress import fraction, gone_fraction, left_fraction
from jaxsched.schedules._rate import LogRate, Rate
from jaxsched.schedules._schedule import real, schedule


@schedule
def constant(step: jax.Array, value: Number) -> jax.Array:
    """``value`` at every step.

    Example:
        >>> import jaxsched as js
        >>> float(js.constant(0.5)(7))
        0.5
    """
    del step
    return real(value)


@schedule
def linear(step: jax.Array, start: Number, end: Number, steps: Length) -> jax.Array:
    """A straight line from ``start`` to ``end`` over ``steps`` steps, then flat.

    ``start * (1 - t) + end * t`` with ``t = min(step / steps, 1)``: ``start`` at step 0, exactly ``end`` from step
    ``steps`` on.

    Args:
        start: Value at step 0.
        end: Value from ``steps`` on.
        steps: Length in steps, > 0.

    Raises:
        ValueError: If ``steps`` is not positive.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.linear(1.0, 0.0, steps=4)(jnp.arange(6))
        Array([1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ], dtype=float32)
    """
    return blend(step, steps, start, end)


def blend(step: jax.Array, steps: Real, start: Real, end: Real) -> jax.Array:
    """From ``start`` to ``end``, each with its own weight: nothing cancels, and both ends are exact."""
    return start * left_fraction(step, steps) + end * gone_fraction(step, steps)


@schedule
def polynomial(step: jax.Array, start: Number, end: Number, steps: Length, power: Positive = 1.0) -> jax.Array:
    """From ``start`` to ``end`` as a power of what is left, then flat.

    ``end + (start - end) * (1 - step / steps) ** power``: ``start`` at step 0, exactly ``end`` from step ``steps`` on.

    Args:
        start: Value at step 0.
        end: Value from ``steps`` on.
        steps: Length in steps, > 0.
        power: 1 is a line, 2 falls fast first, 0.5 falls fast at the end; > 0.

    Raises:
        ValueError: If ``steps`` or ``power`` is not positive.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.polynomial(1.0, 0.0, steps=4, power=2)(jnp.arange(6))
        Array([1.    , 0.5625, 0.25  , 0.0625, 0.    , 0.    ], dtype=float32)
    """
    left, gone = left_fraction(step, steps), gone_fraction(step, steps)
    # 1 - left**power in a form that is accurate where it is small; over, where power rules of gradients meet log(0).
    over = left <= 0
    left, gone = jnp.where(over, 0.5, left), jnp.where(over, 0.5, gone)
    value = start * jnp.power(left, power) - end * jnp.expm1(power * jnp.log1p(-gone))
    return jnp.where(over, end, value)


@schedule
def exponential(step: jax.Array, start: Number, rate: Rate, every: Length = 1, staircase: bool = False) -> jax.Array:
    """``start * rate ** (step / every)``, without end.

    Args:
        start: Value at step 0.
        rate: Factor per ``every`` steps, >= 0. Rates as near to 1 as 1 - 1e-12 are honoured.
        every: Steps per factor, > 0.
        staircase: Take ``floor(step / every)``, so that the value falls in stairs.

    Raises:
        ValueError: If ``rate`` is negative or ``every`` not positive.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.exponential(1.0, rate=0.25, every=2)(jnp.arange(5))
        Array([1.    , 0.5   , 0.25  , 0.125 , 0.0625], dtype=float32)
    """
    stairs, within = stairs_at(step, every)
    return start * LogRate.of(rate).power(stairs, 0.0 if staircase else within)


def stairs_at(step: jax.Array, every: Real) -> tuple[jax.Array, jax.Array]:
    """How often ``every`` fits into ``step``, and the fraction of it that is over."""
    if jnp.issubdtype(jnp.result_type(every), jnp.integer):
        every = jnp.asarray(every, jnp.int32)
        return step // every, real(step % every) / real(every)
    stairs = jnp.floor(real(step) / real(every))
    return stairs.astype(jnp.int32), fraction(real(step) - stairs * every, every)


@schedule
def inverse_time(
    step: jax.Array, start: Number, rate: Positive, every: Length = 1, staircase: bool = False
) -> jax.Array:
    """``start / (1 + rate * step / every)``, without end.

    Args:
        start: Value at step 0.
        rate: How fast it falls; it is halved after ``every / rate`` steps; > 0.
        every: Unit of the step, in steps, > 0.
        staircase: Take ``floor(step / every)``.

    Raises:
        ValueError: If ``rate`` or ``every`` is not positive.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.inverse_time(1.0, rate=1.0)(jnp.arange(4))
        Array([1.        , 0.5       , 0.33333334, 0.25      ], dtype=float32)
    """
    stairs, within = stairs_at(step, every)
    return start / (1.0 + rate * (real(stairs) if staircase else real(stairs) + within))


@schedule
def step_decay(step: jax.Array, start: Number, every: Length, factor: Rate = 0.1) -> jax.Array:
    """``start * factor ** floor(step / every)``: one stair every ``every`` steps, without end.

    Args:
        start: Value at step 0.
        every: Length of a stair in steps, > 0.
        factor: What each stair multiplies by, >= 0.

    Raises:
        ValueError: If ``every`` is not positive or ``factor`` negative.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.step_decay(1.0, every=2, factor=0.5)(jnp.arange(5))
        Array([1.  , 1.  , 0.5 , 0.5 , 0.25], dtype=float32)
    """
    return start * LogRate.of(factor).power(stairs_at(step, every)[0])


@schedule
def multi_step(step: jax.Array, start: Number, at: Milestones, factor: Rate = 0.1) -> jax.Array:
    """``start * factor ** k`` with ``k`` the number of milestones at or before the step.

    Args:
        start: Value before the first milestone.
        at: Steps at which the factor acts, ascending; a step given twice acts twice; one at 0 acts from the start.
        factor: What each milestone multiplies by, >= 0.

    Raises:
        ValueError: If ``at`` does not ascend or holds a fraction or a negative step.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.multi_step(1.0, at=(2, 3), factor=0.5)(jnp.arange(5))
        Array([1.  , 1.  , 0.5 , 0.25, 0.25], dtype=float32)
    """
    return start * LogRate.of(factor).power(passed(step, at))


def passed(step: jax.Array, at: Milestones) -> jax.Array:
    """How many of the steps ``at`` are at or before ``step``, as int32."""
    if isinstance(at, tuple) and len(at) <= 64:
        return sum((jnp.asarray(step >= m, jnp.int32) for m in at), start=jnp.zeros_like(step))
    return jnp.searchsorted(jnp.asarray(at, jnp.int32), step, side="right").astype(jnp.int32)


@schedule
def exponential_ramp(step: jax.Array, end: Number, steps: Length) -> jax.Array:
    """``end * (1 - exp(-(step + 1) / steps))``: from near 0 up to ``end``, fast first.

    At step 0 about ``end / steps``; it comes within 1 % of ``end`` after ``4.6 * steps``. YOLOv5's and Ultralytics' EMA
    decay is ``exponential_ramp(0.9999, 2000)``.

    Args:
        end: What it tends to.
        steps: Time constant in steps, > 0.

    Raises:
        ValueError: If ``steps`` is not positive.

    Example:
        >>> import jaxsched as js
        >>> round(float(js.exponential_ramp(0.9999, 2000)(1999)), 4)
        0.6321
    """
    # expm1: 1 - exp(-x) has lost half its digits at the start.
    return -end * jnp.expm1(-(real(step) + 1.0) / real(steps))
