"""From one value to another: constant, linear, polynomial, exponential, inverse time, and in stairs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.schedules._checks import Milestones, Number, Positive
from jaxsched.schedules._progress import fraction, fraction_and_lost, fractions, power_and_rest, split
from jaxsched.schedules._rate import LogRate, Rate
from jaxsched.schedules._ratio import Duration, Exponent, rounded_and_lost
from jaxsched.schedules._schedule import Schedule, composition, real, schedule
from jaxsched.schedules._stairs import passed, repeats, stair
from jaxsched.schedules._twofold import exact_product, two_product, two_sum


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
def linear(step: jax.Array, start: Number, end: Number, steps: Duration) -> jax.Array:
    """A straight line from ``start`` to ``end`` over ``steps`` steps, then flat.

    ``start * (1 - t) + end * t`` with ``t = min(step / steps, 1)``: ``start`` at step 0, exactly ``end`` from step
    ``steps`` on.

    Args:
        start: Value at step 0.
        end: Value from ``steps`` on.
        steps: Duration in steps, > 0.

    Raises:
        ValueError: If ``steps`` is not positive.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.linear(1.0, 0.0, steps=4)(jnp.arange(6))
        Array([1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ], dtype=float32)
    """
    # start and end each with its own weight: nothing cancels, and both ends are exact.
    gone, left = fractions(step, steps)
    return start * left + end * gone


@schedule
def polynomial(
    step: jax.Array,
    start: Number,
    end: Number,
    steps: Duration,
    power: Exponent = 1.0,
    k: Exponent | None = None,
) -> jax.Array:
    """From ``start`` to ``end`` as a power of what is left, then flat.

    ``end + (start - end) * (1 - t**k) ** power`` with ``t = min(step / steps, 1)``: ``start`` at step 0, exactly
    ``end`` from step ``steps`` on.

    Args:
        start: Value at step 0.
        end: Value from ``steps`` on.
        steps: Duration in steps, > 0.
        power: 1 is a line, 2 falls fast first, 0.5 falls fast at the end; > 0.
        k: k-decay (Zhang and Li 2020, arXiv:2004.05909): above 1 it stays high for longer and falls faster; > 0.

    Raises:
        ValueError: If ``steps``, ``power`` or ``k`` is not positive.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.polynomial(1.0, 0.0, steps=4, power=2)(jnp.arange(6))
        Array([1.    , 0.5625, 0.25  , 0.0625, 0.    , 0.    ], dtype=float32)
    """
    gone, left, whole = split(step, steps)
    if k is None:
        falling, rising = power_and_rest(left, gone, whole, power)
    else:
        climb, fall = power_and_rest(gone, left, whole, k)
        falling, rising = power_and_rest(fall, climb, 1.0, power)
    return start * falling + end * rising


@schedule
def exponential(step: jax.Array, start: Number, rate: Rate, every: Duration = 1, staircase: bool = False) -> jax.Array:
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
    if staircase:
        return start * LogRate.of(rate).power(stair(step, every))
    times, over, whole = repeats(step, every)
    return start * LogRate.of(rate).power(times, *fraction_and_lost(over, whole))


@schedule
def inverse_power(
    step: jax.Array, start: Number, rate: Positive, power: Exponent, every: Duration = 1, staircase: bool = False
) -> jax.Array:
    """``start / (1 + rate * step / every) ** power``, without end.

    Args:
        start: Value at step 0.
        rate: How fast it falls; > 0.
        power: 1 is `inverse_time`, 0.5 is like `inverse_sqrt`; > 0.
        every: Unit of the step, in steps, > 0.
        staircase: Take ``floor(step / every)``.

    Raises:
        ValueError: If ``rate``, ``power`` or ``every`` is not positive.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.inverse_power(1.0, rate=1.0, power=2)(jnp.arange(4))
        Array([1.        , 0.25      , 0.11111111, 0.0625    ], dtype=float32)
    """
    times, over, whole = repeats(step, every)
    if staircase:
        times, over = stair(step, every), jnp.zeros_like(over)
    (rate, rate_lost), (power, power_lost) = rounded_and_lost(rate), rounded_and_lost(power)
    grown, error = exact_product(times, rate, rate_lost)
    part, part_error = two_product(fraction(over, whole), rate)
    grown, rounding = two_sum(grown, part)
    under, last_rounding = two_sum(real(1.0), grown)
    lost = error + part_error + rounding + last_rounding
    return start * jnp.power(under, -power) * (1.0 - power * lost / under - power_lost * jnp.log(under))


@composition
def inverse_time(start: Number, rate: Positive, every: Duration = 1, staircase: bool = False) -> Schedule:
    """``start / (1 + rate * step / every)``, without end: `inverse_power` with ``power=1``.

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
    return inverse_power(start, rate, power=1, every=every, staircase=staircase)


@composition
def inverse_sqrt(start: Number, steps: Duration) -> Schedule:
    """``start / sqrt(1 + step / steps)``, without end: `inverse_power` with ``power=0.5``.

    The transformer's decay after a warm-up of ``steps``: ``start * sqrt(steps / (step + steps))``.

    Args:
        start: Value at step 0.
        steps: Time constant in steps, > 0; after ``3 * steps`` it is halved.

    Raises:
        ValueError: If ``steps`` is not positive.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.inverse_sqrt(1.0, steps=4)(jnp.asarray([0, 12, 60]))
        Array([1.  , 0.5 , 0.25], dtype=float32)
    """
    return inverse_power(start, rate=1.0, power=0.5, every=steps)


@schedule
def step_decay(step: jax.Array, start: Number, every: Duration, factor: Rate = 0.1) -> jax.Array:
    """``start * factor ** floor(step / every)``: one stair every ``every`` steps, without end.

    Args:
        start: Value at step 0.
        every: Duration of a stair in steps, > 0.
        factor: What each stair multiplies by, >= 0.

    Raises:
        ValueError: If ``every`` is not positive or ``factor`` negative.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.step_decay(1.0, every=2, factor=0.5)(jnp.arange(5))
        Array([1.  , 1.  , 0.5 , 0.5 , 0.25], dtype=float32)
    """
    return start * LogRate.of(factor).power(stair(step, every))


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


@schedule
def exponential_ramp(step: jax.Array, end: Number, steps: Duration) -> jax.Array:
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
    return -end * jnp.expm1(-(real(step) + 1.0) / rounded_and_lost(steps)[0])
