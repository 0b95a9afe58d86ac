"""NAdam: Adam with Nesterov's momentum, which warms up."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import bias_correction, ema_step
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift, zeros
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values


def nadam(
    lr: Hyperparameter = 2e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    momentum_decay: Hyperparameter = 4e-3,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""NAdam, as ``torch.optim.NAdam``.

    With :math:`g_t = \nabla f(p_{t-1}) + \lambda\, p_{t-1}`, and :math:`m_t, v_t` as in `adam`,

    .. math::
        \mu_t = \beta_1 (1 - \tfrac{1}{2}\, 0.96^{t \psi}), \qquad M_t = \prod_{i \le t} \mu_i, \qquad
        p_t = p_{t-1} - \eta_t\, \frac{\frac{1 - \mu_t}{1 - M_t}\, g_t + \frac{\mu_{t+1}}{1 - M_t \mu_{t+1}}\, m_t}
        {\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    The product :math:`M_t` is kept by group.

    Args:
        lr: Learning rate :math:`\eta`, >= 0.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        eps: :math:`\epsilon`, outside the root, >= 0.
        weight_decay: :math:`\lambda`, >= 0.
        momentum_decay: :math:`\psi`, >= 0.
        decoupled_weight_decay: Shrink :math:`p` by :math:`1 - \eta_t \lambda` first, and leave the gradient alone.
        maximize: Climb instead.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. ``optax.nadam`` has no warm-up of the momentum (:math:`\psi \to \infty`).

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``torch/optim/nadam.py``, torch 2.13.0.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.nadam(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.105645
    """
    defaults = {
        "lr": lr,
        "betas": betas,
        "eps": eps,
        "weight_decay": weight_decay,
        "momentum_decay": momentum_decay,
        "decoupled_weight_decay": decoupled_weight_decay,
        "maximize": maximize,
    }
    return lift(_NADAM, defaults, groups, rules)


def _slots(values: Values) -> Mapping[str, SlotStart]:
    del values
    return {"exp_avg": zeros, "exp_avg_sq": zeros}


def _prepare(h: Hypers) -> Mapping[str, jax.Array]:
    beta1, beta2 = h.betas

    def momentum(t: jax.Array) -> jax.Array:
        return beta1.old * (1 - 0.5 * 0.96 ** (t * h.momentum_decay))

    count = h.count.astype(h.lr.dtype)  # which does not overflow
    now, then = momentum(count), momentum(count + 1)
    product = h.mu_product * now
    return {
        "mu_product": product,
        "of_gradient": -h.lr * (1 - now) / (1 - product),
        "of_mean": -h.lr * then / (1 - product * then),
        "square_gathered": bias_correction(beta2, h.count),
    }


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    beta1, beta2 = h.betas
    mean = ema_step(slots["exp_avg"], gradient, beta1)
    square = ema_step(slots["exp_avg_sq"], jnp.square(gradient), beta2)
    root = jnp.sqrt(square / h.square_gathered) + h.eps
    return (h.of_gradient * gradient + h.of_mean * mean) / root, {"exp_avg": mean, "exp_avg_sq": square}


_NADAM = UpdateRule("nadam", _update, _slots, _prepare, shared={"mu_product": 1.0}, averages=("betas",))
