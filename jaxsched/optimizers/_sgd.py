"""Stochastic gradient descent with torch's momentum."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift, zeros
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values, is_zero


def sgd(
    lr: Hyperparameter = 1e-3,
    momentum: Hyperparameter = 0.0,
    dampening: Hyperparameter = 0.0,
    weight_decay: Hyperparameter = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Stochastic gradient descent, as ``torch.optim.SGD``.

    .. math::
        g_t = \nabla f(p_{t-1}) + \lambda\, p_{t-1}, \qquad
        b_1 = g_1, \quad b_t = \mu_t\, b_{t-1} + (1 - \tau_t)\, g_t, \qquad
        p_t = p_{t-1} - \eta_t\, b_t

    and with Nesterov's momentum :math:`p_t = p_{t-1} - \eta_t\, (g_t + \mu_t\, b_t)`. The learning rate stays outside
    the buffer, so a change of it does not rescale past momentum. Weight decay is added to the gradient before the
    momentum, and the first step is not dampened.

    Args:
        lr: Learning rate :math:`\eta`, >= 0.
        momentum: :math:`\mu`, >= 0. The number 0 in all groups keeps no buffer.
        dampening: :math:`\tau`.
        weight_decay: :math:`\lambda`, >= 0.
        nesterov: Nesterov's momentum; needs a momentum and no dampening.
        maximize: Climb instead.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. Equal to ``optax.sgd(lr, momentum, nesterov)`` where that has the same options (it has
        no dampening, weight decay or groups).

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``torch/optim/sgd.py``, torch 2.13.0.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js, optax
        >>> tx = js.sgd(lr=0.1, momentum=0.9, weight_decay=5e-4, groups={"bias": dict(weight_decay=0.0)})
        >>> params = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> optax.apply_updates(params, updates)["bias"]
        Array([0.9, 0.9], dtype=float32)
    """
    defaults = {
        "lr": lr,
        "momentum": momentum,
        "dampening": dampening,
        "weight_decay": weight_decay,
        "nesterov": nesterov,
        "maximize": maximize,
    }
    for values in (defaults, *({**defaults, **v} for v in (groups or {}).values() if v)):
        if values["nesterov"] and (is_zero(values["momentum"]) or not is_zero(values["dampening"])):
            raise ValueError(
                f"sgd: nesterov needs a momentum and no dampening, got momentum={values['momentum']!r} and "
                f"dampening={values['dampening']!r}"
            )
    return lift(_SGD, defaults, groups, rules)


def _slots(values: Values) -> Mapping[str, SlotStart]:
    return {} if is_zero(values["momentum"]) else {"momentum": zeros}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    if "momentum" not in slots:
        return -h.lr * gradient, slots
    buffer = (
        h.momentum * slots["momentum"] + h.gain * gradient
        if h.gain is not None
        else (h.momentum * slots["momentum"] + gradient)
    )
    direction = gradient + h.momentum * buffer if h.nesterov else buffer
    return -h.lr * direction, {"momentum": buffer}


def _prepare(h: Hypers) -> None:
    # The first step is not dampened: the buffer starts as the gradient itself.
    h.gain = None if h.nesterov else jnp.where(h.count == 1, 1.0, 1.0 - h.dampening).astype(h.dampening.dtype)


_SGD = UpdateRule("sgd", _update, _slots, _prepare)
