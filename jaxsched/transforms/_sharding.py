"""The sharding of a state, from that of the parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from jaxsched.checks import short
from jaxsched.optimizers import OptimizerState
from jaxsched.transforms._flatten import FlatGroups


class _Param(NamedTuple):
    shape: tuple[int, ...]
    sharding: NamedSharding


def state_sharding(tx: optax.GradientTransformation, params: Any, params_sharding: Any = None) -> Any:
    """The sharding of each array of ``tx.init(params)``: as the parameter it belongs to, or replicated.

    An array belongs to the parameter whose path its own ends in, as in every state of jaxsched and optax that holds
    trees like the parameters: slots, gathered gradients, averages, the parts of an ``optax.chain`` or
    ``optax.partition``. Axes are compared from the last: one that is as long as the parameter's is sharded like it. A
    vector of `flatten_groups` is split over all mesh axes that shard a parameter of its group. Everything else, counts
    and hyperparameters, is replicated.

    Args:
        tx: The transformation.
        params: The parameters, or ``jax.ShapeDtypeStruct`` in place of them.
        params_sharding: A ``NamedSharding`` for all parameters, or a tree of them like ``params``; that of ``params``
            where left out. For a state that is sharded although the parameters are not (ZeRO), give the shardings
            that parameters would have.

    Returns:
        A tree of shardings like the state: for ``jax.jit(tx.init, out_shardings=...)``, for ``in_shardings`` of a step,
        and to restore a checkpoint on another mesh.

    Raises:
        TypeError: If a parameter has no ``NamedSharding``.

    Examples:
        >>> import jax, jax.numpy as jnp, jaxsched as js
        >>> from jax.sharding import NamedSharding, PartitionSpec
        >>> mesh = jax.make_mesh((1,), ("data",))
        >>> params = {"kernel": jnp.ones((8, 2))}
        >>> found = js.state_sharding(js.adam(), params, NamedSharding(mesh, PartitionSpec("data")))
        >>> found.slots["exp_avg"]["kernel"].spec == PartitionSpec("data"), found.count.is_fully_replicated
        (True, True)
    """
    structure: Any = jax.tree.structure(params)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    given: list[Any]
    if params_sharding is None:
        given = [getattr(leaf, "sharding", None) for _, leaf in leaves]
    elif isinstance(params_sharding, Sharding):
        given = [params_sharding] * len(leaves)
    else:
        given = structure.flatten_up_to(params_sharding)
    for (path, _), sharding in zip(leaves, given, strict=True):
        if not isinstance(sharding, NamedSharding):
            raise TypeError(
                f"state_sharding: the parameter {jax.tree_util.keystr(path)} must have a NamedSharding, got "
                f"{short(sharding)}; give it as params_sharding"
            )
    found = {path: _Param(tuple(leaf.shape), sharding) for (path, leaf), sharding in zip(leaves, given, strict=True)}
    state = jax.eval_shape(tx.init, params)
    return _of_state(state, found) if found else state


def _of_state(state: Any, params: Mapping[Any, _Param]) -> Any:
    ordered = list(params.values())

    def one(path: Any, node: Any) -> Any:
        if isinstance(node, OptimizerState):  # a hyperparameter may be named as a parameter is
            replicated = jax.tree.map(lambda _: _replicated(ordered[0]), node._replace(slots={}))
            return replicated._replace(slots=_of_state(node.slots, params))
        if isinstance(node, FlatGroups):
            members = [[ordered[i] for i in own] for own in node.layout.members]
            vectors = [_of_vector(*each) for each in zip(node.vectors, members, strict=True)]
            return FlatGroups(vectors, node.layout)
        own = next((params[path[i:]] for i in range(len(path) + 1) if path[i:] in params), None)
        return _replicated(ordered[0]) if own is None else _like(own, node.shape)

    return jax.tree_util.tree_map_with_path(
        one, state, is_leaf=lambda node: isinstance(node, OptimizerState | FlatGroups)
    )


def _replicated(like: _Param) -> NamedSharding:
    return NamedSharding(like.sharding.mesh, PartitionSpec())


def _like(param: _Param, shape: tuple[int, ...]) -> NamedSharding:
    """The sharding of an array like ``param``, which may have more axes before its own, or shorter ones."""
    if shape == param.shape:
        return param.sharding
    more = len(shape) - len(param.shape)
    if more < 0:
        return _replicated(param)
    spec = [*param.sharding.spec, *[None] * (len(param.shape) - len(param.sharding.spec))]
    same = zip(spec, shape[more:], param.shape, strict=True)
    kept = [axes if size == whole else None for axes, size, whole in same]
    return NamedSharding(
        param.sharding.mesh, PartitionSpec(*[None] * more, *kept), memory_kind=param.sharding.memory_kind
    )


def _of_vector(vector: Any, members: list[_Param]) -> Any:
    """The sharding of a vector of `flatten_groups`, over all axes of the mesh that shard one of its parameters."""
    if isinstance(vector, optax.MaskedNode):
        return vector
    mesh = members[0].sharding.mesh
    used = {name for param in members for axes in param.sharding.spec for name in _names(axes)}
    names = tuple(name for name in mesh.axis_names if name in used)
    divides = vector.shape[-1] % math.prod(mesh.shape[name] for name in names) == 0
    return NamedSharding(mesh, PartitionSpec(names) if names and divides else PartitionSpec())


def _names(axes: Any) -> tuple[str, ...]:
    return () if axes is None else axes if isinstance(axes, tuple) else (axes,)
