"""Adam and its decoupled form, AdamW."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import bias_correction, ema_step
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift, zeros
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values


def adam(
    lr: Hyperparameter = 1e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam, as ``torch.optim.Adam``.

    .. math::
        g_t &= \nabla f(p_{t-1}) + \lambda\, p_{t-1}, \\
        m_t &= m_{t-1} + (1 - \beta_1)(g_t - m_{t-1}), \qquad v_t = \beta_2 v_{t-1} + (1 - \beta_2)\, g_t^2, \\
        p_t &= p_{t-1} - \frac{\eta_t}{1 - \beta_1^t}\, \frac{m_t}{\sqrt{v_t} / \sqrt{1 - \beta_2^t} + \epsilon}

    With ``amsgrad``, :math:`v_t` in the last line is the largest so far, before its correction (optax takes the largest
    of the corrected ones). With ``decoupled_weight_decay``, :math:`p` is first shrunk by :math:`1 - \eta_t \lambda` and
    the gradient is left alone. A scheduled beta corrects with its present value, :math:`\beta_{1,t}^t`, as torch does.

    Args:
        lr: Learning rate :math:`\eta`, >= 0.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        eps: :math:`\epsilon`, outside the root, >= 0.
        weight_decay: :math:`\lambda`, >= 0.
        amsgrad: Divide by the largest second moment so far.
        maximize: Climb instead.
        decoupled_weight_decay: As `adamw`.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. Without amsgrad equal to ``optax.adam`` (which has no weight decay and no groups).

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``torch/optim/adam.py``, torch 2.13.0.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.adam(lr=0.1)
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
        "amsgrad": amsgrad,
        "maximize": maximize,
        "decoupled_weight_decay": decoupled_weight_decay,
    }
    return lift(_ADAM, defaults, groups, rules)


def adamw(
    lr: Hyperparameter = 1e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam with decoupled weight decay, as ``torch.optim.AdamW``: `adam` with ``decoupled_weight_decay=True``.

    The arguments are those of `adam`; only the default of ``weight_decay`` differs. Equal to ``optax.adamw`` with the
    same weight decay (its default is 1e-4), but for amsgrad.

    Source: ``torch/optim/adamw.py``, torch 2.13.0.

    Example:
        >>> import jaxsched as js
        >>> tx = js.adamw(lr=js.cosine(1e-3, steps=1000), groups={"bias": dict(weight_decay=0.0)})
    """
    return adam(
        lr,
        betas,
        eps,
        weight_decay,
        amsgrad,
        maximize=maximize,
        decoupled_weight_decay=True,
        groups=groups,
        rules=rules,
    )


def _slots(values: Values) -> Mapping[str, SlotStart]:
    slots = {"exp_avg": zeros, "exp_avg_sq": zeros}
    return {**slots, "max_exp_avg_sq": zeros} if values["amsgrad"] else slots


def _prepare(h: Hypers) -> Mapping[str, jax.Array]:
    beta1, beta2 = h.betas
    return {
        "step_size": -h.lr / bias_correction(beta1, h.count),
        "root_correction": jnp.sqrt(bias_correction(beta2, h.count)),
    }


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    beta1, beta2 = h.betas
    mean = ema_step(slots["exp_avg"], gradient, beta1)
    square = ema_step(slots["exp_avg_sq"], jnp.square(gradient), beta2)
    new = {**slots, "exp_avg": mean, "exp_avg_sq": square}
    if h.amsgrad:
        square = new["max_exp_avg_sq"] = jnp.maximum(slots["max_exp_avg_sq"], square)
    return h.step_size * mean / (jnp.sqrt(square) / h.root_correction + h.eps), new


_ADAM = UpdateRule("adam", _update, _slots, _prepare, averages=("betas",))
