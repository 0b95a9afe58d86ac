"""Muon: momentum whose singular values are made equal, alone and beside SGD."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxsched.checks import short
from jaxsched.groups import Rules
from jaxsched.numerics import ema_step, is_host_number, is_whole, replicate, reshard_like
from jaxsched.optimizers._hyperparameters import Groups, Hyperparameter, NonNegative, SmallCount, Values
from jaxsched.optimizers._layout import Stacked, StateDtype
from jaxsched.optimizers._optimizer import optimizer
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule, zeros

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
Dtype = Literal["bfloat16", "float16", "float32", "float64"]
Axes = tuple[int, ...]


def _orthogonal(matrix: jax.Array, divisor: jax.Array, coefficients: Any, steps: int, dtype: Any) -> jax.Array:
    """The matrices with singular values of about 1. ``divisor`` is at least the largest of them."""
    a, b, c = (jnp.asarray(number, matrix.dtype) for number in coefficients)  # as they are: not rounded to dtype
    tall = matrix.shape[-2] > matrix.shape[-1]
    wide = functools.partial(jax.lax.convert_element_type, new_dtype=matrix.dtype)
    x = _rounded(wide(_rounded(matrix, dtype)) / wide(_rounded(divisor, dtype)), dtype)
    x = x.mT if tall else x
    product = functools.partial(jnp.matmul, preferred_element_type=matrix.dtype)  # rounded once, as torch's addmm is
    for _ in range(steps):
        gram = _rounded(product(x, x.mT), dtype)
        polynomial = _rounded(b * wide(gram) + c * product(gram, gram), dtype)
        x = _rounded(a * wide(x) + product(polynomial, x), dtype)
    return wide(x.mT if tall else x)


def _rounded(x: jax.Array, dtype: Any) -> jax.Array:
    """In ``dtype``. A mere ``astype`` there and back XLA leaves out, and is then not where torch is."""
    kind = jnp.finfo(dtype)
    return jax.lax.reduce_precision(x, kind.nexp, kind.nmant).astype(dtype)


def _norm(matrix: jax.Array, dtype: Any) -> jax.Array:
    norm = jnp.linalg.norm(_rounded(matrix, dtype).astype(matrix.dtype), axis=(-2, -1), keepdims=True)
    return _rounded(norm, dtype).astype(matrix.dtype)  # as torch's is, before an epsilon comes to it


_RATIOS = {
    None: lambda rows, columns: max(1.0, rows / columns) ** 0.5,
    "original": lambda rows, columns: max(1.0, rows / columns) ** 0.5,
    "match_rms_adamw": lambda rows, columns: 0.2 * max(rows, columns) ** 0.5,
}


def _direction(gradient: jax.Array, buffer: jax.Array, h: Hypers) -> tuple[jax.Array, jax.Array]:
    """The momentum's direction and its buffer, an average that starts at 0."""
    buffer = ema_step(buffer, gradient, h.momentum)
    return gradient + h.momentum.old * (buffer - gradient) if h.nesterov else buffer, buffer


def _update_muon(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    del param
    direction, buffer = _direction(gradient, slots["momentum"], h)
    matrices, back = replicate(direction), None
    if h.dimension_numbers:
        matrices, back = _matrices(matrices, *h.dimension_numbers)
    divisor = jnp.maximum(_norm(matrices, h.ns_dtype), h.eps)
    rows, columns = matrices.shape[-2:] if h.outputs == "first" else matrices.shape[:-3:-1]
    update = _orthogonal(matrices, divisor, h.ns_coefficients, h.ns_steps, h.ns_dtype)
    update = reshard_like(back(update) if back else update, gradient)
    return -h.lr * _RATIOS[h.adjust_lr_fn](rows, columns) * update, {"momentum": buffer}


def _matrices(x: jax.Array, inputs: Axes, outputs: Axes) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
    """A kernel as a stack of matrices, [..., outputs, inputs], and what turns such a stack into a kernel."""
    ins, outs = ([axis % x.ndim for axis in axes] for axes in (inputs, outputs))
    order = (*(axis for axis in range(x.ndim) if axis not in (*ins, *outs)), *outs, *ins)
    turned = x.transpose(order)
    sizes = turned.shape[: x.ndim - len(ins) - len(outs)]
    rows = math.prod(x.shape[axis] for axis in outs)
    matrices = turned.reshape(*sizes, rows, math.prod(x.shape[axis] for axis in ins))
    return matrices, lambda y: y.reshape(turned.shape).transpose(np.argsort(order))


def _update_musgd(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
    new, moved_by, share = {**slots}, 0.0, 1.0
    if h.use_muon:
        direction, new["muon_momentum"] = _direction(gradient, slots["muon_momentum"], h)
        in_torch = _torch_axes(direction.ndim) if h.outputs == "last" else tuple(range(direction.ndim))
        turned = replicate(direction).transpose(in_torch)
        matrix = turned.reshape(turned.shape[0], -1)
        divisor = _norm(matrix, h.ns_dtype) + _rounded(jnp.asarray(1e-7, matrix.dtype), h.ns_dtype)
        update = _orthogonal(matrix, divisor, COEFFICIENTS, STEPS, h.ns_dtype)
        update = update.reshape(turned.shape).transpose([in_torch.index(i) for i in range(direction.ndim)])
        update = reshard_like(update, gradient)
        moved_by = -h.lr * h.muon * _RATIOS[None](*turned.shape[-2:]) * update
        share = h.sgd
    gradient = gradient + h.weight_decay * (param + moved_by)
    buffer = new["momentum"] = h.momentum.old * slots["momentum"] + gradient
    direction = gradient + h.momentum.old * buffer if h.nesterov else buffer
    return moved_by - h.lr * share * direction, new


def _torch_axes(ndim: int) -> tuple[int, ...]:
    """From (..., inputs, outputs) to (outputs, inputs, ...)."""
    return (ndim - 1, ndim - 2, *range(ndim - 2))


def _musgd_slots(values: Values) -> Mapping[str, SlotInit]:
    return {"momentum": zeros, **({"muon_momentum": zeros} if values["use_muon"] else {})}


def _no_matrix(shape: tuple[int, ...], dtype: Any, values: Values) -> str | None:
    real = not jnp.issubdtype(dtype, jnp.complexfloating)
    numbers = values["dimension_numbers"]
    if numbers is None:
        return None if len(shape) == 2 and real else f"is not a real matrix: {dtype} with shape {shape}"
    axes = [axis % len(shape) for axis in (*numbers[0], *numbers[1]) if -len(shape) <= axis < len(shape)]
    usable = real and len(set(axes)) == len(numbers[0]) + len(numbers[1])
    return None if usable else f"has no such axes as dimension_numbers={numbers}: {dtype} with shape {shape}"


def _dimension_numbers(name: str, value: Any) -> tuple[Axes, Axes] | None:
    if value is None:
        return None
    pair = tuple(value) if isinstance(value, tuple | list) else ()
    sides = [
        (side,) if is_host_number(side) else tuple(side) if isinstance(side, tuple | list) else () for side in pair
    ]
    if len(sides) != 2 or not all(side and all(is_whole(axis) for axis in side) for side in sides):
        raise ValueError(
            f"{name} must be the axes of the inputs and those of the outputs, such as (-2, -1), or None; got "
            f"{short(value)}"
        )
    return tuple(map(int, sides[0])), tuple(map(int, sides[1]))


def _check(groups: Sequence[Values]) -> None:
    if any(values["dimension_numbers"] and values["outputs"] == "last" for values in groups):
        raise ValueError("muon: dimension_numbers says which axes are the outputs; leave out outputs='last'")


def _no_kernel(shape: tuple[int, ...], dtype: Any, values: Values) -> str | None:
    usable = len(shape) >= 2 and not jnp.issubdtype(dtype, jnp.complexfloating)
    return None if usable or not values["use_muon"] else f"is no real kernel for use_muon: {dtype} with shape {shape}"


DimensionNumbers = Annotated[Any, _dimension_numbers]
"""The axes of the inputs and of the outputs of a kernel, or None for a matrix."""

_MUON = UpdateRule(
    _update_muon,
    lambda values: {"momentum": zeros},
    averages=("momentum",),
    weight_decay="decoupled",
    elementwise=False,
    why_untrainable=_no_matrix,
)
_MUSGD = UpdateRule(
    _update_musgd,
    _musgd_slots,
    averages=("momentum",),
    weight_decay="own",
    elementwise=False,
    why_inseparable=lambda values: "its weight decay sees what Muon's part has moved",
    why_untrainable=_no_kernel,
)


@optimizer(_MUON, check=_check)
def muon(
    lr: NonNegative = 1e-3,
    *,
    weight_decay: NonNegative = 0.1,
    momentum: NonNegative = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[Hyperparameter, Hyperparameter, Hyperparameter] = COEFFICIENTS,
    eps: NonNegative = 1e-7,
    ns_steps: SmallCount = STEPS,
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
    outputs: Literal["first", "last"] = "first",
    dimension_numbers: DimensionNumbers = None,
    ns_dtype: Dtype = "bfloat16",
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Muon, as ``torch.optim.Muon``: for matrices only.

    With b starting at 0::

        b = momentum * b + (1 - momentum) * gradient
        d = (1 - momentum) * gradient + momentum * b (Nesterov), or b
        p = (1 - lr * weight_decay) * p - lr * ratio * orthogonal(d)

    ``orthogonal`` divides by the norm and makes all singular values about 1: with ``(a, b, c) = ns_coefficients`` it
    computes ``X = a * X + (b * X @ X.T + c * (X @ X.T)**2) @ X``, ``ns_steps`` times. The ratio is
    ``sqrt(max(1, outputs / inputs))``, or ``0.2 * sqrt(max(outputs, inputs))``.

    Args:
        lr: Learning rate, >= 0.
        weight_decay: Decoupled, >= 0. By name only: in torch it stands where `sgd` has the momentum.
        momentum: Momentum, >= 0.
        nesterov: Nesterov's momentum.
        ns_coefficients: The coefficients a, b, c above.
        eps: The least norm that is divided by, >= 0.
        ns_steps: How often, from 0 to 99.
        adjust_lr_fn: The ratio: "original" or None, or "match_rms_adamw".
        outputs: Which axis of a kernel is the outputs: "first" as in torch and Equinox, "last" as in Flax and Haiku.
        dimension_numbers: The axes of the inputs and those of the outputs of kernels that are not matrices, such as
            ``((-3,), (-2, -1))`` for [layers, embedding, heads, head]; the other axes are a stack of matrices, each
            updated alone. An ``optax.contrib.MuonDimensionNumbers`` is such a pair.
        ns_dtype: In what the singular values are made equal; torch's is bfloat16, off by some 3e-3.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``momentum``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Returns:
        An optax transformation; for other parameters combine it with another, as in ``examples/two_optimizers.py``.
        ``optax.contrib.muon`` corrects the momentum's bias, has another ratio and adds epsilon to the norm.

    Raises:
        ValueError: If a number is out of its range, there is no such group or hyperparameter, or a parameter is no
            matrix.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``torch/optim/_muon.py``, torch 2.13.0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.muon(lr=0.1, ns_dtype="float32")
        >>> params = {"kernel": jnp.eye(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0, 0]), 4)
        -0.1208
    """


@optimizer(_MUSGD)
def musgd(
    lr: NonNegative = 1e-3,
    momentum: NonNegative = 0.0,
    weight_decay: NonNegative = 0.0,
    nesterov: bool = False,
    use_muon: bool = False,
    muon: NonNegative = 0.5,
    sgd: NonNegative = 0.5,
    *,
    outputs: Literal["first", "last"] = "first",
    ns_dtype: Dtype = "bfloat16",
    stacked: Stacked = None,
    state_dtype: StateDtype = None,
    groups: Groups | None = None,
    rules: Rules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Ultralytics' MuSGD: in groups with ``use_muon`` a step of Muon and then one of SGD, in others SGD.

    With Nesterov's momentum, where a and b start at 0::

        a = momentum * a + (1 - momentum) * gradient
        q = p - lr * muon * ratio * orthogonal((1 - momentum) * gradient + momentum * a)
        g = gradient + weight_decay * q
        b = momentum * b + g
        p = q - lr * sgd * (g + momentum * b)

    Without, a and b stand in the brackets. Where ``use_muon`` is not set, ``q = p`` and ``sgd`` is taken as 1.
    ``orthogonal`` is that of `muon`, of the kernel as a matrix with a row for each output, divided by its norm + 1e-7.
    The ratio is ``sqrt(max(1, h / w))`` of the last two axes in torch's order: outputs and inputs of a matrix, the
    window of a convolution.

    Args:
        lr: Learning rate, >= 0.
        momentum: Momentum, >= 0.
        weight_decay: Of SGD's part only, >= 0.
        nesterov: Nesterov's momentum, of both parts.
        use_muon: Whether the group's parameters, of two axes or more, take Muon's step too.
        muon: Factor of Muon's step, >= 0.
        sgd: Factor of SGD's step, >= 0.
        outputs: Which axis of a kernel is the outputs: "first" as in torch and Equinox, "last" as in Flax and Haiku.
        ns_dtype: As for `muon`.
        stacked: Whether the first axis of the arrays is a stack of layers, each updated as a separate array; a tuple
            also gives the factor on the lr of each layer.
        state_dtype: Dtype of slots by name (``momentum``, ``muon_momentum``), such as "bfloat16".
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).

    Raises:
        ValueError: If a number is out of its range, there is no such group or hyperparameter, or a parameter with
            ``use_muon`` has fewer than two axes.
        TypeError: If an argument is not known or of the wrong type.

    Source: ``ultralytics/optim/muon.py``, Ultralytics 8.4.190; written from its behaviour.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.optimizers.musgd(lr=0.1, groups={"weight": dict(use_muon=True)}, ns_dtype="float32")
        >>> params = {"kernel": jnp.eye(2), "bias": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0, 0]), 4), round(float(updates["bias"][0]), 4)
        (-0.1054, -0.1)
    """
