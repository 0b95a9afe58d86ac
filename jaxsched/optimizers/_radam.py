"""RAdam: Adam that holds back while its second moment is uncertain."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import EmaWeights, bias_correction, ema_step
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift, zeros
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values


def radam(
    lr: Hyperparameter = 1e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""RAdam, as ``torch.optim.RAdam``.

    With :math:`g_t = \nabla f(p_{t-1}) + \lambda\, p_{t-1}`, :math:`m_t, v_t` as in `adam`, and
    :math:`\hat m_t = m_t / (1 - \beta_1^t)`,

    .. math::
        \rho_\infty = \frac{2}{1 - \beta_2} - 1, \qquad
        \rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t}, \qquad
        r_t = \sqrt{\frac{(\rho_t - 4)(\rho_t - 2)\, \rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2)\, \rho_t}}, \\
        p_t = p_{t-1} - \eta_t\, \hat m_t \cdot
        \begin{cases} r_t \sqrt{1 - \beta_2^t}\, / (\sqrt{v_t} + \epsilon) & \rho_t > 5 \\ 1 & \text{else} \end{cases}

    :math:`\epsilon` is added to the root before it is corrected.

    Args:
        lr: Learning rate :math:`\eta`, >= 0.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        eps: :math:`\epsilon`, outside the root, >= 0.
        weight_decay: :math:`\lambda`, >= 0.
        decoupled_weight_decay: Shrink :math:`p` by :math:`1 - \eta_t \lambda` first, and leave the gradient alone.
        maximize: Climb instead.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. ``optax.radam`` adds epsilon after the correction.

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``torch/optim/radam.py``, torch 2.13.0.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.radam(lr=0.1)
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
        "decoupled_weight_decay": decoupled_weight_decay,
        "maximize": maximize,
    }
    return lift(_RADAM, defaults, groups, rules)


def _slots(values: Values) -> Mapping[str, SlotStart]:
    del values
    return {"exp_avg": zeros, "exp_avg_sq": zeros}


def _prepare(h: Hypers) -> Mapping[str, jax.Array]:
    beta1, beta2 = h.betas
    longest = 2 / beta2.new - 1
    length = 2 * _mean_age(beta2, h.count) - 1
    certain = length > 5
    length = jnp.where(certain, length, 5)  # no root of a negative number, for the gradient's sake
    share = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    step_size = -h.lr / bias_correction(beta1, h.count)
    return {
        "step_size": step_size,
        "certain": certain,
        "rectified": step_size * jnp.sqrt(share * bias_correction(beta2, h.count)),
    }


def _mean_age(shares: EmaWeights, count: jax.Array) -> jax.Array:
    r"""The mean age, from 1, of the values in a moving average: :math:`1 / (1 - \beta) - t \beta^t / (1 - \beta^t)`.

    In float32 that difference is all rounding error at first: summed while there are few values.
    """
    ages = jnp.arange(1, 65, dtype=shares.old.dtype)
    weights = jnp.where(ages <= count, shares.old[..., None] ** (ages - 1), 0)
    few = (ages * weights).sum(-1) / weights.sum(-1)
    share = bias_correction(shares, count)
    return jnp.where(count <= len(ages), few, 1 / shares.new - count * (1 - share) / share)


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    beta1, beta2 = h.betas
    mean = ema_step(slots["exp_avg"], gradient, beta1)
    square = ema_step(slots["exp_avg_sq"], jnp.square(gradient), beta2)
    step = jnp.where(h.certain, h.rectified / (jnp.sqrt(square) + h.eps), h.step_size)
    return step * mean, {"exp_avg": mean, "exp_avg_sq": square}


_RADAM = UpdateRule("radam", _update, _slots, _prepare, averages=("betas",))
