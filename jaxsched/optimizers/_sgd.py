"""Stochastic gradient descent, with momentum as torch, as Caffe, or as an average writes it."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import bias_correction
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift, zeros
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values, is_zero


def sgd(
    lr: Hyperparameter = 1e-3,
    momentum: Hyperparameter = 0.0,
    dampening: Hyperparameter = 0.0,
    weight_decay: Hyperparameter = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
    form: str = "torch",
    bias_correction: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Stochastic gradient descent, as ``torch.optim.SGD``.

    With :math:`g_t = \nabla f(p_{t-1}) + \lambda\, p_{t-1}`, momentum in one of three forms:

    - ``"torch"``: :math:`b_1 = g_1,\; b_t = \mu_t\, b_{t-1} + (1 - \tau_t)\, g_t,\; p_t = p_{t-1} - \eta_t\, b_t`.
      The learning rate stays outside the buffer, so a change of it acts on past gradients too, at once. The first
      step is not dampened (in torch the first with a momentum). Where :math:`\mu_t` is 0, :math:`b_{t-1}` waits and
      :math:`p_t = p_{t-1} - \eta_t\, g_t`.
    - ``"classic"``: :math:`b_t = \mu_t\, b_{t-1} + \eta_t\, g_t,\; p_t = p_{t-1} - b_t`, as in Caffe and older texts
      (:math:`v = \mu v - \eta g,\; w = w + v`). Each gradient keeps the learning rate of its own step.
    - ``"average"``: :math:`b_t = \mu_t\, b_{t-1} + (1 - \mu_t)\, g_t,\; p_t = p_{t-1} - \eta_t\, b_t`, with
      ``bias_correction`` :math:`b_t / (1 - \mu_t^t)` in the place of :math:`b_t` and its like, as in `adam`.

    Nesterov's look-ahead puts in the place of :math:`b_t`, form by form: :math:`g_t + \mu_t b_t`,
    :math:`\eta_t\, g_t + \mu_t b_t`, :math:`(1 - \mu_t)\, g_t + \mu_t b_t`.

    When they are the same trajectory, Nesterov's form included: classic is torch's for a constant lr, whatever the
    momentum does short of 0. Average with :math:`\eta_t` is torch's with :math:`(1 - \mu)\, \eta_t` for a constant
    momentum, whatever the lr does, and with ``bias_correction`` never. Torch's with a dampening of :math:`\mu` is the
    average but for its first step. Without momentum all are one.

    Args:
        lr: Learning rate :math:`\eta`, >= 0.
        momentum: :math:`\mu`, >= 0. The number 0 in all groups keeps no buffer.
        dampening: :math:`\tau`; of torch's form only.
        weight_decay: :math:`\lambda`, >= 0; added to the gradient before the momentum.
        nesterov: Nesterov's momentum; needs a momentum (a group may set its own to 0) and no dampening.
        maximize: Climb instead.
        form: "torch", "classic" or "average".
        bias_correction: Of the average, for its start at 0.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. In torch's form equal to ``optax.sgd(lr, momentum, nesterov)`` where that has the same
        options (it has no dampening, weight decay or groups).

    Raises:
        ValueError: If a number is out of its range, a group or hyperparameter is not known, or options contradict each
            other.

    Source: ``torch/optim/sgd.py``, torch 2.13.0.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js, optax
        >>> tx = js.sgd(lr=0.1, momentum=0.9, weight_decay=5e-4, groups={"bias": dict(weight_decay=0.0)})
        >>> params = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> optax.apply_updates(params, updates)["bias"]
        Array([0.9, 0.9], dtype=float32)
    """
    defaults = {
        "lr": lr,
        "momentum": momentum,
        "dampening": dampening,
        "weight_decay": weight_decay,
        "nesterov": nesterov,
        "maximize": maximize,
        "form": form,
        "bias_correction": bias_correction,
    }
    tx = lift(_SGD, defaults, groups, rules)
    by_group = [defaults, *({**defaults, **own} for own in (groups or {}).values() if own)]
    for values in by_group:
        _check(values)
    if any(values["nesterov"] for values in by_group) and all(is_zero(values["momentum"]) for values in by_group):
        raise ValueError(f"sgd: nesterov needs a momentum, got momentum={momentum!r}")
    return tx


def _check(values: Values) -> None:
    form, dampening = values["form"], values["dampening"]
    if values["nesterov"] and not is_zero(dampening):
        raise ValueError(f"sgd: nesterov goes without dampening, got dampening={dampening!r}")
    if form != "torch" and not is_zero(dampening):
        raise ValueError(f"sgd: only torch's form has a dampening, got dampening={dampening!r} and form={form!r}")
    if form != "average" and values["bias_correction"]:
        raise ValueError(f"sgd: only the average has a bias_correction, got form={form!r}")


def _slots(values: Values) -> Mapping[str, SlotStart]:
    return {} if is_zero(values["momentum"]) else {"momentum": zeros}


def _prepare(h: Hypers) -> Mapping[str, jax.Array]:
    return {
        # the buffer starts as the gradient itself, and is not there without momentum
        "gain": jnp.where((h.count == 1) | (h.momentum.old == 0), 1, h.dampening.new),
        "corrected_lr": h.lr / bias_correction(h.momentum, h.count),
    }


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    if "momentum" not in slots:
        return -h.lr * gradient, slots
    dampened = h.form == "torch" and not h.nesterov
    gain = {"torch": h.gain if dampened else 1, "classic": h.lr, "average": h.momentum.new}[h.form]
    buffer = h.momentum.old * slots["momentum"] + gain * gradient
    waits = (h.momentum.old == 0) & (h.form == "torch")
    buffer = jnp.where(waits, slots["momentum"], buffer)
    # From the new buffer alone: what reads the old one too has it copied first.
    direction = h.momentum.old * buffer + gain * gradient if h.nesterov else jnp.where(waits, gain * gradient, buffer)
    if h.form == "classic":
        return -direction, {"momentum": buffer}
    return -(h.corrected_lr if h.bias_correction else h.lr) * direction, {"momentum": buffer}


_SGD = UpdateRule("sgd", _update, _slots, _prepare, averages=("momentum", "dampening"))
