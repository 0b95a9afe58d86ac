"""LARS: stochastic gradient descent with a learning rate for each array, by the ratio of its norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, NonNegative, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._norm import norm
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros
from jaxsched.optimizers._values import is_zero


def _check(groups: Sequence[Values]) -> None:
    for values in groups:
        if values["nesterov"] and not is_zero(values["dampening"]):
            raise ValueError(f"lars: nesterov needs dampening=0, got dampening={values['dampening']!r}")
        if values["nesterov"] and is_zero(values["momentum"]):
            raise ValueError(f"lars: nesterov needs a momentum, got momentum={values['momentum']!r}")


def _slots(values: Values) -> Mapping[str, SlotInit]:
    return {} if is_zero(values["momentum"]) else {"momentum": zeros}


def _per_step(h: Hypers) -> Mapping[str, jax.Array]:
    # the buffer starts as the first step itself
    return {"gain": jnp.where((h.count == 1) | (h.momentum.old == 0), 1, h.dampening.new)}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    step = h.lr * (gradient + h.weight_decay * param)
    if not h.lars_exclude:
        step = _ratio(gradient, param, h) * step
    if "momentum" not in slots:
        return -step, slots
    buffer = h.momentum.old * slots["momentum"] + h.gain * step
    waits = h.momentum.old == 0
    buffer = jnp.where(waits, slots["momentum"], buffer)
    ahead = step + h.momentum.old * buffer if h.nesterov else buffer
    return -jnp.where(waits, step, ahead), {"momentum": buffer}


def _ratio(gradient: jax.Array, param: jax.Array, h: Hypers) -> jax.Array:
    size, slope = norm(param), norm(gradient)
    usable = (size != 0) & (slope != 0)  # true of NaN, which spreads as in the original
    below = jnp.where(usable, slope + h.weight_decay * size + h.eps, 1)
    return jnp.where(usable, h.eta * size / below, 1)


_LARS = UpdateRule(
    _update,
    _slots,
    _per_step,
    averages=("momentum", "dampening"),
    weight_decay="own",
    elementwise=False,
    why_inseparable=lambda values: "its buffer keeps the lr of each step",
)


@optimizer(_LARS, check=_check)
def lars(
    lr: NonNegative = 1e-3,
    momentum: NonNegative = 0.0,
    weight_decay: NonNegative = 0.0,
    dampening: Hyperparameter = 0.0,
    eta: NonNegative = 1e-3,
    nesterov: bool = False,
    eps: NonNegative = 1e-8,
    lars_exclude: bool = False,
    *,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """LARS, as MMPretrain and MMSelfSup have it: SGD whose step on each array is in proportion to the array's norm.

    With norms over each array as a whole::

        ratio = eta * norm(p) / (norm(g) + weight_decay * norm(p) + eps)
        b = momentum * b + (1 - dampening) * ratio * lr * (g + weight_decay * p)
        p = p - b

    The first b is not dampened. The learning rate is inside b, so each gradient keeps that of its own step. The ratio
    is 1 where either norm is 0, and in groups with ``lars_exclude``.

    Args:
        lr: Learning rate, >= 0. The original has no default.
        momentum: Momentum, >= 0. The number 0 in all groups keeps no buffer.
        weight_decay: L2 penalty: ``weight_decay * p`` is added to the gradient; >= 0.
        dampening: Of the momentum.
        eta: The trust coefficient, >= 0.
        nesterov: Nesterov's momentum, with ``ratio * lr * (g + weight_decay * p) + momentum * b`` in place of b; needs
            a momentum and no dampening.
        eps: Added to the denominator of the ratio, >= 0.
        lars_exclude: Take plain steps, with a ratio of 1: for groups of biases and norms.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``momentum``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. ``optax.lars`` leaves ``weight_decay * norm(p)`` out of the denominator and takes its
        ratio of the decayed gradient.

    Raises:
        ValueError: If a number is out of its range, there is no such group or hyperparameter, or options contradict
            each other.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``mmpretrain/engine/optimizers/lars.py``, MMPretrain 1.2.0; that of MMSelfSup 0.11.0 is the same.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.lars(lr=0.1, eta=0.5)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update({"kernel": 4 * jnp.ones(2)}, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.05
    """
