"""Cosine schedules: half a wave, an endless wave, warm restarts.

They are computed as sin² of the fraction that is left, which keeps its digits near 0 where 1 + cos does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxsched.checks import (
    Duration,
    Exponent,
    Floor,
    Peak,
    PositiveCount,
    Rate,
    Step,
    WholeLength,
    short,
)
from jaxsched.numerics import (
    LogRate,
    Real,
    as_twofold,
    cycle_at,
    is_host_number,
    power_and_rest,
    quotient,
    repeats,
    sin_squared,
    split,
)
from jaxsched.schedules._compose import delayed
from jaxsched.schedules._declarations import MOST, Arguments, Mark, ends, half_waves
from jaxsched.schedules._schedule import Schedule, composition, schedule


@schedule(moments=ends("steps", "peak", "floor"))
def cosine(step: jax.Array, peak: Peak, steps: Duration, floor: Floor = 0.0, k: Exponent | None = None) -> jax.Array:
    """Half a cosine from ``peak`` at step 0 down to ``floor`` at ``steps``, then flat.

    ``floor + (peak - floor) * (1 + cos(pi * t**k)) / 2`` with ``t = min(step / steps, 1)``: exactly ``peak`` at step 0
    and exactly ``floor`` from ``steps`` on. (torch's CosineAnnealingLR rises again after its ``T_max``: that is
    `periodic_cosine`.)

    Args:
        peak: Value at step 0.
        steps: Length of the decay in steps, > 0.
        floor: Value from ``steps`` on.
        k: Exponent of k-decay (Zhang and Li 2020, arXiv:2004.05909), > 0: above 1 the value stays high for longer and
            then falls faster. With it the value is within 9 float32 ulp, not 8.

    Raises:
        ValueError: If ``steps`` or ``k`` is not positive.

    Examples:
        >>> import jaxsched as js
        >>> lr = js.cosine(peak=0.1, steps=100, floor=0.01)
        >>> [round(float(lr(step)), 4) for step in (0, 50, 100, 1000)]
        [0.1, 0.055, 0.01, 0.01]
    """
    return _half_cosine(*split(step, steps), peak, floor, k)


def _half_cosine(gone: Any, left: Any, whole: Any, peak: Real, floor: Real, k: Any = None) -> jax.Array:
    """The value between ``peak`` and ``floor`` when ``gone`` of ``whole`` steps are over and ``left`` remain."""
    # The square of a sine doubles the rounding of its angle: of a plain float32 quotient of lengths above 2**24, whose
    # conversion rounds too, it makes 9.2 ulp; of the high part of a `Twofold`, which is rounded once, 6.5.
    whole = as_twofold(whole)
    gone, left = quotient(gone, whole), quotient(left, whole)
    gone, left = (gone.high, left.high) if k is None else power_and_rest(gone, left, k)
    # peak and floor are weighted separately: there is no cancellation, and both ends are exact.
    return peak * sin_squared(left) + floor * sin_squared(gone)


@schedule(moments=half_waves("steps"))
def periodic_cosine(step: jax.Array, peak: Peak, steps: Duration, floor: Floor = 0.0) -> jax.Array:
    """An endless cosine wave: ``peak`` at step 0, ``floor`` at ``steps``, ``peak`` again at ``2 * steps``.

    ``floor + (peak - floor) * (1 + cos(pi * step / steps)) / 2``: exactly ``peak`` at even and exactly ``floor`` at odd
    multiples of ``steps``. It is what torch's CosineAnnealingLR does past its ``T_max``.

    Args:
        peak: Value at step 0.
        steps: Half the period, in steps, > 0.
        floor: Value at ``steps``.

    Raises:
        ValueError: If ``steps`` is not positive.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.schedules.periodic_cosine(1.0, steps=2)(jnp.arange(6)).round(2)
        Array([1. , 0.5, 0. , 0.5, 1. , 0.5], dtype=float32)
    """
    halves, over, whole = repeats(step, steps)
    falls, to_go = halves % 2 == 0, whole - over
    return _half_cosine(jnp.where(falls, over, to_go), jnp.where(falls, to_go, over), whole, peak, floor)


def _restarts(a: Arguments, run: float) -> Iterable[Mark]:
    cycle, stretch = a.number("steps"), a.number("stretch")
    last = a.number("cycles", math.inf)
    t = 0.0
    for k in range(1, MOST + 1):
        t += cycle
        if k == last:
            yield Mark(t, "end", "last cycle ends")
        else:
            yield Mark(t, "restart")
        if k == last or t >= run:
            return
        cycle *= stretch


@schedule(moments=_restarts)
def cosine_restarts(
    step: jax.Array,
    peak: Peak,
    steps: WholeLength,
    floor: Floor = 0.0,
    stretch: PositiveCount = 1,
    decay: Rate = 1.0,
    cycles: PositiveCount | None = None,
    k: Exponent | None = None,
) -> jax.Array:
    """Cosine decay with warm restarts (SGDR, arXiv:1608.03983).

    Cycle ``i`` is ``steps * stretch**i`` long and follows half a cosine from ``peak * decay**i`` at its first step
    towards ``floor``, which is never reached: the next cycle starts there. After the last cycle the value is ``floor``.

    Args:
        peak: Value at step 0.
        steps: Length of the first cycle in steps, whole, > 0.
        floor: Lower end of each cycle, and the value after the last one.
        stretch: Ratio of the length of each cycle to that of the previous one: a whole number >= 1.
        decay: Factor on ``peak`` at each restart, >= 0.
        cycles: Number of cycles; endless by default.
        k: k-decay within each cycle, as in `cosine`.

    Raises:
        ValueError: If ``steps``, ``stretch`` or ``cycles`` is not a whole number > 0, ``decay`` < 0 or ``k`` <= 0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.cosine_restarts(1.0, steps=2, decay=0.5, cycles=2)(jnp.arange(6)).round(2)
        Array([1.  , 0.5 , 0.5 , 0.25, 0.  , 0.  ], dtype=float32)
    """
    cycle, gone, left, length = cycle_at(step, steps, stretch)
    # Past the last cycle the peak grows no further: it might overflow, and 0 times that is NaN in the gradient.
    top = LogRate.of(decay).power(cycle if cycles is None else jnp.minimum(cycle, cycles), peak)
    value = _half_cosine(gone, left, length, top, floor, k)
    return value if cycles is None else jnp.where(cycle >= cycles, floor, value)


@composition
def flat_then_cosine(peak: Peak, steps: WholeLength, flat: Step, floor: Floor = 0.0) -> Schedule:
    """``peak`` for ``flat`` steps, then half a cosine down to ``floor`` at ``steps``, then flat.

    ``delayed(cosine(peak, steps - flat, floor), by=flat)``.

    Args:
        peak: Value before step ``flat``.
        steps: When ``floor`` is reached, in steps from step 0.
        flat: Steps at ``peak``: a whole number below ``steps``.
        floor: Value from ``steps`` on.

    Raises:
        ValueError: If ``flat`` is not a whole number from 0 to below ``steps``.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.schedules.flat_then_cosine(1.0, steps=6, flat=4)(jnp.arange(8)).round(2)
        Array([1. , 1. , 1. , 1. , 1. , 0.5, 0. , 0. ], dtype=float32)
    """
    if is_host_number(steps) and is_host_number(flat) and flat >= steps:
        raise ValueError(f"flat_then_cosine: flat must be below steps={short(steps)}, got {short(flat)}")
    return delayed(cosine(peak, steps - flat, floor), by=flat)
