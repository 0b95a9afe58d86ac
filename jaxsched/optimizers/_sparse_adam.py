"""Adam for embeddings: only the rows that have a gradient move."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import bias_correction, ema_step
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift, zeros
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values


def sparse_adam(
    lr: Hyperparameter = 1e-3,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    *,
    maximize: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam that leaves alone the rows without a gradient, as ``torch.optim.SparseAdam``.

    A row, an index of the first axis, is present where any entry of its gradient is not zero (in torch, where it stands
    in the sparse gradient). In the rows that are present, :math:`m_t, v_t` as in `adam`, and

    .. math::
        p_t = p_{t-1} - \eta_t\, \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}\, \frac{m_t}{\sqrt{v_t} + \epsilon}

    The others keep parameter and moments. :math:`t` counts all updates, and :math:`\epsilon` is added to the root
    before it is corrected.

    Args:
        lr: Learning rate :math:`\eta`, >= 0.
        betas: :math:`\beta_1, \beta_2`, each in [0, 1).
        eps: :math:`\epsilon`, >= 0.
        maximize: Climb instead.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. There is no like in optax.

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``torch/optim/sparse_adam.py``, torch 2.13.0.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.sparse_adam(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
    defaults = {
        "lr": lr,
        "betas": betas,
        "eps": eps,
        "maximize": maximize,
    }
    return lift(_SPARSE_ADAM, defaults, groups, rules)


def _slots(values: Values) -> Mapping[str, SlotStart]:
    del values
    return {"exp_avg": zeros, "exp_avg_sq": zeros}


def _prepare(h: Hypers) -> Mapping[str, jax.Array]:
    beta1, beta2 = h.betas
    return {"step_size": -h.lr * jnp.sqrt(bias_correction(beta2, h.count)) / bias_correction(beta1, h.count)}


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    beta1, beta2 = h.betas
    present = jnp.any(gradient != 0, axis=tuple(range(1, gradient.ndim)), keepdims=True)
    mean = ema_step(slots["exp_avg"], gradient, beta1)
    square = ema_step(slots["exp_avg_sq"], jnp.square(gradient), beta2)
    new = {"exp_avg": mean, "exp_avg_sq": square}
    update = h.step_size * mean / (jnp.sqrt(square) + h.eps)
    return jnp.where(present, update, 0), {name: jnp.where(present, new[name], slots[name]) for name in new}


_SPARSE_ADAM = UpdateRule("sparse_adam", _update, _slots, _prepare, averages=("betas",), elementwise=False)
