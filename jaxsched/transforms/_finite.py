"""Gradients that are not finite make no update, and are counted."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import unboxed
from jaxsched.numerics import MAX_STEP
from jaxsched.optimizers.internal import states


def skip_nonfinite(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """No update where any gradient is infinite or NaN: the state of ``inner`` stays, and `nonfinite_count` counts.

    ``optax.apply_if_finite`` that never gives up, as torch's ``GradScaler`` skips ``optimizer.step``. A schedule in
    ``inner`` counts updates, unless `accumulate` is around both and gives it the step. What should go on, such as `ema`
    in YOLOv5, is chained after it.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.skip_nonfinite(js.sgd(lr=0.1))
        >>> params = {"w": jnp.ones(())}
        >>> updates, state = tx.update({"w": jnp.nan}, tx.init(params), params)
        >>> float(updates["w"]), int(js.transforms.nonfinite_count(state))
        (0.0, 1)
    """
    return optax.with_extra_args_support(optax.apply_if_finite(inner, max_consecutive_errors=MAX_STEP))


def nonfinite_count(opt_state: Any) -> jax.Array:
    """How many updates were not made because a gradient was not finite; int32 [].

    Args:
        opt_state: Anything that holds the state of `skip_nonfinite` or ``optax.apply_if_finite``, as for `hyperparams`.

    Raises:
        ValueError: If there is none.
    """
    found = states(opt_state, optax.ApplyIfFiniteState)
    if not found:
        raise ValueError(f"nonfinite_count: there is no skip_nonfinite in {type(opt_state).__name__}")
    return sum((jnp.asarray(unboxed(state.total_notfinite)) for state in found), start=jnp.zeros((), jnp.int32))
