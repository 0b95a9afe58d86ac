"""The state of an optimizer of jaxsched: what is in it, how it is found, read, and carried to another optimizer."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxsched import _metric as plateaus
from jaxsched.groups import FlatGroups, flattened_as, unflatten_groups


class OptimizerState(NamedTuple):
    """The state of an optimizer of jaxsched. The paths of ``slots`` do not depend on the groups."""

    count: jax.Array  # type: ignore[assignment]
    """Updates done; int32 [], saturating."""
    groups: dict[str, tuple[()]]
    """The names of the groups, frozen ones left out. What is kept by group is in the order of their sorted names."""
    hyperparams: dict[str, Any]
    """By name, what the last update used (before the first: what it will use), for each group; float32 [groups]. Only a
    report: nothing reads it but `hyperparams`."""
    shared: dict[str, jax.Array]
    """By name, what the optimizer keeps for each group; float32 [groups]."""
    slots: dict[str, Any]
    """By name, a tree like the parameters; float32 (float64 for float64 parameters)."""
    plateau: dict[str, dict[str, plateaus.State]]
    """By group and name, for those hyperparameters that are driven by a metric."""
    earlier: jax.Array
    """Updates done before the first of these, where the state was taken over from another run; int32 []. Bias
    corrections count them, schedules do not. Negative where the slots are younger than the count."""


def states(tree: Any, kind: type) -> list[Any]:
    """The states of a type in a tree, wherever they are nested; an object with an ``opt_state`` stands for that."""
    tree = getattr(tree, "opt_state", tree)
    return [node for node in jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, kind)) if isinstance(node, kind)]


def unboxed(value: Any) -> Any:
    """The array in an NNX Variable, or the value itself."""
    return value.get_value() if hasattr(value, "get_value") else value


def hyperparams(opt_state: Any) -> dict[str, dict[str, Any]]:
    """The hyperparameters that the last update used, by group and name.

    Args:
        opt_state: Anything that holds the state of an optimizer of jaxsched: the state itself, one nested in
            ``optax.chain``, ``optax.MultiSteps`` or `accumulate`, an ``nnx.Optimizer``, a Linen ``TrainState``.

    Returns:
        ``{group: {name: float32 scalar}}``. Before the first update: what it will use.

    Raises:
        ValueError: If there is none, or if two of them have a group of the same name.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.sgd(lr=js.linear(1.0, 0.0, 10), groups={"bias": dict(lr=0.5)})
        >>> state = tx.init({"kernel": jnp.ones(3), "bias": jnp.ones(3)})
        >>> float(js.hyperparams(state)["bias"]["lr"])
        0.5
    """
    found = states(opt_state, OptimizerState)
    if not found:
        raise ValueError(f"hyperparams: there is no optimizer state of jaxsched in {type(opt_state).__name__}")
    merged: dict[str, dict[str, Any]] = {}
    for state in found:
        for i, group in enumerate(sorted(state.groups)):
            if group in merged:
                raise ValueError(
                    f"hyperparams: two optimizers have a group named {group!r}; ask for each of their states by itself"
                )
            merged[group] = {name: _entry(row, i) for name, row in state.hyperparams.items()}
    return merged


def _entry(row: Any, i: int) -> Any:
    if isinstance(row, tuple | list):
        return tuple(_entry(item, i) for item in row)
    return row if row is None else unboxed(row)[..., i]


def carry_over(old_state: Any, new_state: Any) -> Any:
    """The state with which a changed optimizer goes on: what ``old_state`` gathered, in the form of ``new_state``.

    For a resume with other groups, rules, schedules or numbers, or with `flatten_groups` or without. The count and the
    slots are those of ``old_state``; a slot that it does not have (of a momentum that is new) is that of ``new_state``.
    Where no slot is left, as with another optimizer, schedules go on and bias corrections begin anew. What is kept by
    group goes by name; a group that is new takes it over where all old groups agree.

    Args:
        old_state: The state so far, such as one restored from a checkpoint.
        new_state: What ``init`` of the changed optimizer made, nested in the same way.

    Raises:
        ValueError: If a group is new and the old ones differ in what it should take over.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> params = {"kernel": jnp.ones(2)}
        >>> old, new = js.sgd(momentum=0.9), js.sgd(momentum=0.9, rules=[("**", "all")])
        >>> _, state = old.update(params, old.init(params), params)
        >>> state = js.carry_over(state, new.init(params))
        >>> int(state.count), state.slots["momentum"]["kernel"]
        (1, Array([1., 1.], dtype=float32))
    """

    old_state = unflatten_groups(old_state)

    def one(new: Any, old: Any) -> Any:
        if not isinstance(new, OptimizerState):
            return flattened_as(new, old)
        return new._replace(
            count=old.count,
            earlier=old.earlier if new.slots.keys() & old.slots.keys() else -old.count,
            shared={name: _carried_row(name, row, old, new) for name, row in new.shared.items()},
            slots={name: flattened_as(tree, old.slots.get(name, tree)) for name, tree in new.slots.items()},
            plateau={
                group: {
                    name: _carried_plateau(old.plateau.get(group, {}).get(name), value)
                    for name, value in by_name.items()
                }
                for group, by_name in new.plateau.items()
            },
        )

    return jax.tree.map(one, new_state, old_state, is_leaf=lambda x: isinstance(x, OptimizerState | FlatGroups))


def _carried_plateau(old: Any, new: Any) -> Any:
    return old if plateaus.alike(old, new) else new


def _carried_row(name: str, row: jax.Array, old: OptimizerState, new: OptimizerState) -> jax.Array:
    if name not in old.shared:
        return row
    known = sorted(old.groups)
    unknown = [group for group in sorted(new.groups) if group not in known]
    if unknown and len(set(np.asarray(old.shared[name]).tolist())) > 1:
        raise ValueError(
            f"carry_over: the groups {', '.join(map(repr, unknown))} are new, and the old ones "
            f"({', '.join(map(repr, known))}) differ in {name}; keep the names of the groups"
        )
    order = [known.index(group) if group in known else 0 for group in sorted(new.groups)]
    return old.shared[name][np.asarray(order)]
