"""Clipping by norm with torch's formula: all gradients together, or each by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxsched.groups import JoinedTree
from jaxsched.numerics import as_step, takes_shapes
from jaxsched.optimizers.internal import Positive, check_kind, checked_arguments, clip_by_norm
from jaxsched.schedules import Value, value_at

EPSILON = 1e-6
"""Added to a norm, as in torch."""


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
    return _clip("clip_norm", max_norm, lambda gradients, limit: clip_by_norm(gradients, limit, EPSILON))


@checked_arguments
def clip_each_norm(max_norm: Positive) -> optax.GradientTransformationExtraArgs:
    """Scale the gradient of each parameter so that its own norm is at most ``max_norm``.

    The factor of each array is ``min(1, max_norm / (norm + 1e-6))`` with the norm of that array: ``clip_grad_norm_``
    (torch 2.13.0) called for one parameter after the other, as Detectron2 does with ``CLIP_TYPE: norm``. Keras'
    ``clipnorm`` and ``optax.clip_by_block_rms`` are relatives: the one has no 1e-6, the other takes the mean square.

    Args:
        max_norm: The largest norm, > 0: a number or a schedule.

    Raises:
        ValueError: If the parameters of a group are joined to one vector, by `flatten_groups`.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.transforms.clip_each_norm(1.0)
        >>> gradients = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([0.3, 0.4])}
        >>> clipped, state = tx.update(gradients, tx.init(gradients))
        >>> [round(float(jnp.linalg.norm(clipped[name])), 4) for name in ("a", "b")]
        [1.0, 0.5]
    """

    def apart(gradients: Any, limit: jax.Array) -> Any:
        return jax.tree.map(lambda gradient: clip_by_norm(gradient, limit, EPSILON), gradients)

    return _clip("clip_each_norm", max_norm, apart, _refuse_joined)


def _refuse_joined(params: Any) -> None:
    if isinstance(params, JoinedTree):
        raise ValueError(
            "clip_each_norm: it needs single arrays, which flatten_groups joins; leave flatten_groups out, and build "
            "a recipe without flatten=True"
        )


def _clip(
    name: str,
    max_norm: Value,
    clipped: Callable[[Any, jax.Array], Any],
    check: Callable[[Any], None] = lambda params: None,
) -> optax.GradientTransformationExtraArgs:
    def init(params: Any) -> optax.ScaleByScheduleState:
        check(params)
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
        check_kind(name, state, optax.ScaleByScheduleState)
        limit = value_at(max_norm, state.count if step is None else as_step(step))
        return clipped(updates, limit), optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(takes_shapes(init), update)
