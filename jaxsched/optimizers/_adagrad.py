"""Adagrad: steps that shrink with the squares of all gradients so far."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.optimizers._hyperparameters import FixedNonNegative, Groups, NonNegative, NonNegativeNumber, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule


def _slots(values: Values) -> Mapping[str, SlotInit]:
    del values
    return {"sum": lambda param, values: jnp.full_like(param, values["initial_accumulator_value"])}


def _per_step(h: Hypers) -> Mapping[str, jax.Array]:
    return {"decayed_lr": h.lr / (1 + (h.count.astype(h.lr.dtype) - 1) * h.lr_decay)}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    total = slots["sum"] + jnp.square(gradient)
    root = jnp.sqrt(total + h.eps_root) if h.eps_root else jnp.sqrt(total)
    return -h.decayed_lr * gradient / (root + h.eps), {"sum": total}


_ADAGRAD = UpdateRule(_update, _slots, _per_step)


@optimizer(_ADAGRAD)
def adagrad(
    lr: NonNegative = 1e-2,
    lr_decay: NonNegative = 0.0,
    weight_decay: NonNegative = 0.0,
    initial_accumulator_value: NonNegativeNumber = 0.0,
    eps: NonNegative = 1e-10,
    *,
    maximize: bool = False,
    eps_root: FixedNonNegative = None,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Adagrad, as ``torch.optim.Adagrad``.

    At the t-th update, from 1::

        g = gradient + weight_decay * p
        s = s + g**2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Args:
        lr: Learning rate, >= 0.
        lr_decay: How fast the learning rate falls, >= 0.
        weight_decay: L2 penalty: ``weight_decay * p`` is added to the gradient; >= 0.
        initial_accumulator_value: s before the first update, >= 0: a number, no schedule.
        eps: Added to the denominator, outside the root; >= 0.
        maximize: Maximize the objective instead of minimizing it.
        eps_root: Added to s inside the root, >= 0 (None: 0). For meta-gradients: without it the derivative of
            an update is NaN where the gradient is 0.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``sum``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. ``optax.adagrad`` starts at 0.1 and has another epsilon inside the root.

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/adagrad.py``, torch 2.13.0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.adagrad(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
