"""Adafactor: second moments by row and column, steps relative to the parameters."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.numerics import ema_step
from jaxsched.optimizers._hyperparameters import (
    AtLeastOne,
    Beta,
    Fraction,
    Groups,
    NonNegative,
    NonPositive,
    OptionalCount,
    Values,
)
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros
from jaxsched.optimizers._values import is_zero


def _slots(values: Values) -> Mapping[str, SlotInit]:
    slots = {"row_var": _mean_over(0), "col_var": _mean_over(1), "variance": _full}
    return slots if is_zero(values["momentum"]) else {**slots, "exp_avg": zeros}


def _axes(shape: tuple[int, ...], least: int | None) -> tuple[int, int] | None:
    """The axes over which rows and columns are averaged, or None if the second moment is kept in full."""
    if len(shape) < 2:
        return None
    if least is None:
        return len(shape) - 1, len(shape) - 2
    *_, second, longest = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return (longest, second) if shape[second] >= least else None


def _mean_over(which: int) -> SlotInit:
    def start(param: jax.Array, values: Values) -> jax.Array:
        axes = _axes(param.shape, values["min_dim_size_to_factor"])
        return jnp.zeros_like(param.mean(axes[which], keepdims=True)) if axes else jnp.zeros((), param.dtype)

    return start


def _full(param: jax.Array, values: Values) -> jax.Array:
    axes = _axes(param.shape, values["min_dim_size_to_factor"])
    return jnp.zeros((), param.dtype) if axes else jnp.zeros_like(param)


def _per_step(h: Hypers) -> Mapping[str, jax.Array]:
    count = h.count.astype(h.lr.dtype)
    new_weight = jnp.maximum(count**h.beta2_decay, h.beta2_cap.new)
    return {"new_weight": new_weight, "limited_lr": jnp.minimum(h.lr, jax.lax.rsqrt(count))}


def _rms(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(jnp.square(x)))


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    eps1, eps2 = h.eps
    smallest = float(jnp.finfo(h.dtype).eps)
    eps1 = smallest if eps1 is None else jnp.where(jnp.isnan(eps1), smallest, eps1)  # NaN: None in this group alone
    added = eps1 if h.eps_in_square else 0.0
    square = jnp.square(gradient) + added
    axes = _axes(gradient.shape, h.min_dim_size_to_factor)
    if axes is None:
        variance = slots["variance"] + h.new_weight * (square - slots["variance"])
        new = {**slots, "variance": variance}
    else:
        row = slots["row_var"] + h.new_weight * (square.mean(axes[0], keepdims=True) - slots["row_var"])
        col = slots["col_var"] + h.new_weight * (square.mean(axes[1], keepdims=True) - slots["col_var"])
        mean = row.mean(axes[1], keepdims=True)
        # With eps1 = 1e-30 the product of row and col underflows: the quotient comes first.
        variance = row / mean * col if h.eps_in_square else row * col / jnp.maximum(mean, eps1)
        new = {**slots, "row_var": row, "col_var": col}
    floor = 0.0 if h.eps_in_square else eps1 * eps1
    direction = gradient / jnp.sqrt(jnp.maximum(variance, floor))
    size = h.limited_lr if h.relative_step else h.lr
    size = jnp.maximum(eps2, _rms(param)) * size if h.scale_parameter else size
    if h.d is not None:
        direction = direction / jnp.fmax(1, _rms(direction) / h.d)  # d is NaN where it is None in this group alone
    if "exp_avg" in slots:
        direction = new["exp_avg"] = ema_step(slots["exp_avg"], direction, h.momentum)
    update = -size * direction
    return update if h.decay == "none" else update - h.lr * h.weight_decay * param, new


def _why_untrainable(shape: tuple[int, ...], dtype: jax.typing.DTypeLike, values: Values) -> str | None:
    del shape, values
    return "is complex" if jnp.issubdtype(dtype, jnp.complexfloating) else None


_ADAFACTOR = UpdateRule(
    _update,
    _slots,
    _per_step,
    averages=("beta2_cap", "momentum"),
    weights={"exp_avg": ("momentum", None)},
    weight_decay="own",
    elementwise=False,
    why_inseparable=lambda values: "it takes the smaller of lr and 1 / sqrt(t)",
    why_untrainable=_why_untrainable,
)


@optimizer(_ADAFACTOR)
def adafactor(
    lr: NonNegative = 1e-2,
    beta2_decay: NonPositive = -0.8,
    eps: tuple[NonNegative | None, NonNegative] = (None, 1e-3),
    d: AtLeastOne | None = 1.0,
    weight_decay: NonNegative = 0.0,
    *,
    maximize: bool = False,
    scale_parameter: bool = True,
    relative_step: bool = True,
    eps_in_square: bool = False,
    beta2_cap: Fraction = 1.0,
    momentum: Beta = 0.0,
    min_dim_size_to_factor: OptionalCount = None,
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Adafactor, as ``torch.optim.Adafactor``.

    At the t-th update, from 1, with rms(x) the root of the mean of the squares of x::

        beta = 1 - t**beta2_decay
        step = max(eps[1], rms(p)) * min(lr, 1 / sqrt(t))
        u = g / sqrt(max(v, eps[0]**2))
        p = p - lr * weight_decay * p - step / max(1, rms(u) / d) * u

    For an array of two axes or more, ``v = R * C / max(mean(R), eps[0])``, where R is the moving average (by beta) of
    the squared gradient's mean over the last axis, and C of that over the axis before. For others v is the moving
    average of the squared gradient itself. The last two axes of a kernel are inputs and outputs in Flax, and of a
    convolution its window in torch.

    With ``scale_parameter=False`` the step is not multiplied by the parameter's rms, and with ``relative_step=False``
    it is lr, not limited by ``1 / sqrt(t)``. With ``eps_in_square`` ``eps[0]`` is added to the squared gradients, and v
    and mean(R) have no other least value. transformers' Trainer steps as ``adafactor(eps=(1e-30, 1e-3),
    scale_parameter=False, relative_step=False, eps_in_square=True)``.

    With ``beta2_cap`` beta is at most that. With ``momentum`` the last term moves by the average
    ``m = momentum * m + (1 - momentum) * u / max(1, rms(u) / d)`` in the place of its quotient, m starting at 0. With
    ``min_dim_size_to_factor`` R and C are means over the longest axis and the second longest, as in optax, and v is
    kept in full where the second longest is shorter than that.

    Args:
        lr: Largest relative step, >= 0.
        beta2_decay: Power of t in beta, <= 0.
        eps: The least root of v, and the least rms of a parameter, each >= 0. None for the first is the distance from 1
            to the next number of the parameter's dtype.
        d: The largest rms of u, >= 1; None for no limit.
        weight_decay: Decoupled, >= 0.
        maximize: Maximize the objective instead of minimizing it.
        scale_parameter: Multiply the step by the rms of the parameter.
        relative_step: Limit lr by ``1 / sqrt(t)``.
        eps_in_square: Add ``eps[0]`` to the squared gradients instead of limiting v.
        beta2_cap: The largest beta, in [0, 1].
        momentum: Decay rate of the average of the updates, in [0, 1). With the number 0 in all groups there is none.
        min_dim_size_to_factor: Shortest axis that is averaged over, > 0; None for the last two axes of any length.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``row_var``, ``col_var``, ``variance``, ``exp_avg``), such as
            "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation. ``optax.adafactor`` factors the two largest axes from a size of 128 on, adds its
        epsilon to the squares, and has no limit of ``1 / sqrt(t)``.

    Raises:
        ValueError: If a number is out of its range, or there is no such group or hyperparameter.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/_adafactor.py``, torch 2.13.0; ``Adafactor`` of transformers 5.23.0. Complex parameters are
    refused, as there.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.adafactor(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
