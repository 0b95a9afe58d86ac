"""Adadelta: steps in the units of the parameters."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.optimizers._hyperparameters import Fraction, Groups, NonNegative, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._moments import second_moment
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros


def _slots(values: Values) -> Mapping[str, SlotInit]:
    del values
    return {"square_avg": zeros, "acc_delta": zeros}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    square = second_moment(slots["square_avg"], gradient, h.rho)
    delta = jnp.sqrt(slots["acc_delta"] + h.eps) / jnp.sqrt(square + h.eps) * gradient
    return -h.lr * delta, {"square_avg": square, "acc_delta": second_moment(slots["acc_delta"], delta, h.rho)}


_ADADELTA = UpdateRule(
    _update, _slots, averages=("rho",), weights={"square_avg": ("rho", None), "acc_delta": ("rho", None)}
)


@optimizer(_ADADELTA)
def adadelta(
    lr: NonNegative = 1.0,
    rho: Fraction = 0.9,
    eps: NonNegative = 1e-6,
    weight_decay: NonNegative = 0.0,
    *,
    maximize: bool = False,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Adadelta, as ``torch.optim.Adadelta``.

    With the averages v and u of squares, which start at 0::

        g = gradient + weight_decay * p
        v = rho * v + (1 - rho) * g**2
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d**2
        p = p - lr * d

    Args:
        lr: Learning rate, >= 0.
        rho: Decay rate of both averages, in [0, 1].
        eps: Added inside both roots, >= 0.
        weight_decay: L2 penalty: ``weight_decay * p`` is added to the gradient; >= 0.
        maximize: Maximize the objective instead of minimizing it.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``square_avg``, ``acc_delta``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. Equal to ``optax.adadelta(lr)``.

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/adadelta.py``, torch 2.13.0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.adadelta()
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.003162
    """
