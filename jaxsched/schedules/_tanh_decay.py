"""Decay along a hyperbolic tangent."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxsched.checks import Duration, Floor, Number, Peak, short
from jaxsched.numerics import Real, Twofold, fractions, is_host_number, real, two_product, two_sum
from jaxsched.schedules._declarations import ends
from jaxsched.schedules._schedule import schedule


def _check(peak: Any, steps: Any, floor: Any, lower: Any, upper: Any) -> None:
    if is_host_number(lower) and is_host_number(upper) and lower >= upper:
        raise ValueError(f"lower must be below upper={short(upper)}, got {short(lower)}")


@schedule(moments=ends("steps", "peak", "floor"), check=_check)
def tanh_decay(
    step: jax.Array,
    peak: Peak,
    steps: Duration,
    floor: Floor = 0.0,
    lower: Number = -7.0,
    upper: Number = 3.0,
) -> jax.Array:
    """Hyperbolic tangent decay from ``peak`` to ``floor`` (arXiv:1806.01593), then flat.

    ``floor + (peak - floor) * (1 - tanh(x)) / 2`` where ``x`` goes from ``lower`` at step 0 to ``upper`` at ``steps``.
    With the default bounds it is ``peak`` to one part in a million at step 0, and still 0.25 % of ``peak`` above
    ``floor`` just before ``steps``; from ``steps`` on it is exactly ``floor``. Equal to timm 1.0's TanhLRScheduler.

    Args:
        peak: Value at step 0, approximately.
        steps: Length of the decay in steps, > 0.
        floor: Value from ``steps`` on.
        lower: Argument of tanh at step 0.
        upper: Argument of tanh at ``steps``; above ``lower``.

    Raises:
        ValueError: If ``steps`` is not positive or ``lower`` not below ``upper``.

    Example:
        >>> import jaxsched as js
        >>> lr = js.schedules.tanh_decay(1.0, steps=10)
        >>> [round(float(lr(step)), 4) for step in (0, 6, 7, 9, 10)]
        [1.0, 0.8808, 0.5, 0.018, 0.0]
    """
    gone, left = fractions(step, steps)
    # (1 - tanh(x)) / 2 is 1 / (1 + exp(2 x)), which has no cancellation.
    value = peak / (1.0 + _exp_of_twice(lower, left, upper, gone))
    value += floor / (1.0 + _exp_of_twice(-jnp.asarray(lower), left, -jnp.asarray(upper), gone))
    return jnp.where(left.high > 0, value, floor)


def _exp_of_twice(a: Real, left: Twofold, b: Real, gone: Twofold) -> jax.Array:
    """``exp(2 * (a * left + b * gone))``"""
    a, b = 2.0 * real(a), 2.0 * real(b)
    first, first_lost = two_product(a, left.high)
    second, second_lost = two_product(b, gone.high)
    total, lost = two_sum(first, second)
    return jnp.exp(total) * (1.0 + (first_lost + second_lost + lost + a * left.low + b * gone.low))
