"""Adafactor: second moments by row and column, steps relative to the parameters."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import Rules
from jaxsched.optimizers._driver import Hypers, Slots, SlotStart, UpdateRule, lift
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, Values


def adafactor(
    lr: Hyperparameter = 1e-2,
    beta2_decay: Hyperparameter = -0.8,
    eps: tuple[Hyperparameter | None, Hyperparameter] = (None, 1e-3),
    d: Hyperparameter = 1.0,
    weight_decay: Hyperparameter = 0.0,
    *,
    maximize: bool = False,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adafactor, as ``torch.optim.Adafactor``.

    With :math:`\operatorname{rms}(x) = \|x\| / \sqrt{n}` and :math:`\beta_t = 1 - t^{\,\kappa}`,

    .. math::
        \alpha_t = \max(\epsilon_2, \operatorname{rms}(p_{t-1})) \cdot \min(\eta_t, 1 / \sqrt{t}), \qquad
        u_t = \frac{g_t}{\sqrt{\max(v_t, \epsilon_1^2)}}, \qquad
        p_t = (1 - \eta_t \lambda)\, p_{t-1} - \frac{\alpha_t}{\max(1, \operatorname{rms}(u_t) / d)}\, u_t

    For an array with two axes or more, :math:`v_t = R_t C_t / \max(\bar R_t, \epsilon_1)` with the moving averages (by
    :math:`\beta_t`) of the squared gradients' means over the last axis, :math:`R`, and over the one before, :math:`C`;
    for others :math:`v_t` is the moving average itself. The last two axes of a kernel are inputs and outputs in
    Flax, and of a convolution its window in torch.

    Args:
        lr: Largest relative step :math:`\eta`, >= 0.
        beta2_decay: :math:`\kappa`, <= 0.
        eps: :math:`\epsilon_1, \epsilon_2`; None is the distance of 1 from the next number of the parameter's dtype.
        d: Where the update's rms is clipped, >= 1.
        weight_decay: :math:`\lambda`, >= 0, decoupled.
        maximize: Climb instead.
        groups: For a group's name what it overrides, or None to freeze it.
        rules: Pairs of a match and a group name; by role (``bias``, ``norm``, ``weight``) where left out.

    Returns:
        An optax transformation. ``optax.adafactor`` factors the two largest axes from a size of 128 on, adds its
        epsilon to the squares, and has no limit of :math:`1 / \sqrt{t}`.

    Raises:
        ValueError: If a number is out of its range, or a group or hyperparameter is not known.

    Source: ``torch/optim/_adafactor.py``, torch 2.13.0. Complex parameters are refused, as there.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.adafactor(lr=0.1)
        >>> params = {"kernel": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6)
        -0.1
    """
    defaults = {
        "lr": lr,
        "beta2_decay": beta2_decay,
        "eps": eps,
        "d": d,
        "weight_decay": weight_decay,
        "maximize": maximize,
    }
    return lift(_ADAFACTOR, defaults, groups, rules)


def _slots(values: Values) -> Mapping[str, SlotStart]:
    del values
    return {"row_var": _mean_over(-1), "col_var": _mean_over(-2), "variance": _whole}


def _mean_over(axis: int) -> SlotStart:
    def start(param: jax.Array, values: Values) -> jax.Array:
        del values
        return jnp.zeros_like(param.mean(axis, keepdims=True)) if param.ndim > 1 else jnp.zeros((), param.dtype)

    return start


def _whole(param: jax.Array, values: Values) -> jax.Array:
    del values
    return jnp.zeros_like(param) if param.ndim < 2 else jnp.zeros((), param.dtype)


def _prepare(h: Hypers) -> Mapping[str, jax.Array]:
    count = h.count.astype(h.lr.dtype)
    return {"new_share": count**h.beta2_decay, "relative_lr": jnp.minimum(h.lr, jax.lax.rsqrt(count))}


def _rms(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(jnp.square(x)))


def _update(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    eps1, eps2 = h.eps
    smallest = jnp.finfo(h.dtype).eps
    eps1 = smallest if eps1 is None else jnp.where(jnp.isnan(eps1), smallest, eps1)
    square = jnp.square(gradient)
    if gradient.ndim < 2:
        variance = slots["variance"] + h.new_share * (square - slots["variance"])
        new = {**slots, "variance": variance}
    else:
        row = slots["row_var"] + h.new_share * (square.mean(-1, keepdims=True) - slots["row_var"])
        col = slots["col_var"] + h.new_share * (square.mean(-2, keepdims=True) - slots["col_var"])
        variance = row * col / jnp.maximum(row.mean(-2, keepdims=True), eps1)
        new = {**slots, "row_var": row, "col_var": col}
    direction = gradient / jnp.sqrt(jnp.maximum(variance, eps1 * eps1))
    size = jnp.maximum(eps2, _rms(param)) * h.relative_lr
    update = -size / jnp.maximum(1, _rms(direction) / h.d) * direction
    return update if h.decay == "none" else update - h.lr * h.weight_decay * param, new


def _refuses(shape: tuple[int, ...], dtype: jax.typing.DTypeLike, values: Values) -> str | None:
    del shape, values
    return "is complex" if jnp.issubdtype(dtype, jnp.complexfloating) else None


_ADAFACTOR = UpdateRule("adafactor", _update, _slots, _prepare, weight_decay="own", elementwise=False, refuses=_refuses)
