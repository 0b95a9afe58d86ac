"""Lion: steps of the sign of a momentum."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import ema_step
from jaxsched.optimizers._hyperparameters import Beta, Groups, NonNegative, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros


def _slots(values: Values) -> Mapping[str, SlotInit]:
    del values
    return {"exp_avg": zeros}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    beta1, beta2 = h.betas
    # An infinite gradient makes the average NaN at the next update; torch's sign of NaN is 0, so the parameter stays.
    direction = jnp.sign(jnp.nan_to_num(ema_step(slots["exp_avg"], gradient, beta1)))
    return -h.lr * direction, {"exp_avg": ema_step(slots["exp_avg"], gradient, beta2)}


_LION = UpdateRule(_update, _slots, averages=("betas",), weights={"exp_avg": ("betas", 1)}, weight_decay="decoupled")


@optimizer(_LION)
def lion(
    lr: NonNegative = 1e-4,
    betas: tuple[Beta, Beta] = (0.9, 0.99),
    weight_decay: NonNegative = 0.0,
    *,
    maximize: bool = False,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Lion, as in timm.

    With m starting at 0::

        u = sign(beta1 * m + (1 - beta1) * gradient)
        p = p - lr * weight_decay * p - lr * u
        m = beta2 * m + (1 - beta2) * gradient

    YOLOv9's Lion has the same equations; where ``beta1 * m`` and the gradient cancel, the sign of the rounding error
    may differ.

    Args:
        lr: Learning rate, >= 0.
        betas: Weights of the past in the step and in m, in [0, 1).
        weight_decay: Decoupled, >= 0.
        maximize: Maximize the objective instead of minimizing it.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``exp_avg``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. Equal to ``optax.lion(lr)`` with the same decay, whose default is 1e-3.

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``timm/optim/lion.py``, timm 1.0.31.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.lion(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
