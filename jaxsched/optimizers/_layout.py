"""Arguments of every optimizer that say how arrays are kept: the dtype of slots, and layers along the first axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched.checks import did_you_mean, short
from jaxsched.numerics import is_host_number

Values = Mapping[str, Any]

LAYOUT = ("stacked", "state_dtype")
"""The arguments of every optimizer that are of no original: an optimizer of a file has none of this name."""
DTYPES = ("bfloat16", "float16", "float32", "float64")


class StateDtypes(dict[str, str]):
    """From the name of a slot to the name of its dtype. Hashable, since it is an option; never changed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def dtype_name(name: str, value: Any) -> str:
    """The name of a floating dtype, of a name or of anything that numpy takes for one.

    Raises:
        ValueError: If it is none of `DTYPES`.
    """
    try:
        found = "none" if value is None else jnp.dtype(value).name
    except TypeError:
        found = "none"
    if found not in DTYPES:
        raise ValueError(f"{name} must be one of {', '.join(DTYPES)}, got {short(value)}")
    return found


def _optional_dtype(name: str, value: Any) -> str | None:
    return None if value is None else dtype_name(name, value)


def _state_dtypes(name: str, value: Any) -> StateDtypes | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(
            f"{name} must be a dict from the name of a slot to its dtype, such as {{'exp_avg': 'bfloat16'}}, got "
            f"{short(value)}"
        )
    return StateDtypes({slot: dtype_name(f"{name}[{slot!r}]", dtype) for slot, dtype in value.items()})


def _stacked(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value or None
    factors = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else value
    if not isinstance(factors, tuple | list) or not factors or not all(map(_is_factor, factors)):
        raise ValueError(f"{name} must be a bool, None, or a tuple of a factor >= 0 for each layer, got {short(value)}")
    return tuple(map(float, factors))


def _is_factor(value: Any) -> bool:
    return is_host_number(value) and 0 <= value < float("inf")


StateDtype = Annotated[Mapping[str, Any] | None, _state_dtypes]
"""By the name of a slot the dtype that it is kept in."""
OneDtype = Annotated[Any, _optional_dtype]
"""A floating dtype or its name, or None."""
Stacked = Annotated[Any, _stacked]
"""Whether the first axis of the arrays of a group is a stack of layers (None for no), or the factors on their lr."""


def check_slots(optimizer: str, by_group: Sequence[Values], slots: Sequence[str]) -> None:
    """That each ``state_dtype`` names slots that there are.

    Raises:
        ValueError: If one does not.
    """
    for values in by_group:
        for slot in values["state_dtype"] or ():
            if slot not in slots:
                raise ValueError(
                    f"{optimizer}: state_dtype has {short(slot)}, the slots are {', '.join(map(repr, slots)) or 'none'}"
                    f"{did_you_mean(slot, slots)}"
                )


def check_weights(optimizer: str, by_group: Sequence[Values], weights: Mapping[str, tuple[str, int | None]]) -> None:
    """That averages do not stand still in their dtypes, as far as the host knows their weights.

    With ``1 - weight`` below half the distance of two numbers, the sum of an average and its change is rounded back to
    the average: 1 stays 1 with a weight of 0.999 in bfloat16, whatever small values follow.

    Raises:
        ValueError: If one does.
    """
    for values in by_group:
        for slot, dtype in (values["state_dtype"] or {}).items():
            if slot not in weights:
                continue
            name, i = weights[slot]
            weight: Any = values[name] if i is None else values[name][i]
            if is_host_number(weight) and 1 - weight < float(jnp.finfo(dtype).eps) / 2:
                place = name if i is None else f"{name}[{i}]"
                raise ValueError(
                    f"{optimizer}: state_dtype keeps {slot!r} in {dtype}, in which an average with {place}={weight} "
                    "stands still; leave it in float32"
                )


def why_not_kept(shape: tuple[int, ...], dtype: Any, values: Values, is_joined: bool) -> str | None:
    """Why a parameter cannot be kept as its group says, or None."""
    stacked = values["stacked"]
    if stacked and not shape:
        return "is one number, and its group is stacked: there is no axis of layers"
    if isinstance(stacked, tuple) and is_joined:
        return "is joined by flatten_groups, and its group is stacked with a factor for each layer"
    if isinstance(stacked, tuple) and shape[0] != len(stacked):
        return f"has the shape {shape}, and its group is stacked with {len(stacked)} layers"
    if values["state_dtype"] and jnp.issubdtype(dtype, jnp.complexfloating):
        return f"is {dtype}, whose slots cannot be kept in another dtype"
    return None


def first_slot(slot: Callable[..., Any], param: jax.Array, values: Values, stacked: bool) -> jax.Array:
    """A slot before the first update, in the dtype of ``param``; that of each layer where these are stacked."""
    whole: jax.Array = slot(param, values)
    if not stacked:
        return whole

    def of_layers(x: jax.Array) -> jax.Array:
        return jax.vmap(lambda own: slot(own, values))(x)

    # of the shape of the parameter it is the same, and sharded as that is
    return whole if jax.eval_shape(of_layers, param).shape == whole.shape else of_layers(param)


def by_layer(
    own: dict[str, Any], factors: Sequence[float], steps: Callable[[dict[str, Any]], Values]
) -> dict[str, Any]:
    """The numbers of a group, [] or [1], for each of its layers: [layers], with the lr of each.

    Args:
        own: What was evaluated.
        factors: On the lr of each layer.
        steps: From such numbers to what is computed of them once per step.
    """
    own = {**own, "lr": jnp.reshape(own["lr"], ()) * jnp.asarray(factors, own["lr"].dtype)}
    numbers: dict[str, Any] = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(factors),)), {**own, **steps(own)})
    return numbers
