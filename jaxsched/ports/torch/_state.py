"""Loading the state of a torch run: parameters, an optimizer's slots and count, a plateau's state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched import groups as grouping
from jaxsched.groups import reboxed, unboxed
from jaxsched.metric import PlateauState
from jaxsched.metric.internal import FOLLOWERS
from jaxsched.optimizers import OptimizerState
from jaxsched.ports.torch._live import number


class Place(NamedTuple):
    """The place of a torch parameter in JAX.

    Attributes:
        path: Its path, such as ``"fc/kernel"``.
        axes: The order of its axes, as for ``numpy.transpose``; None to keep the order.

    Examples:
        >>> import jaxsched as js
        >>> js.ports.torch.Place("fc/kernel", axes=(1, 0))
        Place(path='fc/kernel', axes=(1, 0))
    """

    path: str
    axes: tuple[int, ...] | None = None


Mapped = Mapping[Any, Place | str]
"""The place of each parameter, by its name or its index in the optimizer's state; a string is a path."""


def conv(path: str, ndim: int = 4) -> Place:
    """The place of a convolution's weight: torch's ``[out, in, *window]`` is Flax's ``[*window, in, out]``.

    Args:
        path: Where it is in the tree of JAX.
        ndim: Number of axes: 4 for images.

    Examples:
        >>> import jaxsched as js
        >>> js.ports.torch.conv("backbone/conv/kernel")
        Place(path='backbone/conv/kernel', axes=(2, 3, 1, 0))
    """
    return Place(path, (*range(2, ndim), 1, 0))


def linear(path: str) -> Place:
    """The place of a linear layer's weight: torch's ``[out, in]`` is Flax's ``[in, out]``.

    Args:
        path: Where it is in the tree of JAX.

    Examples:
        >>> import jaxsched as js
        >>> js.ports.torch.linear("fc/kernel")
        Place(path='fc/kernel', axes=(1, 0))
    """
    return Place(path, (1, 0))


def norm(path: str) -> Place:
    """The place of a norm's weight, a bias or an embedding, whose axes stay in order.

    Args:
        path: Where it is in the tree of JAX.

    Examples:
        >>> import jaxsched as js
        >>> js.ports.torch.norm("bn/scale")
        Place(path='bn/scale', axes=None)
    """
    return Place(path)


def flax_places(named_parameters: Iterable[tuple[str, Any]], optimizer: Any = None) -> dict[Any, Place]:
    """The places of the parameters of a torch model in a Flax model with the same names.

    ``a.b.weight`` becomes ``a/b/kernel`` if it has two axes (`linear`) or more (`conv`), and ``a/b/scale`` if it has
    one; other names keep their last part. The result is a dict: correct entries that differ, such as embeddings, by
    hand.

    Args:
        named_parameters: ``model.named_parameters()``.
        optimizer: The live optimizer, if it was not made from named parameters: the keys are then the indices of its
            ``state_dict()``, otherwise the names.

    Examples:
        >>> import numpy as np, jaxsched as js
        >>> js.ports.torch.flax_places([("fc.weight", np.ones((2, 3))), ("fc.bias", np.ones(2))])
        {'fc.weight': Place(path='fc/kernel', axes=(1, 0)), 'fc.bias': Place(path='fc/bias', axes=None)}
    """
    index: dict[int, int] = {}
    for group in optimizer.param_groups if optimizer is not None else ():
        for parameter in group["params"]:
            index[id(parameter)] = len(index)
    places: dict[Any, Place] = {}
    for name, parameter in named_parameters:
        if optimizer is None or id(parameter) in index:
            places[index[id(parameter)] if optimizer is not None else name] = _place(name, len(parameter.shape))
    return places


def _place(name: str, ndim: int) -> Place:
    path = name.replace(".", "/")
    layer, slash, leaf = path.rpartition("/")
    if leaf != "weight":
        return norm(path)
    if ndim == 1:
        return norm(f"{layer}{slash}scale")
    return linear(f"{layer}{slash}kernel") if ndim == 2 else conv(f"{layer}{slash}kernel", ndim)


def load_parameters(params: Any, tensors: Mapping[Any, Any], mapping: Mapped) -> Any:
    """Load the values of torch parameters into a tree.

    Args:
        params: A tree of parameters in JAX.
        tensors: By name or index, as in ``mapping``, torch's (or numpy's) arrays: ``dict(model.named_parameters())``.
        mapping: The place of each; see `flax_places`.

    Returns:
        A tree like ``params``, with torch's values in its dtypes.

    Raises:
        ValueError: If a parameter is missing on either side, or has another shape.

    Examples:
        >>> import jax.numpy as jnp, numpy as np, jaxsched as js
        >>> tensors = {"fc.weight": np.ones((2, 3)), "fc.bias": np.zeros(2)}
        >>> params = {"fc": {"kernel": jnp.zeros((3, 2)), "bias": jnp.ones(2)}}
        >>> places = js.ports.torch.flax_places(tensors.items())
        >>> js.ports.torch.load_parameters(params, tensors, places)["fc"]["bias"]
        Array([0., 0.], dtype=float32)
    """
    return _filled(params, {key: _array(tensors[key]) for key in mapping if key in tensors}, _places(mapping), "params")


def load_state(
    opt_state: Any, optimizer_state_dict: Mapping[str, Any], mapping: Mapped, *, scheduler_state_dict: Any = None
) -> Any:
    """Load the optimizer state of a torch run, so that the run continues as in torch.

    For SGD, Adam, AdamW and RMSprop: their buffers become the slots, and their step count is added to the count of bias
    corrections (``state.bias_offset``). Schedules start at step 0 of the state: take them from `recipe`, which starts
    at the current step of torch.

    Args:
        opt_state: The result of ``init`` of the recipe's transformation, or any tree that contains it, as for
            `hyperparams`; the Variables of an ``nnx.Optimizer`` are written in place.
        optimizer_state_dict: ``optimizer.state_dict()``, of tensors or of numpy arrays.
        mapping: The place in JAX of each parameter of the state dict, by its index there, or by its name if the
            optimizer was made from named parameters; see `flax_places`.
        scheduler_state_dict: The state dict of a ReduceLROnPlateau: its best metric, count of bad reports and cooldown
            are loaded into every `plateau` in the state.

    Raises:
        ValueError: If a parameter is missing on either side, a shape differs, a buffer is missing, the step counts of
            parameters differ, or there is not exactly one optimizer state of jaxsched.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> state = js.sgd(momentum=0.9).init({"fc": {"kernel": jnp.zeros((3, 2))}})
        >>> theirs = {"state": {0: {"momentum_buffer": jnp.ones((2, 3))}}, "param_groups": [{"params": [0]}]}
        >>> state = js.ports.torch.load_state(state, theirs, {0: js.ports.torch.linear("fc/kernel")})
        >>> state.slots["momentum"]["fc"]["kernel"].shape
        (3, 2)
    """
    gathered = _by_key(optimizer_state_dict, mapping)
    tree = getattr(opt_state, "opt_state", opt_state)
    nodes = jax.tree.leaves(tree, is_leaf=_is_state)
    if sum(map(_is_state, nodes)) != 1:
        raise ValueError(f"load_state: there must be one optimizer state of jaxsched in {type(opt_state).__name__}")

    def one(node: Any) -> Any:
        return (
            reboxed(node, _carried(unboxed(node), gathered, mapping, scheduler_state_dict)) if _is_state(node) else node
        )

    loaded = jax.tree.map(one, tree, is_leaf=_is_state)
    if tree is opt_state:
        return loaded
    return opt_state.replace(opt_state=loaded) if hasattr(opt_state, "replace") else opt_state


_BUFFERS = {"momentum": "momentum_buffer"}
"""torch's name of a slot, if it differs from the name here."""


def _is_state(node: Any) -> bool:
    return isinstance(node, OptimizerState)


def _by_key(state_dict: Mapping[str, Any], mapping: Mapped) -> dict[Any, Mapping[str, Any]]:
    """torch's state of each parameter, by the key of the mapping."""
    for name in ("state", "param_groups"):
        if name not in state_dict:
            raise ValueError(
                f"load_state: expected optimizer.state_dict(), which has {name!r}; got {sorted(state_dict)}"
            )
    found = {}
    for group in state_dict["param_groups"]:
        names = group.get("param_names") or [None] * len(group["params"])
        for index, name in zip(group["params"], names, strict=True):
            key = index if index in mapping else name
            if key not in mapping:
                called = f"{index}" if name is None else f"{index} ({name!r})"
                raise ValueError(f"load_state: parameter {called} of the state dict is not in the mapping")
            found[key] = state_dict["state"].get(index, {})
    return found


def _carried(
    state: OptimizerState, gathered: Mapping[Any, Mapping[str, Any]], mapping: Mapped, scheduler: Any
) -> OptimizerState:
    steps = {key: int(number(own["step"])) for key, own in gathered.items() if "step" in own}
    if len(set(steps.values())) > 1 and "exp_avg" in state.slots:
        least, most = min(steps, key=steps.__getitem__), max(steps, key=steps.__getitem__)
        raise ValueError(
            f"load_state: parameter {least!r} has done {steps[least]} updates and {most!r} {steps[most]}; there is one "
            "count for all"
        )
    begun = any(own.get("momentum_buffer") is not None for own in gathered.values())
    total = max(steps.values(), default=int(begun))  # SGD has no step count; it only matters whether it has started
    places = _places(mapping)
    slots = {}
    for slot, tree in state.slots.items():
        buffer = _BUFFERS.get(slot, slot)
        arrays = {key: _array(own[buffer]) for key, own in gathered.items() if own.get(buffer) is not None}
        bare = [key for key, own in gathered.items() if own and buffer not in own]
        if bare:
            raise ValueError(
                f"load_state: parameter {bare[0]!r} has no {buffer!r} in the state dict; was it another optimizer?"
            )
        slots[slot] = grouping.joined_like(tree, _filled(grouping.separated(tree), arrays, places, slot, partly=True))
    return state._replace(
        slots=slots,
        bias_offset=jnp.asarray(total - state.count, jnp.int32),
        plateau=jax.tree.map(
            lambda one: _plateau(one, scheduler) if scheduler is not None else one,
            state.plateau,
            is_leaf=lambda x: isinstance(x, _DRIVEN),
        ),
    )


_DRIVEN = tuple(follower.state for follower in FOLLOWERS.values())


def _plateau(state: Any, scheduler: Mapping[str, Any]) -> PlateauState:
    if not isinstance(state, PlateauState):
        raise ValueError(
            f"load_state: scheduler_state_dict is read into a plateau only, not into a {type(state).__name__}"
        )

    def whole(name: str) -> jax.Array:
        return jnp.asarray(scheduler[name], jnp.int32)

    return state._replace(
        best=jnp.asarray(float(scheduler["best"]), state.best.dtype),
        bad=whole("num_bad_epochs"),
        cooldown=whole("cooldown_counter"),
        reports=whole("last_epoch"),
    )


def _places(mapping: Mapped) -> dict[Any, Place]:
    return {key: Place(place) if isinstance(place, str) else Place(*place) for key, place in mapping.items()}


def _array(value: Any) -> np.ndarray:
    """A copy of the array or tensor, since torch keeps writing to its own."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    return np.array(value)


def _filled(
    tree: Any, arrays: Mapping[Any, np.ndarray], places: Mapping[Any, Place], what: str, partly: bool = False
) -> Any:
    """The tree with the arrays in their places; with ``partly``, leaves without an array keep their value."""
    leaves, structure = jax.tree.flatten(tree)
    at = {parameter.path: i for i, parameter in enumerate(grouping.parameters(tree))}
    unknown = [place.path for place in places.values() if place.path not in at]
    missing = [path for path in at if path not in {place.path for place in places.values()}]
    bare = [] if partly else [key for key in places if key not in arrays]
    if unknown or missing or bare:
        raise ValueError(
            f"{what}: "
            + "; ".join(
                f"{words} {', '.join(map(repr, names[:5]))}"
                for words, names in (
                    ("the mapping names paths that are not there:", unknown),
                    ("the mapping names no parameter for", missing),
                    ("there is no array for", bare),
                )
                if names
            )
        )
    for key, array in arrays.items():
        i, moved = at[places[key].path], array if places[key].axes is None else array.transpose(places[key].axes)
        if moved.shape != jnp.shape(leaves[i]):
            raise ValueError(
                f"{what}: {places[key].path!r} has shape {jnp.shape(leaves[i])}, but parameter {key!r} of torch "
                f"{array.shape}, here {moved.shape}; fix its axes in the mapping"
            )
        leaves[i] = jnp.asarray(moved, jnp.result_type(leaves[i]))
    return jax.tree.unflatten(structure, leaves)
