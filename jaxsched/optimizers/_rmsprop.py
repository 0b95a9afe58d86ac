"""RMSprop: steps divided by the root of a moving average of squares."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import ema_step
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift, zeros
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values, is_zero


def rmsprop(
    lr: Hyperparameter = 1e-2,
    alpha: Hyperparameter = 0.99,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    momentum: Hyperparameter = 0.0,
    centered: bool = False,
    *,
    maximize: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""RMSprop, as ``torch.optim.RMSprop``.

    With :math:`g_t = \nabla f(p_{t-1}) + \lambda\, p_{t-1}`,

    .. math::
        v_t = \alpha v_{t-1} + (1 - \alpha)\, g_t^2, \qquad
        b_t = \mu_t\, b_{t-1} + \frac{g_t}{\sqrt{v_t} + \epsilon}, \qquad p_t = p_{t-1} - \eta_t\, b_t

    If ``centered``, :math:`v_t - \bar g_t^2` is under the root, with :math:`\bar g_t = \alpha \bar g_{t-1} + (1 -
    \alpha)\, g_t`. The averages start at 0 and are not corrected. The learning rate stays outside the momentum.
    Where :math:`\mu_t` is 0, :math:`b_{t-1}` waits.

    Args:
        lr: Learning rate :math:`\eta`, >= 0.
        alpha: :math:`\alpha`, >= 0.
        eps: :math:`\epsilon`, outside the root, >= 0.
        weight_decay: :math:`\lambda`, >= 0; added to the gradient.
        momentum: :math:`\mu`, >= 0. The number 0 in all groups keeps no buffer.
        centered: Divide by the estimated deviation.
        maximize: Climb instead.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. Equal to ``optax.rmsprop(lr, decay=0.99, eps_in_sqrt=False)`` without momentum (its
        momentum has the learning rate inside; its defaults differ).

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``torch/optim/rmsprop.py``, torch 2.13.0.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.rmsprop(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -1.0
    """
    defaults = {
        "lr": lr,
        "alpha": alpha,
        "eps": eps,
        "weight_decay": weight_decay,
        "momentum": momentum,
        "centered": centered,
        "maximize": maximize,
    }
    return lift(_RMSPROP, defaults, groups, rules)


def _slots(values: Values) -> Mapping[str, SlotStart]:
    slots = {"square_avg": zeros}
    if values["centered"]:
        slots["grad_avg"] = zeros
    return slots if is_zero(values["momentum"]) else {**slots, "momentum": zeros}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    square = ema_step(slots["square_avg"], jnp.square(gradient), h.alpha)
    new = {**slots, "square_avg": square}
    if h.centered:
        mean = new["grad_avg"] = ema_step(slots["grad_avg"], gradient, h.alpha)
        square = square - jnp.square(mean)
    direction = gradient / (jnp.sqrt(square) + h.eps)
    if "momentum" in slots:
        direction = h.momentum * slots["momentum"] + direction
        new["momentum"] = jnp.where(h.momentum == 0, slots["momentum"], direction)
    return -h.lr * direction, new


_RMSPROP = UpdateRule("rmsprop", _update, _slots, averages=("alpha",))
