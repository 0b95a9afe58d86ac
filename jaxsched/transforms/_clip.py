"""Clipping with torch's formula."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxsched.numerics import as_step, takes_shapes
from jaxsched.optimizers.internal import Positive, checked_arguments, clip_by_norm
from jaxsched.schedules import value_at


@checked_arguments
def clip_norm(max_norm: Positive) -> optax.GradientTransformationExtraArgs:
    """Scale all gradients together so that their norm is at most ``max_norm``, with torch's formula.

    The factor is ``min(1, max_norm / (norm + 1e-6))``, as ``torch.nn.utils.clip_grad_norm_`` (torch 2.13.0).
    (``optax.clip_by_global_norm`` has no 1e-6. By value clips ``optax.clip``, as ``clip_grad_value_``.)

    Args:
        max_norm: The largest norm, > 0: a number or a schedule.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.clip_norm(1.0)
        >>> gradients = {"w": jnp.array([3.0, 4.0])}
        >>> clipped, state = tx.update(gradients, tx.init(gradients))
        >>> round(float(jnp.linalg.norm(clipped["w"])), 4)
        1.0
    """

    def init(params: Any) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        step: ArrayLike | None = None,
        **extra: Any,
    ) -> tuple[Any, optax.ScaleByScheduleState]:
        del params, extra
        limit = value_at(max_norm, state.count if step is None else as_step(step))
        clipped = clip_by_norm(updates, limit, epsilon=1e-6)
        return clipped, optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(takes_shapes(init), update)
