"""Adamax: Adam with the largest gradient in the place of the root mean square."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import bias_correction, ema_step
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift, zeros
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values


def adamax(
    lr: Hyperparameter = 2e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    *,
    maximize: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adamax, as ``torch.optim.Adamax``.

    With :math:`g_t = \nabla f(p_{t-1}) + \lambda\, p_{t-1}`,

    .. math::
        m_t = m_{t-1} + (1 - \beta_1)(g_t - m_{t-1}), \qquad
        u_t = \max(\beta_2 u_{t-1},\, |g_t| + \epsilon), \qquad
        p_t = p_{t-1} - \frac{\eta_t}{1 - \beta_1^t}\, \frac{m_t}{u_t}

    Args:
        lr: Learning rate :math:`\eta`, >= 0.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        eps: :math:`\epsilon`, added to each gradient's magnitude, >= 0.
        weight_decay: :math:`\lambda`, >= 0; added to the gradient.
        maximize: Climb instead.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. Equal to ``optax.adamax`` (which has no weight decay; that of
        ``optax.adamaxw`` is decoupled).

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``torch/optim/adamax.py``, torch 2.13.0.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.adamax(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
    defaults = {
        "lr": lr,
        "betas": betas,
        "eps": eps,
        "weight_decay": weight_decay,
        "maximize": maximize,
    }
    return lift(_ADAMAX, defaults, groups, rules)


def _slots(values: Values) -> Mapping[str, SlotStart]:
    del values
    return {"exp_avg": zeros, "exp_inf": zeros}


def _prepare(h: Hypers) -> Mapping[str, jax.Array]:
    return {"step_size": -h.lr / bias_correction(h.betas[0], h.count)}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    beta1, beta2 = h.betas
    mean = ema_step(slots["exp_avg"], gradient, beta1)
    largest = jnp.maximum(beta2.old * slots["exp_inf"], jnp.abs(gradient) + h.eps)
    return h.step_size * mean / largest, {"exp_avg": mean, "exp_inf": largest}


_ADAMAX = UpdateRule("adamax", _update, _slots, _prepare, averages=("betas",))
