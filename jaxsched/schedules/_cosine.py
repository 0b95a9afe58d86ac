"""Half a cosine wave, written as sin² of what is left."""

from __future__ import annotations

import jax

from jaxsched.schedules._checks import Length, Number
from jaxsched.schedules._progress import gone_fraction, left_fraction, sin_squared
from jaxsched.schedules._schedule import schedule


@schedule
def cosine(step: jax.Array, peak: Number, steps: Length, floor: Number = 0.0) -> jax.Array:
    """Half a cosine from ``peak`` at step 0 down to ``floor`` at ``steps``, then flat.

    ``floor + (peak - floor) * (1 + cos(pi * t)) / 2`` with ``t = min(step / steps, 1)``: exactly ``peak`` at step 0
    and exactly ``floor`` from ``steps`` on. (torch's CosineAnnealingLR climbs again after its end; that one is
    ``ports.torch.CosineAnnealingLR``.)

    Args:
        peak: Value at step 0.
        steps: Length of the decay in steps, > 0.
        floor: Value from ``steps`` on.

    Raises:
        ValueError: If ``steps`` is not positive.

    Example:
        >>> import jaxsched as js
        >>> lr = js.cosine(peak=0.1, steps=100, floor=0.01)
        >>> [round(float(lr(step)), 4) for step in (0, 50, 100, 1000)]
        [0.1, 0.055, 0.01, 0.01]
    """
    # peak and floor each with its own weight: nothing cancels, and each end is exact.
    return peak * sin_squared(left_fraction(step, steps)) + floor * sin_squared(gone_fraction(step, steps))
