"""The state with which a changed optimizer goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxsched.checks import short
from jaxsched.groups import JoinedTree, joined_like, separated
from jaxsched.metric import internal as plateaus
from jaxsched.optimizers._checks import only_in
from jaxsched.optimizers._override import not_set
from jaxsched.optimizers._state import OptimizerState, states


def carry_over(old_state: Any, new_state: Any) -> Any:
    """Take the contents of ``old_state`` over into the form of ``new_state``, the state of a changed optimizer.

    For a resume with other groups, rules, schedules or numbers, or with or without `flatten_groups`. The count, the
    slots and the overrides are those of ``old_state``; a slot that it does not have (of a momentum that is new) is that
    of ``new_state``. Where the two have no slot in common, as with another optimizer, schedules go on and bias
    corrections start again. What is kept by group is matched by name; a new group takes it over if all old groups
    agree.

    A parameter that was frozen has no slots: they start. Give it a group that is new by name, whose bias corrections
    start with them. In a group that goes on they count the updates of the others, and Adam's first steps of it are up
    to 3 times too large. The same holds for `grouped`, where each group has the count of its optax optimizer.

    Args:
        old_state: The state so far, such as one restored from a checkpoint with its structure.
        new_state: What ``init`` of the changed optimizer returned, nested in the same way.

    Returns:
        A state for the changed optimizer.

    Raises:
        TypeError: If ``old_state`` is not nested as ``new_state`` is, such as a checkpoint restored as plain dicts.
        ValueError: If a parameter is in only one of the states, or if a group is new and the old ones differ in what
            it should take over.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> params = {"kernel": jnp.ones(2)}
        >>> old, new = js.sgd(momentum=0.9), js.sgd(momentum=0.9, rules=[("**", "all")])
        >>> _, state = old.update(params, old.init(params), params)
        >>> state = js.carry_over(state, new.init(params))
        >>> int(state.count), state.slots["momentum"]["kernel"]
        (1, Array([1., 1.], dtype=float32))
    """

    if _count(new_state) != _count(old_state):
        raise TypeError(
            f"carry_over: old_state, a {type(old_state).__name__}, is not nested as new_state is; restore a checkpoint "
            "with the structure of the state that was saved: checkpointer.restore(path, tx.init(params)) of orbax"
        )
    old_state = separated(old_state)

    def one(new: Any, old: Any) -> Any:
        if not isinstance(new, OptimizerState):
            return joined_like(new, old)
        by_group = new.slots.keys() == new.groups.keys()  # of `grouped`, where each group has a count of its own
        thawed = frozenset() if by_group else _thawed(old, new)
        return new._replace(
            count=old.count,
            bias_offset=_carried_offset(old, new, thawed),
            overrides={name: _carried_override(row, old, new) for name, row in old.overrides.items()},
            shared={name: _carried_row(name, row, old, new, thawed) for name, row in new.shared.items()},
            slots=_carried_parts(old.slots, new.slots)
            if by_group
            else {
                name: _carried_slot(name, old.slots[name], tree) if name in old.slots else tree
                for name, tree in new.slots.items()
            },
            plateau={
                group: {
                    name: _carried_plateau(old.plateau.get(group, {}).get(name), value)
                    for name, value in by_name.items()
                }
                for group, by_name in new.plateau.items()
            },
        )

    return jax.tree.map(one, new_state, old_state, is_leaf=lambda x: isinstance(x, OptimizerState | JoinedTree))


def _count(state: Any) -> int:
    return len(states(state, OptimizerState))


def _carried_slot(name: str, old: Any, new: Any) -> Any:
    """The old arrays in the dtypes of ``new``; where a parameter was frozen, or is now, that of ``new``."""

    def one(now: Any, before: Any) -> Any:
        return now if _is_masked(now) or _is_masked(before) else before.astype(now.dtype)

    now = separated(new)
    structures: list[Any] = [jax.tree.structure(tree, is_leaf=_is_masked) for tree in (now, old)]
    if structures[0] != structures[1]:
        only = only_in({"old_state": old, "new_state": now})
        raise ValueError(
            f"carry_over: {name} has {only or 'another structure in old_state'}; give both states the same parameters, "
            "by the same names"
        )
    return joined_like(new, jax.tree.map(one, now, old, is_leaf=_is_masked))


def _carried_parts(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The states of the groups of `grouped`: each array is taken from whatever group it was in.

    A group that is new by name starts as a whole if it holds what no group had, such as a parameter that was frozen.
    """
    befores = {group: _by_path(tree) for group, tree in old.items()}
    kept = {path for tree in new.values() for path in _by_path(tree)}
    found = {}
    for group, tree in new.items():
        own, nows, taken = befores.get(group, {}), _by_path(tree), {}
        for path in nows:
            several = [own[path]] if path in own else [leaves[path] for leaves in befores.values() if path in leaves]
            if several and not all(np.array_equal(one, several[0]) for one in several[1:]):
                raise ValueError(
                    f"carry_over: the group {group!r} is new, and the old ones differ in {path}; keep the names of the "
                    "groups"
                )
            taken.update({path: several[0]} if several else {})
        starting = [path for path in nows if path not in taken]
        for path in starting if own else ():
            renamed = [was for was in own if was not in kept and jnp.shape(own[was]) == jnp.shape(nows[path])]
            if renamed:
                raise ValueError(
                    f"carry_over: the group {group!r} has {short(renamed[0])} only in old_state and {short(path)} only "
                    "in new_state; give both states the same parameters, by the same names, or what was frozen a group "
                    "that is new by name"
                )
        if own or not starting:
            leaves = [taken[path].astype(now.dtype) if path in taken else now for path, now in nows.items()]
            tree = jax.tree.unflatten(jax.tree.structure(tree), leaves)
        found[group] = tree
    return found


def _by_path(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _carried_override(row: Any, old: OptimizerState, new: OptimizerState) -> Any:
    """By group; not set in a new one."""
    known = sorted(old.groups)
    order = np.asarray([known.index(group) if group in known else -1 for group in sorted(new.groups)], int)
    return jax.tree.map(lambda x: jnp.where(order >= 0, x[order], not_set(x.dtype)), row)


def _carried_plateau(old: Any, new: Any) -> Any:
    return old if plateaus.alike(old, new) else new


def _thawed(old: OptimizerState, new: OptimizerState) -> frozenset[str]:
    """The groups of ``new`` that hold what was frozen: they are new by name, and none is an old one renamed."""
    both = sorted(new.slots.keys() & old.slots.keys())
    trees = [[separated(state.slots[name]) for name in both] for state in (old, new)]
    befores, nows = (map(_is_masked, jax.tree.leaves(tree, is_leaf=_is_masked)) for tree in trees)
    was_and_is_frozen = set(zip(befores, nows, strict=False))
    vanished = set(old.groups) - set(new.groups)
    is_renamed = vanished and (False, False) in was_and_is_frozen and (False, True) not in was_and_is_frozen
    return frozenset(set(new.groups) - set(old.groups) if (True, False) in was_and_is_frozen and not is_renamed else ())


def _carried_offset(old: OptimizerState, new: OptimizerState, thawed: frozenset[str]) -> jax.Array:
    if not new.slots.keys() & old.slots.keys():
        return -old.count
    if not jnp.ndim(old.bias_offset) and not thawed:
        return old.bias_offset
    row = jnp.broadcast_to(old.bias_offset, (len(old.groups),))
    return _by_name("bias_offset", row, -old.count, old, new, thawed)


def _carried_row(name: str, row: jax.Array, old: OptimizerState, new: OptimizerState, thawed: frozenset[str]) -> Any:
    return _by_name(name, old.shared[name], row[:1], old, new, thawed) if name in old.shared else row


def _by_name(
    name: str, row: jax.Array, start: jax.Array, old: OptimizerState, new: OptimizerState, thawed: frozenset[str]
) -> jax.Array:
    """What ``old`` has for each group, in the order of the groups of ``new``; for those that thawed ``start``."""
    known = sorted(old.groups)
    unknown = [group for group in sorted(new.groups) if group not in known and group not in thawed]
    if unknown and len(set(np.asarray(row).tolist())) > 1:
        raise ValueError(
            f"carry_over: the groups {', '.join(map(repr, unknown))} are new, and the old ones "
            f"({', '.join(map(repr, known))}) differ in {name}; keep the names of the groups"
        )
    order = [
        len(known) if group in thawed else known.index(group) if group in known else 0 for group in sorted(new.groups)
    ]
    return jnp.append(row, start.astype(row.dtype))[np.asarray(order, int)]
