"""Decays of averages that begin as copies and grow slow, as schedules of the update's index."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.checks import Count, Number, Positive
from jaxsched.numerics import real
from jaxsched.schedules import no_moments, schedule


@schedule(moments=no_moments)
def power_ramp(
    step: jax.Array,
    end: Number = 0.9999,
    power: Positive = 2 / 3,
    steps: Positive = 1.0,
    *,
    start: Number = 0.0,
    after: Count = 0,
) -> jax.Array:
    """``1 - (1 + n / steps) ** -power`` within [start, end], at the n-th update after ``after``; 0, a copy, till then.

    Args:
        end: Its largest value.
        power: How fast it grows: 2/3 for a million updates, 3/4 for a hundred thousand.
        steps: In units of how many updates, > 0.
        start: Its least value, once it has begun.
        after: Updates that copy, beside the very first.

    Source: ``timm/utils/model_ema.py``, ModelEmaV3 with warm-up, timm 1.0.31 (there called once more than updates are
    made where the model is copied at first: its step 0 is this one's).

    Examples:
        >>> import jaxsched as js
        >>> decay = js.transforms.power_ramp(0.9998)
        >>> [round(float(decay(i)), 3) for i in (0, 1, 2, 10, 10**6)]
        [0.0, 0.0, 0.37, 0.785, 1.0]
    """
    n = jnp.maximum(step - after - 1, 0)
    grown = -jnp.expm1(-power * jnp.log1p(n / real(steps)))
    return jnp.where(n == 0, 0, jnp.clip(grown, start, end))


@schedule(moments=no_moments)
def ratio_ramp(step: jax.Array, end: Number, steps: Positive = 100.0, *, shift: Number = 0.0) -> jax.Array:
    """``1 - steps / (steps + n)``, at most ``end``: an average over a number of updates that grows with it.

    Args:
        end: Its largest value.
        steps: The number of updates after which it is 1/2, > 0.
        shift: Added to the update's index ``n``.

    Source: ``mmengine/model/averaged_model.py``, MomentumAnnealingEMA, mmengine 0.10.7, where the momentum is
    ``max(1 - end, gamma / (gamma + n))``.

    Examples:
        >>> import jaxsched as js
        >>> decay = js.transforms.ratio_ramp(0.999, steps=100)
        >>> [round(float(decay(i)), 4) for i in (0, 100, 10**6)]
        [0.0, 0.5, 0.999]
    """
    n = step + shift
    return jnp.minimum(n / (n + real(steps)), end)
