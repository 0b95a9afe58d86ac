"""LAMB: Adam's direction, with each array's step in proportion to its norm."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import bias_correction as corrected
from jaxsched.optimizers._hyperparameters import Beta, FixedNonNegative, Groups, NonNegative, Positive, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._moments import MOMENTS, second_moment
from jaxsched.optimizers._norm import norm
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros


def _slots(values: Values) -> Mapping[str, SlotInit]:
    del values
    return {"exp_avg": zeros, "exp_avg_sq": zeros}


def _per_step(h: Hypers) -> Mapping[str, jax.Array]:
    beta1, beta2 = h.betas
    return {
        "mean_correction": corrected(beta1, h.count),
        "root_correction": jnp.sqrt(corrected(beta2, h.count)),
    }


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    beta1, beta2 = h.betas
    mean = beta1.old * slots["exp_avg"] + (beta1.new if h.grad_averaging else 1) * gradient
    square = second_moment(slots["exp_avg_sq"], gradient, beta2)
    if h.eps_root:
        square = square + h.eps_root * (jnp.square(h.root_correction) if h.bias_correction else 1)
    of_mean, of_root = (h.mean_correction, h.root_correction) if h.bias_correction else (1, 1)
    direction = mean / of_mean / (jnp.sqrt(square) / of_root + h.eps)
    if h.decay != "none":
        direction = direction + h.weight_decay * param
    if h.decay != "none" or h.always_adapt:
        direction = direction * _trust(param, direction, h)
    return -h.lr * direction, {"exp_avg": mean, "exp_avg_sq": square}


def _trust(param: jax.Array, direction: jax.Array, h: Hypers) -> jax.Array:
    size, length = norm(param), norm(direction)
    usable = (size > 0) & (length > 0)
    if not h.always_adapt:
        usable &= h.weight_decay != 0
    ratio = jnp.where(usable, size / jnp.where(usable, length, 1), 1)
    return jnp.minimum(ratio, 1) if h.trust_clip else ratio


_LAMB = UpdateRule(
    _update,
    _slots,
    _per_step,
    averages=("betas",),
    weights=MOMENTS,
    weight_decay="own",
    max_norm="max_grad_norm",
    elementwise=False,
    why_inseparable=lambda values: "the norm of direction and weight decay together scales its step",
)


@optimizer(_LAMB)
def lamb(
    lr: NonNegative = 1e-3,
    bias_correction: bool = True,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-6,
    weight_decay: NonNegative = 1e-2,
    grad_averaging: bool = True,
    max_grad_norm: Positive | None = 1.0,
    trust_clip: bool = False,
    always_adapt: bool = False,
    *,
    eps_root: FixedNonNegative = None,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """LAMB, as ``timm.optim.Lamb``, which is also MMPretrain's (for MMDetection's backbones) and NVIDIA's FusedLAMB.

    At the t-th update, from 1, with m and v starting at 0, all gradients together clipped to a norm of
    ``max_grad_norm``, and norms over each array as a whole::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        u = m / (1 - beta1**t) / (sqrt(v) / sqrt(1 - beta2**t) + eps) + weight_decay * p
        p = p - lr * norm(p) / norm(u) * u

    The ratio of norms is 1 where either is 0, and in groups without weight decay.

    Args:
        lr: Learning rate, >= 0.
        bias_correction: Divide by ``1 - beta**t``.
        betas: Decay rates of m and v, each in [0, 1).
        eps: Added to the denominator, outside the root; >= 0.
        weight_decay: Added to the direction, times the parameter, >= 0.
        grad_averaging: If False, ``m = beta1 * m + g``.
        max_grad_norm: The largest norm of the gradients of all groups together, frozen ones left out, > 0; None: no
            limit. It is the same for all groups.
        trust_clip: Let the ratio of norms be at most 1.
        always_adapt: Use the ratio of norms without weight decay too.
        eps_root: Added to the corrected v in the root, >= 0 (None: 0). For meta-gradients: without it the derivative of
            an update is NaN where the gradient is 0.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``exp_avg``, ``exp_avg_sq``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. ``optax.lamb`` clips nothing, and takes the ratio without weight decay too.

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``timm/optim/lamb.py``, timm 1.0.31, without its ``caution``, ``decoupled_decay`` and
    ``corrected_weight_decay``.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.lamb(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
