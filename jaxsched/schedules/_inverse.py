"""Decay with an inverse power of the step."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.checks import Duration, Exponent, Number, PrecisePositive
from jaxsched.numerics import inverse, precise, product, real, stair, two_sum
from jaxsched.schedules._declarations import stairs
from jaxsched.schedules._schedule import Schedule, composition, schedule


@schedule(moments=stairs("every", only_if="staircase"))
def inverse_power(
    step: jax.Array, start: Number, rate: PrecisePositive, power: Exponent, every: Duration = 1, staircase: bool = False
) -> jax.Array:
    """Inverse-power decay ``start / (1 + rate * step / every) ** power``, which does not end.

    Args:
        start: Value at step 0.
        rate: Rate of decay, > 0.
        power: > 0; 1 is `inverse_time`, 0.5 is `inverse_sqrt`.
        every: Unit of the step, in steps, > 0.
        staircase: Use ``floor(step / every)``.

    Raises:
        ValueError: If ``rate``, ``power`` or ``every`` is not positive.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.schedules.inverse_power(1.0, rate=1.0, power=2)(jnp.arange(4))
        Array([1.        , 0.25      , 0.11111111, 0.0625    ], dtype=float32)
    """
    per_step = precise(rate) if staircase else product(precise(rate), inverse(every))
    grown, lost = product(stair(step, every) if staircase else step, per_step)
    under, rounding = two_sum(real(1.0), grown)
    exponent, exponent_low = precise(power)
    # A rounding of the sum counts as often as the power says.
    correction = exponent * ((lost + rounding) / under) + exponent_low * jnp.log(under)
    return start * jnp.power(under, -exponent) * (1.0 - correction)


@composition
def inverse_time(start: Number, rate: PrecisePositive, every: Duration = 1, staircase: bool = False) -> Schedule:
    """Inverse-time decay ``start / (1 + rate * step / every)``: `inverse_power` with ``power=1``.

    Args:
        start: Value at step 0.
        rate: Rate of decay, > 0: the value is halved after ``every / rate`` steps.
        every: Unit of the step, in steps, > 0.
        staircase: Use ``floor(step / every)``.

    Raises:
        ValueError: If ``rate`` or ``every`` is not positive.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.inverse_time(1.0, rate=1.0)(jnp.arange(4))
        Array([1.        , 0.5       , 0.33333334, 0.25      ], dtype=float32)
    """
    return inverse_power(start, rate, power=1, every=every, staircase=staircase)


@composition
def inverse_sqrt(start: Number, steps: Duration) -> Schedule:
    """Inverse square-root decay ``start / sqrt(1 + step / steps)``: `inverse_power` with ``power=0.5``.

    The decay of the original transformer after a warm-up of ``steps``: ``start * sqrt(steps / (step + steps))``.

    Args:
        start: Value at step 0.
        steps: Time constant in steps, > 0: the value is halved after ``3 * steps``.

    Raises:
        ValueError: If ``steps`` is not positive.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.inverse_sqrt(1.0, steps=4)(jnp.asarray([0, 12, 60]))
        Array([1.  , 0.5 , 0.25], dtype=float32)
    """
    return inverse_power(start, rate=1.0, power=0.5, every=steps)
