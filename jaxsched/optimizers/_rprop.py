"""Rprop: steps whose length follows the signs of the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import is_host_number
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift, zeros
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values


def rprop(
    lr: Hyperparameter = 1e-2,
    etas: tuple[Hyperparameter, Hyperparameter] = (0.5, 1.2),
    step_sizes: tuple[Hyperparameter, Hyperparameter] = (1e-6, 50.0),
    *,
    maximize: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Resilient backpropagation, as ``torch.optim.Rprop`` (iRprop-).

    With :math:`c_t = \operatorname{sign}(g_t\, g_{t-1})`, :math:`s_0 = \eta_1` and :math:`g_0 = 0`,

    .. math::
        s_t = \operatorname{clip}(s_{t-1} \cdot (\eta^+, 1, \eta^-)_{c_t},\; s_{\min}, s_{\max}), \qquad
        g_t \leftarrow 0 \text{ where } c_t < 0, \qquad p_t = p_{t-1} - s_t \operatorname{sign}(g_t)

    The learning rate is only read at the first update: a schedule has no effect beyond it. For full batches.

    Args:
        lr: :math:`\eta_1`, the first step, >= 0.
        etas: :math:`\eta^-, \eta^+`, what a step is multiplied by: 0 < :math:`\eta^-` < 1 < :math:`\eta^+`.
        step_sizes: :math:`s_{\min}, s_{\max}`.
        maximize: Climb instead.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. ``optax.rprop`` (0.2.8) applies each step one update late.

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``torch/optim/rprop.py``, torch 2.13.0.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.rprop(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
    defaults = {
        "lr": lr,
        "etas": etas,
        "step_sizes": step_sizes,
        "maximize": maximize,
    }
    tx = lift(_RPROP, defaults, groups, rules)
    for own in (defaults, *(groups or {}).values()):
        _check((own or {}).get("etas"))
    return tx


def _check(etas: Any) -> None:
    if etas is not None and all(map(is_host_number, etas)) and not 0 < etas[0] < 1 < etas[1]:
        raise ValueError(f"rprop: etas must be one between 0 and 1 and one above 1, got {etas!r}")


def _slots(values: Values) -> Mapping[str, SlotStart]:
    del values
    return {"prev": zeros, "step_size": zeros}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    shorter, longer = h.etas
    agreement = gradient * slots["prev"]
    factor = jnp.where(agreement > 0, longer, jnp.where(agreement < 0, shorter, 1))
    size = jnp.clip(jnp.where(h.count == 1, h.lr, slots["step_size"]) * factor, *h.step_sizes)
    gradient = jnp.where(agreement < 0, 0, gradient)
    return -jnp.sign(gradient) * size, {"prev": gradient, "step_size": size}


_RPROP = UpdateRule("rprop", _update, _slots)
