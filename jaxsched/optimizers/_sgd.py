"""Stochastic gradient descent, with momentum as torch, as Caffe, or as an average writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import bias_correction as corrected
from jaxsched.numerics import is_host_number
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, NonNegative, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros
from jaxsched.optimizers._values import is_zero
from jaxsched.schedules import Schedule


def _check(groups: Sequence[Values]) -> None:
    """Raise if options contradict each other, as far as the numbers are not traced."""
    for values in groups:
        form, dampening = values["form"], values["dampening"]
        if values["nesterov"] and _is_known(dampening):
            raise ValueError(f"sgd: nesterov needs dampening=0, got dampening={dampening!r}")
        if form != "torch" and _is_known(dampening):
            raise ValueError(f"sgd: dampening needs form='torch', got dampening={dampening!r} and form={form!r}")
        if form != "average" and values["bias_correction"]:
            raise ValueError(f"sgd: bias_correction needs form='average', got form={form!r}")
    if any(values["nesterov"] for values in groups) and all(is_zero(values["momentum"]) for values in groups):
        raise ValueError(f"sgd: nesterov needs a momentum, got momentum={groups[0]['momentum']!r}")


def _is_known(value: Any) -> bool:
    return isinstance(value, Schedule) or (is_host_number(value) and value != 0)


def _slots(values: Values) -> Mapping[str, SlotInit]:
    return {} if is_zero(values["momentum"]) else {"momentum": zeros}


def _per_step(h: Hypers) -> Mapping[str, jax.Array]:
    return {
        # the buffer starts as the gradient itself, and is not there without momentum
        "gain": jnp.where((h.count == 1) | (h.momentum.old == 0), 1, h.dampening.new),
        "corrected_lr": h.lr / corrected(h.momentum, h.count),
    }


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    if "momentum" not in slots:
        return -h.lr * gradient, slots
    gain = {"torch": h.gain, "classic": h.lr, "average": h.momentum.new}[h.form]
    buffer = h.momentum.old * slots["momentum"] + gain * gradient
    waits = (h.momentum.old == 0) & (h.form == "torch")
    buffer = jnp.where(waits, slots["momentum"], buffer)
    # From the new buffer alone: XLA would first copy an old buffer that is read after it is overwritten.
    ahead = gradient if h.form == "torch" else gain * gradient
    direction = h.momentum.old * buffer + ahead if h.nesterov else jnp.where(waits, gain * gradient, buffer)
    if h.form == "classic":
        return -direction, {"momentum": buffer}
    return -(h.corrected_lr if h.bias_correction else h.lr) * direction, {"momentum": buffer}


def _why_inseparable(values: Values) -> str | None:
    return "the buffer of its classic form keeps the lr of each step" if values["form"] == "classic" else None


_SGD = UpdateRule(_update, _slots, _per_step, averages=("momentum", "dampening"), why_inseparable=_why_inseparable)


@optimizer(_SGD, check=_check)
def sgd(
    lr: NonNegative = 1e-3,
    momentum: NonNegative = 0.0,
    dampening: Hyperparameter = 0.0,
    weight_decay: NonNegative = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
    form: Literal["torch", "classic", "average"] = "torch",
    bias_correction: bool = False,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Stochastic gradient descent, as ``torch.optim.SGD``.

    With ``g = gradient + weight_decay * p``, momentum in one of three forms:

    - ``"torch"``: ``b = momentum * b + (1 - dampening) * g`` and ``p = p - lr * b``, with ``b = g`` at the first
      update. The learning rate stays outside the buffer, so a change of it acts on past gradients too, at once. The
      first update is not dampened (in torch the first with a momentum). Where the momentum is 0, b is not changed and
      ``p = p - lr * g``.
    - ``"classic"``: ``b = momentum * b + lr * g`` and ``p = p - b``, as in Caffe and older texts
      (``v = momentum * v - lr * g; w = w + v``). Each gradient keeps the learning rate of its own step.
    - ``"average"``: ``b = momentum * b + (1 - momentum) * g`` and ``p = p - lr * b``; with ``bias_correction``,
      ``b / (1 - momentum**t)`` takes the place of b at the t-th update, as in `adam`.

    Nesterov's look-ahead puts in the place of b, form by form: ``g + momentum * b``, ``lr * g + momentum * b``,
    ``(1 - momentum) * g + momentum * b``.

    When they are the same trajectory, Nesterov's form included: classic is torch's for a constant lr, whatever the
    momentum does short of 0. Average with lr is torch's with ``(1 - momentum) * lr`` for a constant momentum, whatever
    the lr does, and with ``bias_correction`` never. Torch's with ``dampening == momentum`` is the average but for its
    first step. Without momentum all are one.

    With ``decoupled_weight_decay``, p is first multiplied by ``1 - lr * weight_decay`` and g is the gradient (SGDW,
    arXiv:1711.05101): the buffer then holds no decay, and the look-ahead does not repeat it.

    Args:
        lr: Learning rate, >= 0.
        momentum: Momentum, >= 0. The number 0 in all groups keeps no buffer.
        dampening: Of torch's form only.
        weight_decay: Added to the gradient before the momentum, times the parameter, >= 0.
        nesterov: Nesterov's momentum; needs a momentum (a group may set its own to 0) and no dampening.
        maximize: Maximize the objective instead of minimizing it.
        decoupled_weight_decay: Multiply p by ``1 - lr * weight_decay`` first, and leave the gradient alone.
        form: "torch", "classic" or "average".
        bias_correction: Of the average, for its start at 0.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``momentum``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. In torch's form equal to ``optax.sgd(lr, momentum, nesterov)`` where that has the same
        options (it has no dampening, weight decay or groups).

    Raises:
        ValueError: If a number is out of its range, there is no such group or hyperparameter, or options contradict
            each other.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/sgd.py``, torch 2.13.0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js, optax
        >>> tx = js.sgd(lr=0.1, momentum=0.9, weight_decay=5e-4, groups={"bias": dict(weight_decay=0.0)})
        >>> params = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> optax.apply_updates(params, updates)["bias"]
        Array([0.9, 0.9], dtype=float32)
    """
