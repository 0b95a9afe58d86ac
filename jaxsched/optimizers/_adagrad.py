"""Adagrad: steps that shrink with the squares of all gradients so far."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values


def adagrad(
    lr: Hyperparameter = 1e-2,
    lr_decay: Hyperparameter = 0.0,
    weight_decay: Hyperparameter = 0.0,
    initial_accumulator_value: Hyperparameter = 0.0,
    eps: Hyperparameter = 1e-10,
    *,
    maximize: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adagrad, as ``torch.optim.Adagrad``.

    With :math:`g_t = \nabla f(p_{t-1}) + \lambda\, p_{t-1}`,

    .. math::
        s_t = s_{t-1} + g_t^2, \qquad
        p_t = p_{t-1} - \frac{\eta_t}{1 + (t - 1)\, \delta}\, \frac{g_t}{\sqrt{s_t} + \epsilon}

    Args:
        lr: Learning rate :math:`\eta`, >= 0.
        lr_decay: :math:`\delta`, >= 0.
        weight_decay: :math:`\lambda`, >= 0; added to the gradient.
        initial_accumulator_value: :math:`s_0`, >= 0; a number.
        eps: :math:`\epsilon`, outside the root, >= 0.
        maximize: Climb instead.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. ``optax.adagrad`` starts at 0.1 and has another epsilon inside the root.

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``torch/optim/adagrad.py``, torch 2.13.0.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.adagrad(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
    defaults = {
        "lr": lr,
        "lr_decay": lr_decay,
        "weight_decay": weight_decay,
        "initial_accumulator_value": initial_accumulator_value,
        "eps": eps,
        "maximize": maximize,
    }
    return lift(_ADAGRAD, defaults, groups, rules)


def _slots(values: Values) -> Mapping[str, SlotStart]:
    return {"sum": lambda param, values: jnp.full_like(param, values["initial_accumulator_value"])}


def _prepare(h: Hypers) -> Mapping[str, jax.Array]:
    return {"decayed_lr": h.lr / (1 + (h.count - 1) * h.lr_decay)}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    total = slots["sum"] + jnp.square(gradient)
    return -h.decayed_lr * gradient / (jnp.sqrt(total) + h.eps), {"sum": total}


_ADAGRAD = UpdateRule("adagrad", _update, _slots, _prepare)
