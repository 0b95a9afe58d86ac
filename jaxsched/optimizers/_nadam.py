"""NAdam: Adam with Nesterov's momentum, which warms up."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import bias_correction, ema_step
from jaxsched.optimizers._hyperparameters import Beta, Groups, NonNegative, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._moments import MOMENTS, second_moment
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros


def _slots(values: Values) -> Mapping[str, SlotInit]:
    del values
    return {"exp_avg": zeros, "exp_avg_sq": zeros}


def _per_step(h: Hypers) -> Mapping[str, jax.Array]:
    beta1, beta2 = h.betas

    def momentum(t: jax.Array) -> jax.Array:
        return beta1.old * (1 - 0.5 * 0.96 ** (t * h.momentum_decay))

    count = h.count.astype(h.lr.dtype)  # the int32 count + 1 would overflow at its end
    now, then = momentum(count), momentum(count + 1)
    product = h.mu_product * now
    return {
        "mu_product": product,
        "of_gradient": -h.lr * (1 - now) / (1 - product),
        "of_mean": -h.lr * then / (1 - product * then),
        "square_correction": bias_correction(beta2, h.count),
    }


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    beta1, beta2 = h.betas
    mean = ema_step(slots["exp_avg"], gradient, beta1)
    square = second_moment(slots["exp_avg_sq"], gradient, beta2)
    root = jnp.sqrt(square / h.square_correction) + h.eps
    return (h.of_gradient * gradient + h.of_mean * mean) / root, {"exp_avg": mean, "exp_avg_sq": square}


_NADAM = UpdateRule(_update, _slots, _per_step, shared={"mu_product": 1.0}, averages=("betas",), weights=MOMENTS)


@optimizer(_NADAM)
def nadam(
    lr: NonNegative = 2e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    momentum_decay: NonNegative = 4e-3,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """NAdam, as ``torch.optim.NAdam``.

    At the t-th update, from 1, with m and v as in `adam`::

        g = gradient + weight_decay * p
        mu(t) = beta1 * (1 - 0.5 * 0.96**(t * momentum_decay))
        M = mu(1) * mu(2) * ... * mu(t)
        d = (1 - mu(t)) / (1 - M) * g + mu(t + 1) / (1 - M * mu(t + 1)) * m
        p = p - lr * d / (sqrt(v / (1 - beta2**t)) + eps)

    The product M is kept by group.

    Args:
        lr: Learning rate, >= 0.
        betas: Decay rates of m and v, each in [0, 1).
        eps: Added to the denominator, outside the root; >= 0.
        weight_decay: L2 penalty: ``weight_decay * p`` is added to the gradient; >= 0.
        momentum_decay: How fast the momentum warms up, >= 0.
        decoupled_weight_decay: Multiply p by ``1 - lr * weight_decay`` first, and leave the gradient alone.
        maximize: Maximize the objective instead of minimizing it.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``exp_avg``, ``exp_avg_sq``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. ``optax.nadam`` has no warm-up of the momentum (an infinite ``momentum_decay``).

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/nadam.py``, torch 2.13.0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.nadam(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.105645
    """
