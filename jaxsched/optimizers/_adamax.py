"""Adamax: Adam with the largest gradient in the place of the root mean square."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import bias_correction, ema_step
from jaxsched.optimizers._hyperparameters import Beta, Groups, NonNegative, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros


def _slots(values: Values) -> Mapping[str, SlotInit]:
    del values
    return {"exp_avg": zeros, "exp_inf": zeros}


def _per_step(h: Hypers) -> Mapping[str, jax.Array]:
    return {"step_size": -h.lr / bias_correction(h.betas[0], h.count)}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    beta1, beta2 = h.betas
    mean = ema_step(slots["exp_avg"], gradient, beta1)
    largest = jnp.maximum(beta2.old * slots["exp_inf"], jnp.abs(gradient) + h.eps)
    return h.step_size * mean / largest, {"exp_avg": mean, "exp_inf": largest}


_ADAMAX = UpdateRule(
    _update, _slots, _per_step, averages=("betas",), weights={"exp_avg": ("betas", 0), "exp_inf": ("betas", 1)}
)


@optimizer(_ADAMAX)
def adamax(
    lr: NonNegative = 2e-3,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    *,
    maximize: bool = False,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Adamax, as ``torch.optim.Adamax``.

    At the t-th update, from 1, with m and u starting at 0::

        g = gradient + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, abs(g) + eps)
        p = p - lr / (1 - beta1**t) * m / u

    Args:
        lr: Learning rate, >= 0.
        betas: Decay rates of m and u, each in [0, 1).
        eps: Added to the magnitude of each gradient, >= 0.
        weight_decay: L2 penalty: ``weight_decay * p`` is added to the gradient; >= 0.
        maximize: Maximize the objective instead of minimizing it.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``exp_avg``, ``exp_inf``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. Equal to ``optax.adamax`` (which has no weight decay; that of ``optax.adamaxw`` is
        decoupled).

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/adamax.py``, torch 2.13.0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.adamax(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
