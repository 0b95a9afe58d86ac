"""RMSprop: steps divided by the root of a moving average of squares."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import ema_step
from jaxsched.optimizers._hyperparameters import FixedNonNegative, Groups, NonNegative, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._moments import second_moment
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros
from jaxsched.optimizers._values import is_zero


def _full(param: jax.Array, values: Values) -> jax.Array:
    return jnp.full_like(param, values["initial_scale"])


def _slots(values: Values) -> Mapping[str, SlotInit]:
    slots: dict[str, SlotInit] = {"square_avg": _full}
    if values["centered"]:
        slots["grad_avg"] = zeros
    return slots if is_zero(values["momentum"]) else {**slots, "momentum": zeros}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    square = second_moment(slots["square_avg"], gradient, h.alpha)
    new = {**slots, "square_avg": square}
    if h.centered:
        mean = new["grad_avg"] = ema_step(slots["grad_avg"], gradient, h.alpha)
        square = square - jnp.square(mean)
    root = jnp.sqrt(square + h.eps_root) if h.eps_root else jnp.sqrt(square)
    direction = gradient / (root + h.eps)
    outside, inside = (1.0, h.lr) if h.lr_in_momentum else (h.lr, 1.0)
    direction = inside * direction
    if "momentum" in slots:
        direction = h.momentum * slots["momentum"] + direction
        new["momentum"] = jnp.where(h.momentum == 0, slots["momentum"], direction)
    return -outside * direction, new


_RMSPROP = UpdateRule(
    _update, _slots, averages=("alpha",), weights={"square_avg": ("alpha", None), "grad_avg": ("alpha", None)}
)


@optimizer(_RMSPROP)
def rmsprop(
    lr: NonNegative = 1e-2,
    alpha: NonNegative = 0.99,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    momentum: NonNegative = 0.0,
    centered: bool = False,
    *,
    maximize: bool = False,
    eps_root: FixedNonNegative = None,
    initial_scale: FixedNonNegative = None,
    lr_in_momentum: bool = False,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """RMSprop, as ``torch.optim.RMSprop``.

    With v and b starting at 0 (v at ``initial_scale``)::

        g = gradient + weight_decay * p
        v = alpha * v + (1 - alpha) * g**2
        b = momentum * b + g / (sqrt(v) + eps)
        p = p - lr * b

    If ``centered``, ``v - mean(g)**2`` is under the root, where ``mean(g) = alpha * mean(g) + (1 - alpha) * g``. The
    averages are not corrected for their start. The learning rate stays outside the momentum unless ``lr_in_momentum``,
    with which ``b = momentum * b + lr * g / (sqrt(v) + eps)`` and ``p = p - b``. Where the momentum is 0, b is not
    changed. TensorFlow's RMSprop, which timm has as ``rmsproptf``, is ``rmsprop(alpha=0.9, eps=0.0, eps_root=1e-10,
    initial_scale=1.0, lr_in_momentum=True)``.

    Args:
        lr: Learning rate, >= 0.
        alpha: Decay rate of v, >= 0.
        eps: Added to the denominator, outside the root; >= 0.
        weight_decay: L2 penalty: ``weight_decay * p`` is added to the gradient; >= 0.
        momentum: Momentum, >= 0. The number 0 in all groups keeps no buffer.
        centered: Divide by the estimated standard deviation.
        maximize: Maximize the objective instead of minimizing it.
        eps_root: Added to v inside the root, >= 0 (None: 0). For meta-gradients: without it the derivative of
            an update is NaN where the gradient is 0.
        initial_scale: Where v starts, >= 0 (None: 0).
        lr_in_momentum: Keep the learning rate in the momentum, as TensorFlow does, so that a step in the learning rate
            takes effect gradually.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``square_avg``, ``grad_avg``, ``momentum``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. Equal to ``optax.rmsprop(lr, decay=0.99, eps_in_sqrt=False)`` without momentum, and
        with ``lr_in_momentum`` to its momentum too; its defaults differ.

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/rmsprop.py``, torch 2.13.0; ``timm/optim/rmsprop_tf.py``, timm 1.0.31.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.rmsprop(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -1.0
    """
