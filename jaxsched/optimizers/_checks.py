"""Whether an optimizer can train these parameters, and go on from this state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxsched import groups as grouping
from jaxsched.checks import short
from jaxsched.numerics import is_host_number
from jaxsched.optimizers._hyperparameters import Values
from jaxsched.optimizers._layout import why_not_kept
from jaxsched.optimizers._roles import name_of
from jaxsched.optimizers._rule import UpdateRule
from jaxsched.optimizers._state import OptimizerState


def check_params(
    optimizer: str, rule: UpdateRule, active: Mapping[str, Values], params: Any, assigned: grouping.Grouped
) -> None:
    """That each parameter is an array that the rule can train, or is frozen.

    Args:
        optimizer: Its name in errors.
        rule: The equation.
        active: The hyperparameters of each group that is not frozen.
        params: The parameters.
        assigned: Their paths and groups.

    Raises:
        TypeError, ValueError: If one is not; the error names it.
    """
    check_whole(optimizer, params, rule.elementwise)
    joined = isinstance(params, grouping.JoinedTree)
    for leaf, path, group in zip(jax.tree.leaves(params), assigned.paths, assigned.groups, strict=True):
        check_parameter(optimizer, leaf, path, is_frozen=group not in active)
        if group not in active:
            continue
        values, shape, dtype = active[group], jnp.shape(leaf), jnp.result_type(leaf)
        if why := why_not_kept(shape, dtype, values, joined):
            raise ValueError(f"{optimizer}: parameter {path!r} {why}; give it a group of its own")
        if why := rule.why_untrainable(shape[1:] if values["stacked"] else shape, dtype, values):
            raise ValueError(
                f"{optimizer}: parameter {path!r} {why}; give it another optimizer with optax.partition, or freeze its "
                "group with None"
            )


def check_whole(optimizer: str, params: Any, elementwise: bool) -> None:
    """Raise if an optimizer that needs whole arrays gets joined ones."""
    if isinstance(params, grouping.JoinedTree) and not elementwise:
        raise ValueError(
            f"{optimizer}: it needs whole arrays, which flatten_groups joins; leave flatten_groups out, and build "
            "a recipe without flatten=True"
        )


def check_parameter(optimizer: str, leaf: Any, path: str, *, is_frozen: bool) -> None:
    """That a leaf of the parameters is an array and, unless it is frozen, a floating one that is to be trained."""
    if not (hasattr(leaf, "dtype") or is_host_number(leaf)):
        raise TypeError(
            f"{optimizer}: {path!r} is not an array but {short(leaf)}; pass arrays only: for an Equinox module "
            "eqx.filter(model, eqx.is_inexact_array)"
        )
    if not is_frozen and not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
        raise TypeError(
            f"{optimizer}: parameter {path!r} is {jnp.result_type(leaf)}; only floating ones can be trained. Keep it "
            "out of the tree, or freeze its group with None."
        )
    if not is_frozen and grouping.is_statistic(path):
        raise TypeError(
            f"{optimizer}: {path!r} is a running statistic by its name: weight decay would change it. Keep "
            "it out of the tree, or freeze its group with None."
        )


def leaves_like(optimizer: str, gradients: Any, what: str, tree: Any) -> list[Any]:
    """The leaves of a tree, such as the parameters, for each of the gradients.

    Raises:
        ValueError: If it has another structure.
    """
    structure: Any = jax.tree.structure(gradients)
    try:
        found: list[Any] = structure.flatten_up_to(tree)
        whole: Any = jax.tree.structure(found)
        alike = whole.num_nodes == 1 + len(found)  # the list and its items, none of which is a tree
    except ValueError:
        if isinstance(tree, grouping.JoinedTree):  # the error says what to do with one
            raise
        alike = False
    if not alike:
        differs = only_in({"the gradients": gradients, what: tree}) or "they differ in the types of their containers"
        raise ValueError(f"{optimizer}: {what} must be a tree like the gradients; {differs}")
    return found


def check_shapes(optimizer: str, paths: Sequence[str], what: str, found: Sequence[Any], wanted: Sequence[Any]) -> None:
    """That arrays have the shapes of others: they would be broadcast, and the parameters grow.

    Raises:
        ValueError: If one has not.
    """
    for path, own, like in zip(paths, found, wanted, strict=True):
        if own is not like and jnp.shape(own) != jnp.shape(like):
            raise ValueError(
                f"{optimizer}: {what} {path!r} must have the shape {jnp.shape(like)}, got {jnp.shape(own)}"
            )


def only_in(trees: Mapping[str, Any]) -> str:
    """What each of two trees has alone, by its first path: ``"'a/b' only in X and 'c' only in Y"``; "" if nothing."""
    (one, first), (two, second) = ((name, _paths(tree)) for name, tree in trees.items())
    sides = {one: first - second, two: second - first}
    return " and ".join(f"{short(min(paths))} only in {where}" for where, paths in sides.items() if paths)


def _paths(tree: Any) -> set[str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda node: isinstance(node, optax.MaskedNode))
    return {jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves}


def check_kind(transformation: str, state: Any, kind: type) -> None:
    """That a state is of the type that ``init`` returns."""
    if not isinstance(state, kind):
        raise TypeError(f"{transformation}: the state must be what init returned, got {_what_it_is(state)}")


def check_state(optimizer: str, state: Any, groups: Values, slots: Mapping[str, Any]) -> None:
    """That a state is of this optimizer: of other groups it would name the wrong ones, and without a slot not go on."""
    check_kind(optimizer, state, OptimizerState)
    missing = [name for name in slots if name not in state.slots]
    if sorted(state.groups) != sorted(groups) or missing:
        raise ValueError(
            f"{optimizer}: the state is of another optimizer: it has the groups {_listed(state.groups)} and the slots "
            f"{_listed(state.slots)}; here the groups are {_listed(groups)}, the slots {_listed(slots)}. "
            "To go on from it: js.carry_over(state, tx.init(params))"
        )
    if any(jnp.shape(row) != (len(groups),) for row in jax.tree.leaves(state.hyperparams)):
        raise ValueError(
            f"{optimizer}: state.hyperparams was changed, but it only reports what the last update used; to set a "
            f"value from here on: js.optimizers.override(state, {name_of('lr', state.hyperparams) or 'name'}=...)"
        )


def check_overrides(optimizer: str, rule: UpdateRule, state: OptimizerState, active: Mapping[str, Values]) -> None:
    """That there is a slot for what was the number 0 when the optimizer was made, and was overridden since."""
    for values in active.values():
        missing = [name for name in rule.slots({**values, **state.overrides}) if name not in state.slots]
        if missing:
            raise ValueError(
                f"{optimizer}: {' and '.join(state.overrides)} cannot be overridden, since the state has no slot "
                f"{', '.join(map(repr, missing))}: make the optimizer with js.constant(0.0) in place of the number 0"
            )


def _what_it_is(state: Any) -> str:
    kind = type(state).__name__
    if isinstance(state, Mapping):
        return (
            f"{kind}: restore a checkpoint with the structure of the state, such as checkpointer.restore(path, "
            "tx.init(params)) of orbax"
        )
    return f"{kind}; the order is tx.update(gradients, opt_state, params)"


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"
