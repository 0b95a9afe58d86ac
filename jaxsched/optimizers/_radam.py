"""RAdam: Adam that holds back while its second moment is uncertain."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import EmaWeights, bias_correction, ema_step
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
    longest = 2 / beta2.new - 1
    length = 2 * _mean_age(beta2, h.count) - 1
    certain = length > 5
    length = jnp.where(certain, length, 5)  # no root of a negative number, or its gradient would be NaN
    share = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    step_size = -h.lr / bias_correction(beta1, h.count)
    return {
        "step_size": step_size,
        "certain": certain,
        "rectified": step_size * jnp.sqrt(share * bias_correction(beta2, h.count)),
    }


def _mean_age(beta: EmaWeights, count: jax.Array) -> jax.Array:
    """The mean age, from 1, of the values in a moving average: ``1 / (1 - beta) - t * beta**t / (1 - beta**t)``.

    In float32 that difference is all rounding error at first, so the ages of up to 64 values are summed.
    """
    ages = jnp.arange(1, 65, dtype=beta.old.dtype)
    updates = count.astype(beta.old.dtype)
    weights = jnp.where(ages <= updates[..., None], beta.old[..., None] ** (ages - 1), 0)
    few = (ages * weights).sum(-1) / weights.sum(-1)
    share = bias_correction(beta, count)
    return jnp.where(count <= len(ages), few, 1 / beta.new - updates * (1 - share) / share)


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    beta1, beta2 = h.betas
    mean = ema_step(slots["exp_avg"], gradient, beta1)
    square = second_moment(slots["exp_avg_sq"], gradient, beta2)
    step = jnp.where(h.certain, h.rectified / (jnp.sqrt(square) + h.eps), h.step_size)
    return step * mean, {"exp_avg": mean, "exp_avg_sq": square}


_RADAM = UpdateRule(_update, _slots, _per_step, averages=("betas",), weights=MOMENTS)


@optimizer(_RADAM)
def radam(
    lr: NonNegative = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """RAdam, as ``torch.optim.RAdam``.

    At the t-th update, from 1, with m and v as in `adam`::

        g = gradient + weight_decay * p
        longest = 2 / (1 - beta2) - 1
        n = longest - 2 * t * beta2**t / (1 - beta2**t)
        r = sqrt((n - 4) * (n - 2) * longest / ((longest - 4) * (longest - 2) * n))
        d = r * sqrt(1 - beta2**t) / (sqrt(v) + eps) if n > 5 else 1
        p = p - lr * m / (1 - beta1**t) * d

    ``eps`` is added to the root before it is corrected.

    Args:
        lr: Learning rate, >= 0.
        betas: Decay rates of m and v, each in [0, 1).
        eps: Added to the denominator, outside the root; >= 0.
        weight_decay: L2 penalty: ``weight_decay * p`` is added to the gradient; >= 0.
        decoupled_weight_decay: Multiply p by ``1 - lr * weight_decay`` first, and leave the gradient alone.
        maximize: Maximize the objective instead of minimizing it.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``exp_avg``, ``exp_avg_sq``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. ``optax.radam`` adds epsilon after the correction.

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/radam.py``, torch 2.13.0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.radam(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
