"""Adam for embeddings: only the rows that have a gradient move."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import bias_correction, ema_step
from jaxsched.optimizers._hyperparameters import Beta, Groups, NonNegative, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._moments import MOMENTS
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros


def _slots(values: Values) -> Mapping[str, SlotInit]:
    del values
    return {"exp_avg": zeros, "exp_avg_sq": zeros}


def _per_step(h: Hypers) -> Mapping[str, jax.Array]:
    beta1, beta2 = h.betas
    return {"step_size": -h.lr * jnp.sqrt(bias_correction(beta2, h.count)) / bias_correction(beta1, h.count)}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    beta1, beta2 = h.betas
    present = jnp.any(gradient != 0, axis=tuple(range(1, gradient.ndim)), keepdims=True)
    mean = ema_step(slots["exp_avg"], gradient, beta1)
    square = ema_step(slots["exp_avg_sq"], jnp.square(gradient), beta2)
    new = {"exp_avg": mean, "exp_avg_sq": square}
    update = h.step_size * mean / (jnp.sqrt(square) + h.eps)
    return jnp.where(present, update, 0), {name: jnp.where(present, new[name], slots[name]) for name in new}


def _why_untrainable(shape: tuple[int, ...], dtype: jax.typing.DTypeLike, values: Values) -> str | None:
    del shape, values
    return "is complex" if jnp.issubdtype(dtype, jnp.complexfloating) else None


_SPARSE_ADAM = UpdateRule(
    _update,
    _slots,
    _per_step,
    averages=("betas",),
    weights=MOMENTS,
    elementwise=False,
    why_untrainable=_why_untrainable,
)


@optimizer(_SPARSE_ADAM)
def sparse_adam(
    lr: NonNegative = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    *,
    maximize: bool = False,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Adam that leaves alone the rows without a gradient, as ``torch.optim.SparseAdam``.

    A row, an index of the first axis, is present where any entry of its gradient is not zero (in torch, where the
    sparse gradient lists it). In the rows that are present, with m and v as in `adam`, at the t-th update::

        p = p - lr * sqrt(1 - beta2**t) / (1 - beta1**t) * m / (sqrt(v) + eps)

    The other rows keep their parameters and moments. t counts all updates, and ``eps`` is added to the root before it
    is corrected.

    Args:
        lr: Learning rate, >= 0.
        betas: Decay rates of m and v, each in [0, 1).
        eps: Added to the denominator, outside the root; >= 0.
        maximize: Maximize the objective instead of minimizing it.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``exp_avg``, ``exp_avg_sq``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. optax has no such optimizer.

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/sparse_adam.py``, torch 2.13.0. Complex parameters are refused, as there.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.sparse_adam(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
