"""Decay along a hyperbolic tangent."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxsched.checks import Duration, Floor, Peak, PreciseNumber, short
from jaxsched.numerics import Precise, exact_fractions, is_host_number, tanh_and_rest
from jaxsched.schedules._declarations import ends
from jaxsched.schedules._schedule import schedule


def _check(peak: Any, steps: Any, floor: Any, lower: Any, upper: Any) -> None:
    known = all(isinstance(x, Precise) or is_host_number(x) for x in (lower, upper))
    if known and float(lower) >= float(upper):
        raise ValueError(f"lower must be below upper={short(upper)}, got {short(lower)}")


@schedule(moments=ends("steps", "peak", "floor"), check=_check)
def tanh_decay(
    step: jax.Array,
    peak: Peak,
    steps: Duration,
    floor: Floor = 0.0,
    lower: PreciseNumber = -7.0,
    upper: PreciseNumber = 3.0,
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

    Examples:
        >>> import jaxsched as js
        >>> lr = js.schedules.tanh_decay(1.0, steps=10)
        >>> [round(float(lr(step)), 4) for step in (0, 6, 7, 9, 10)]
        [1.0, 0.8808, 0.5, 0.018, 0.0]
    """
    gone, left = exact_fractions(step, steps)
    falling, rising = tanh_and_rest(gone, left, lower, upper)
    return jnp.where(left.high > 0, peak * falling + floor * rising, floor)
