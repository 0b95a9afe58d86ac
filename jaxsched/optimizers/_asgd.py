"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values


def asgd(
    lr: Hyperparameter = 1e-2,
    lambd: Hyperparameter = 1e-4,
    alpha: Hyperparameter = 0.75,
    t0: Hyperparameter = 1e6,
    weight_decay: Hyperparameter = 0.0,
    *,
    maximize: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Averaged stochastic gradient descent, as ``torch.optim.ASGD``.

    With :math:`g_t = \nabla f(p_{t-1}) + \lambda\, p_{t-1}`, :math:`\gamma_1 = \eta_1` and :math:`w_1 = 1`,

    .. math::
        p_t = (1 - l\, \gamma_t)\, p_{t-1} - \gamma_t\, g_t, \qquad a_t = a_{t-1} + w_t (p_t - a_{t-1}), \\
        \gamma_{t+1} = \frac{\eta_t}{(1 + l\, \eta_t\, t)^\alpha}, \qquad w_{t+1} = \frac{1}{\max(1,\, t - t_0)}

    A change of the learning rate acts one step late. The averaged parameters :math:`a` are those at the time until
    :math:`t_0`; `ema_params` reads them from the state.

    Args:
        lr: Learning rate :math:`\eta`, >= 0.
        lambd: :math:`l`, the decay.
        alpha: Power of the decay of the learning rate, >= 0.
        t0: :math:`t_0`, the step at which averaging starts.
        weight_decay: :math:`\lambda`, >= 0; added to the gradient.
        maximize: Climb instead.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. There is no like in optax.

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``torch/optim/asgd.py``, torch 2.13.0.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.asgd(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.10001
    """
    defaults = {
        "lr": lr,
        "lambd": lambd,
        "alpha": alpha,
        "t0": t0,
        "weight_decay": weight_decay,
        "maximize": maximize,
    }
    return lift(_ASGD, defaults, groups, rules)


def _slots(values: Values) -> Mapping[str, SlotStart]:
    del values
    return {"ax": lambda param, values: jnp.array(param)}


def _prepare(h: Hypers) -> Mapping[str, jax.Array]:
    return {
        "now": jnp.where(h.count == 1, h.lr, h.eta),
        "share": h.mu,
        "eta": h.lr / (1 + h.lambd * h.lr * h.count) ** h.alpha,
        "mu": 1 / jnp.maximum(1, h.count - h.t0),
    }


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    step = -h.now * (h.lambd * param + gradient)
    new = param + step
    return step, {"ax": jnp.where(h.share == 1, new, slots["ax"] + h.share * (new - slots["ax"]))}


_ASGD = UpdateRule("asgd", _update, _slots, _prepare, shared={"eta": 0.0, "mu": 1.0})
