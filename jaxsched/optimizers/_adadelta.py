"""Adadelta: steps in the units of the parameters."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import ema_step
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift, zeros
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values


def adadelta(
    lr: Hyperparameter = 1.0,
    rho: Hyperparameter = 0.9,
    eps: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter = 0.0,
    *,
    maximize: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adadelta, as ``torch.optim.Adadelta``.

    With :math:`g_t = \nabla f(p_{t-1}) + \lambda\, p_{t-1}`,

    .. math::
        v_t = \rho v_{t-1} + (1 - \rho)\, g_t^2, \qquad
        d_t = \frac{\sqrt{u_{t-1} + \epsilon}}{\sqrt{v_t + \epsilon}}\, g_t, \qquad
        u_t = \rho u_{t-1} + (1 - \rho)\, d_t^2, \qquad p_t = p_{t-1} - \eta_t\, d_t

    Args:
        lr: Learning rate :math:`\eta`, >= 0.
        rho: :math:`\rho`, in [0, 1].
        eps: :math:`\epsilon`, inside both roots, >= 0.
        weight_decay: :math:`\lambda`, >= 0; added to the gradient.
        maximize: Climb instead.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. Equal to ``optax.adadelta(lr)``.

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``torch/optim/adadelta.py``, torch 2.13.0.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.adadelta()
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.003162
    """
    defaults = {
        "lr": lr,
        "rho": rho,
        "eps": eps,
        "weight_decay": weight_decay,
        "maximize": maximize,
    }
    return lift(_ADADELTA, defaults, groups, rules)


def _slots(values: Values) -> Mapping[str, SlotStart]:
    del values
    return {"square_avg": zeros, "acc_delta": zeros}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    square = ema_step(slots["square_avg"], jnp.square(gradient), h.rho)
    delta = jnp.sqrt(slots["acc_delta"] + h.eps) / jnp.sqrt(square + h.eps) * gradient
    return -h.lr * delta, {"square_avg": square, "acc_delta": ema_step(slots["acc_delta"], jnp.square(delta), h.rho)}


_ADADELTA = UpdateRule("adadelta", _update, _slots, averages=("rho",))
