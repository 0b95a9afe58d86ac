"""A decay of an average that PaddleDetection has and the core has not."""

from __future__ import annotations

import jax

from jaxsched.checks import Rate
from jaxsched.numerics import LogRate, minus_expm1, real
from jaxsched.schedules import no_moments, schedule


@schedule(moments=no_moments)
def debiased(step: jax.Array, decay: Rate) -> jax.Array:
    """``1 - (1 - decay) / (1 - decay ** (step + 1))``: of an average that begins at 0 and is divided by what it lacks.

    It is 0 at step 0, a copy, and rises towards ``decay``.
    """
    log = LogRate.of(decay)
    return real(1.0) - minus_expm1(-(log * real(1.0))) / minus_expm1(-(log * (step + 1)))
