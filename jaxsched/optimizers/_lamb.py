"""LAMB: Adam's direction, with each array's step in proportion to its norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import bias_correction
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift, zeros
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values, check
from jaxsched.schedules import value_at


def lamb(
    lr: Hyperparameter = 1e-3,
    bias_correction: bool = True,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter = 1e-2,
    grad_averaging: bool = True,
    max_grad_norm: Hyperparameter | None = 1.0,
    trust_clip: bool = False,
    always_adapt: bool = False,
    *,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""LAMB, as ``timm.optim.Lamb``, which is also MMPretrain's (for MMDetection's backbones) and NVIDIA's FusedLAMB.

    With all gradients together clipped to a norm of ``max_grad_norm``,

    .. math::
        m_t = \beta_1 m_{t-1} + (1 - \beta_1)\, g_t, \qquad v_t = \beta_2 v_{t-1} + (1 - \beta_2)\, g_t^2, \\
        u_t = \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t} / \sqrt{1 - \beta_2^t} + \epsilon} + \lambda\, p_{t-1}, \qquad
        p_t = p_{t-1} - \eta_t\, \frac{\|p_{t-1}\|}{\|u_t\|}\, u_t

    over each array as a whole. The ratio of norms is 1 where either is 0, and in groups without weight decay.

    Args:
        lr: Learning rate :math:`\eta`, >= 0.
        bias_correction: Divide by :math:`1 - \beta^t`.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        eps: :math:`\epsilon`, outside the root, >= 0.
        weight_decay: :math:`\lambda`, >= 0.
        grad_averaging: If not, :math:`m_t = \beta_1 m_{t-1} + g_t`.
        max_grad_norm: The largest norm of all gradients together, the same for all groups; None: no limit.
        trust_clip: Let the ratio of norms be at most 1.
        always_adapt: Use the ratio of norms without weight decay too.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. ``optax.lamb`` clips nothing, and takes the ratio without weight decay too.

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``timm/optim/lamb.py``, timm 1.0.31, without its ``caution``, ``decoupled_decay`` and
    ``corrected_weight_decay``.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.lamb(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
    defaults = {
        "lr": lr,
        "bias_correction": bias_correction,
        "betas": betas,
        "eps": eps,
        "weight_decay": weight_decay,
        "grad_averaging": grad_averaging,
        "trust_clip": trust_clip,
        "always_adapt": always_adapt,
    }
    tx = lift(_LAMB, defaults, groups, rules)
    return tx if max_grad_norm is None else _clipped(tx, max_grad_norm)


def _clipped(tx: optax.GradientTransformationExtraArgs, limit: Hyperparameter) -> optax.GradientTransformationExtraArgs:
    """``tx`` with all gradients together clipped first; its state as it is."""
    check("lamb", "max_grad_norm", limit)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        step = extra.get("step")
        norm = optax.tree.norm(jax.tree.map(lambda g: g.astype(jnp.promote_types(g.dtype, jnp.float32)), updates))
        excess = jnp.maximum(norm / value_at(limit, state.count if step is None else step), 1)
        clipped = jax.tree.map(lambda g: (g / excess).astype(g.dtype), updates)
        return tx.update(clipped, state, params, **extra)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def _slots(values: Values) -> Mapping[str, SlotStart]:
    del values
    return {"exp_avg": zeros, "exp_avg_sq": zeros}


def _prepare(h: Hypers) -> Mapping[str, jax.Array]:
    beta1, beta2 = h.betas
    return {
        "mean_gathered": bias_correction(beta1, h.count),
        "root_gathered": jnp.sqrt(bias_correction(beta2, h.count)),
    }


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    beta1, beta2 = h.betas
    mean = beta1.old * slots["exp_avg"] + (beta1.new if h.grad_averaging else 1) * gradient
    square = beta2.old * slots["exp_avg_sq"] + beta2.new * jnp.square(gradient)
    of_mean, of_root = (h.mean_gathered, h.root_gathered) if h.bias_correction else (1, 1)
    direction = mean / of_mean / (jnp.sqrt(square) / of_root + h.eps)
    if h.decay != "none":
        direction = direction + h.weight_decay * param
    if h.decay != "none" or h.always_adapt:
        direction = direction * _trust(param, direction, h)
    return -h.lr * direction, {"exp_avg": mean, "exp_avg_sq": square}


def _trust(param: jax.Array, direction: jax.Array, h: Hypers) -> jax.Array:
    size, length = jnp.linalg.norm(param.ravel()), jnp.linalg.norm(direction.ravel())
    usable = (size > 0) & (length > 0)
    if not h.always_adapt:
        usable &= h.weight_decay != 0
    ratio = jnp.where(usable, size / jnp.where(usable, length, 1), 1)
    return jnp.minimum(ratio, 1) if h.trust_clip else ratio


_LAMB = UpdateRule("lamb", _update, _slots, _prepare, averages=("betas",), weight_decay="own", elementwise=False)
