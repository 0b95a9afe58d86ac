"""Rprop: steps whose length follows the signs of the gradient."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.optimizers._hyperparameters import Groups, Growing, Hyperparameter, NonNegative, Shrinking, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros


def _slots(values: Values) -> Mapping[str, SlotInit]:
    del values
    return {"prev": zeros, "step_size": zeros}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    shorter, longer = h.etas
    agreement = gradient * slots["prev"]
    factor = jnp.where(agreement > 0, longer, jnp.where(agreement < 0, shorter, 1))
    size = jnp.clip(jnp.where(h.count == 1, h.lr, slots["step_size"]) * factor, *h.step_sizes)
    gradient = jnp.where(agreement < 0, 0, gradient)
    # Not jnp.sign: that of NaN is NaN, and torch's is 0, so that a NaN leaves the parameter where it is.
    sign = jnp.where(gradient > 0, size, jnp.where(gradient < 0, -size, 0))
    return -sign, {"prev": gradient, "step_size": size}


_RPROP = UpdateRule(_update, _slots, why_inseparable=lambda values: "its lr is only the first length of its steps")


@optimizer(_RPROP)
def rprop(
    lr: NonNegative = 1e-2,
    etas: tuple[Shrinking, Growing] = (0.5, 1.2),
    step_sizes: tuple[Hyperparameter, Hyperparameter] = (1e-6, 50.0),
    *,
    maximize: bool = False,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Resilient backpropagation, as ``torch.optim.Rprop`` (iRprop-).

    With ``s = lr`` before the first update::

        c = sign(g * previous g)
        s = clip(s * (etas[1] if c > 0 else etas[0] if c < 0 else 1), *step_sizes)
        g = 0 where c < 0
        p = p - s * sign(g)

    The learning rate is read at the first update alone: a schedule has no effect after it. For full batches.

    Args:
        lr: The first step, >= 0.
        etas: What a step is multiplied by where the sign changes, between 0 and 1, and where it stays, > 1.
        step_sizes: The smallest and the largest step.
        maximize: Maximize the objective instead of minimizing it.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``prev``, ``step_size``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. ``optax.rprop`` (0.2.8) applies each step one update late.

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/rprop.py``, torch 2.13.0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.rprop(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
