"""The update of one array."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxsched.numerics import compute_dtype, reshard_like
from jaxsched.optimizers._hyperparameters import Values
from jaxsched.optimizers._layout import first_slot
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots

Options = tuple[tuple[str, Any], ...]
"""Names and values of what is known of a group when the optimizer is made."""


def start_slot(name: str, slot: SlotInit, leaf: Any, values: Values, by_layer: bool) -> Any:
    """The slot of a parameter before the first update.

    Args:
        name: The slot's name.
        slot: Makes it.
        leaf: The parameter.
        values: The hyperparameters of its group.
        by_layer: Whether each layer of a stack has a slot of its own.
    """
    param = _pairs(jnp.asarray(leaf).astype(compute_dtype(leaf)))
    found = first_slot(slot, param, values, by_layer)
    kept = (values["state_dtype"] or {}).get(name)
    return _unpaired(found.astype(kept) if kept else found, leaf)


def _pairs(x: jax.Array) -> jax.Array:
    return jnp.stack([x.real, x.imag], -1) if jnp.iscomplexobj(x) else x


def _unpaired(x: jax.Array, like: Any) -> jax.Array:
    return jax.lax.complex(x[..., 0], x[..., 1]) if jnp.iscomplexobj(like) else x


@functools.partial(jax.jit, static_argnames=("equation", "options"))
def update_array(
    gradient: jax.Array,
    slots: Slots,
    param: jax.Array,
    numbers: Values,
    *,
    equation: Callable[..., tuple[jax.Array, Slots]],
    options: Options,
) -> tuple[jax.Array, Slots]:
    """One parameter's update, in its own dtype, and its slots. Jitted: traced once for all arrays of a shape."""
    out, compute = jnp.result_type(param), compute_dtype(param)
    values = jax.tree.map(lambda number: number.astype(jnp.finfo(compute).dtype).reshape(()), numbers)
    values["count"] = numbers["count"].reshape(())
    h = Hypers(**dict(options), **values, dtype=out)
    gradient = reshard_like(jnp.asarray(gradient).astype(compute), param)  # it may be replicated beside sharded ones
    kept = {name: slot.dtype for name, slot in slots.items()}
    slots = {name: slot.astype(compute) for name, slot in slots.items()}
    gradient, at, own = jax.tree.map(_pairs, (gradient, param.astype(compute), slots))
    if getattr(h, "maximize", False):
        gradient = -gradient
    shrink = 0.0
    if h.decay == "coupled":
        gradient = gradient + h.weight_decay * at
    elif h.decay == "decoupled":
        shrink = -h.lr * h.weight_decay * at
    update, own = equation(gradient, own, at + shrink, h)
    update, own = jax.tree.map(lambda x: _unpaired(x, param), (update + shrink, own))
    return update.astype(out), {name: slot.astype(kept[name]) for name, slot in own.items()}
