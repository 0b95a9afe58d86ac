"""Adam and its decoupled form, AdamW."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import bias_correction, ema_step
from jaxsched.optimizers._hyperparameters import Beta, FixedNonNegative, Groups, NonNegative, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._moments import MOMENTS, second_moment
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros


def _slots(values: Values) -> Mapping[str, SlotInit]:
    slots = {"exp_avg": zeros, "exp_avg_sq": zeros}
    return {**slots, "max_exp_avg_sq": zeros} if values["amsgrad"] else slots


def _per_step(h: Hypers) -> Mapping[str, jax.Array]:
    beta1, beta2 = h.betas
    return {
        "step_size": -h.lr / bias_correction(beta1, h.count),
        "root_correction": jnp.sqrt(bias_correction(beta2, h.count)),
    }


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    beta1, beta2 = h.betas
    mean = ema_step(slots["exp_avg"], gradient, beta1)
    square = second_moment(slots["exp_avg_sq"], gradient, beta2)
    new = {**slots, "exp_avg": mean, "exp_avg_sq": square}
    if h.amsgrad:
        square = new["max_exp_avg_sq"] = jnp.maximum(slots["max_exp_avg_sq"], square)
    if h.eps_root:  # of the corrected moment, as in optax
        square = square + h.eps_root * jnp.square(h.root_correction)
    return h.step_size * mean / (jnp.sqrt(square) / h.root_correction + h.eps), new


_ADAM = UpdateRule(_update, _slots, _per_step, averages=("betas",), weights=MOMENTS)


@optimizer(_ADAM)
def adam(
    lr: NonNegative = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
    eps_root: FixedNonNegative = None,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Adam, as ``torch.optim.Adam``.

    At the t-th update, from 1, with m and v starting at 0::

        g = gradient + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr / (1 - beta1**t) * m / (sqrt(v) / sqrt(1 - beta2**t) + eps)

    With ``amsgrad``, v in the last line is the largest so far, before its correction (optax takes the largest of the
    corrected ones). With ``decoupled_weight_decay``, p is first multiplied by ``1 - lr * weight_decay`` and the
    gradient is left alone. A scheduled beta corrects with its present value to the power t, as torch does.

    Args:
        lr: Learning rate, >= 0.
        betas: Decay rates of m and v, each in [0, 1).
        eps: Added to the denominator, outside the root; >= 0.
        weight_decay: L2 penalty: ``weight_decay * p`` is added to the gradient; >= 0.
        amsgrad: Divide by the largest second moment so far.
        maximize: Maximize the objective instead of minimizing it.
        decoupled_weight_decay: As `adamw`.
        eps_root: Added to the corrected v in the root, >= 0 (None: 0). For meta-gradients: without it the derivative of
            an update is NaN where the gradient is 0.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``exp_avg``, ``exp_avg_sq``, ``max_exp_avg_sq``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. Without amsgrad equal to ``optax.adam`` (which has no weight decay and no groups).

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/adam.py``, torch 2.13.0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.adam(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """


@optimizer(_ADAM, decoupled_weight_decay=True)
def adamw(
    lr: NonNegative = 1e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    eps_root: FixedNonNegative = None,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Adam with decoupled weight decay, as ``torch.optim.AdamW``: `adam` with ``decoupled_weight_decay=True``.

    At the t-th update, from 1, with m and v starting at 0 and g the gradient::

        p = p * (1 - lr * weight_decay)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr / (1 - beta1**t) * m / (sqrt(v) / sqrt(1 - beta2**t) + eps)

    Equal to ``optax.adamw`` with the same weight decay (its default is 1e-4), but for amsgrad.

    Args:
        lr: Learning rate, >= 0.
        betas: Decay rates of m and v, each in [0, 1).
        eps: Added to the denominator, outside the root; >= 0.
        weight_decay: Share of the parameter that an update with lr 1 takes away, >= 0.
        amsgrad: Divide by the largest second moment so far.
        maximize: Maximize the objective instead of minimizing it.
        eps_root: Added to the corrected v in the root, >= 0 (None: 0).
        stacked: Whether the first axis of the arrays is a stack of layers.
        state_dtype: Dtype of slots, by name.
        groups: The hyperparameters that each group overrides.
        rules: Pairs of a match and a group name.

    Raises:
        ValueError, TypeError: As `adam`.

    Source: ``torch/optim/adamw.py``, torch 2.13.0.

    Examples:
        >>> import jaxsched as js
        >>> tx = js.adamw(lr=js.cosine(1e-3, steps=1000), groups={"bias": dict(weight_decay=0.0)})
    """
