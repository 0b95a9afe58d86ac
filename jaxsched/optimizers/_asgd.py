"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, NonNegative, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule


def _slots(values: Values) -> Mapping[str, SlotInit]:
    del values
    return {"ax": lambda param, values: jnp.array(param)}


def _per_step(h: Hypers) -> Mapping[str, jax.Array]:
    count = h.count.astype(h.lr.dtype)
    return {
        "now": jnp.where(h.count == 1, h.lr, h.eta),
        "share": h.mu,
        "eta": h.lr / (1 + h.lambd * h.lr * count) ** h.alpha,
        "mu": 1 / jnp.maximum(1, count - h.t0),
    }


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    step = -h.now * (h.lambd * param + gradient)
    new = param + step
    return step, {"ax": jnp.where(h.share == 1, new, slots["ax"] + h.share * (new - slots["ax"]))}


_ASGD = UpdateRule(
    _update,
    _slots,
    _per_step,
    shared={"eta": 0.0, "mu": 1.0},
    why_inseparable=lambda values: "its step falls with lambd * lr",
)


def _check(groups: Sequence[Values]) -> None:
    if any(isinstance(values["stacked"], tuple) for values in groups):
        raise ValueError("asgd: stacked must be a bool, got a factor for each layer: eta is kept for the whole group")


@optimizer(_ASGD, check=_check)
def asgd(
    lr: NonNegative = 1e-2,
    lambd: Hyperparameter = 1e-4,
    alpha: NonNegative = 0.75,
    t0: Hyperparameter = 1e6,
    weight_decay: NonNegative = 0.0,
    *,
    maximize: bool = False,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Averaged stochastic gradient descent, as ``torch.optim.ASGD``.

    At the t-th update, from 1, with ``eta = lr`` and ``mu = 1`` at the first::

        g = gradient + weight_decay * p
        p = (1 - lambd * eta) * p - eta * g
        a = a + mu * (p - a)
        eta, mu = lr / (1 + lambd * lr * t)**alpha, 1 / max(1, t - t0)

    A change of the learning rate acts one step late. The averaged parameters a are the parameters themselves until
    update t0; `ema_params` reads them from the state.

    Args:
        lr: Learning rate, >= 0.
        lambd: Decay of the parameters.
        alpha: Power of the decay of the learning rate, >= 0.
        t0: The update at which averaging starts.
        weight_decay: L2 penalty: ``weight_decay * p`` is added to the gradient; >= 0.
        maximize: Maximize the objective instead of minimizing it.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``ax``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. optax has no such optimizer.

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/asgd.py``, torch 2.13.0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.asgd(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.10001
    """
