"""Driven by a metric: the schedules whose value `report_metric` moves, and what the driver does with them.

In an expression such a schedule is one like any other, called with its number ``base``. What has become of it lives in
the optimizer's state, where the driver reads it and `report_metric` moves it on: pure functions of arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxsched import _greedy, _plateau
from jaxsched.schedules import Schedule
from jaxsched.schedules._schedule import real

State = Any
"""A NamedTuple of arrays: ``value``, which takes the place of ``base``, ``settings``, the arguments, and what it
counts."""
States = Mapping[str, State]


class Follower(NamedTuple):
    """How a schedule follows a metric."""

    state: type
    start: Callable[[Schedule], State]
    """The state before any report."""
    report: Callable[[list[State], jax.Array], list[State]]
    """The states after a report: those of one hyperparameter in all groups."""


FOLLOWERS: Mapping[Any, Follower] = {
    _plateau.plateau: Follower(_plateau.PlateauState, _plateau.start, _plateau.report),
    _greedy.greedy: Follower(_greedy.GreedyState, _greedy.start, _greedy.report),
}


def report_metric(opt_state: Any, metric: ArrayLike) -> Any:
    """The state after a metric was reported to each `plateau` and `greedy` in it.

    Args:
        opt_state: Anything that holds the state of an optimizer of jaxsched, as for `hyperparams`. The Variables of an
            ``nnx.Optimizer`` are written in place, as its own ``update`` does; all else is left as it was.
        metric: A number, such as the validation loss. In float32 (float64 under ``jax_enable_x64``).

    Returns:
        ``opt_state`` with these moved on.

    Raises:
        ValueError: If no hyperparameter is a `plateau` or `greedy`, or ``metric`` is an array of several.
        TypeError: If ``metric`` is no number.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> state = js.sgd(lr=js.plateau(0.1, patience=0)).init({"kernel": jnp.ones(2)})
        >>> state = js.report_metric(js.report_metric(state, 1.0), 2.0)
        >>> round(float(js.metric_state(state)["weight"]["lr"].value), 7)
        0.01
    """
    from jaxsched.optimizers._state import OptimizerState, states  # here: that file is written with this one

    if isinstance(metric, str | bytes | None):
        raise TypeError(f"report_metric: the metric must be a number, got {metric!r}")
    metric = real(metric)
    if metric.shape != ():
        raise ValueError(f"report_metric: the metric must be one number, got an array of shape {metric.shape}")
    tree = getattr(opt_state, "opt_state", opt_state)
    if not any(state.plateau for state in states(tree, OptimizerState)):
        raise ValueError(f"report_metric: no hyperparameter in {type(opt_state).__name__} is a plateau or a greedy")

    def one(node: Any) -> Any:
        if not isinstance(node, OptimizerState):
            return node
        return node._replace(plateau=reboxed(node.plateau, _reported(unboxed(node.plateau), metric)))

    moved = jax.tree.map(one, tree, is_leaf=lambda node: isinstance(node, OptimizerState))
    if tree is opt_state:
        return moved
    return opt_state.replace(opt_state=moved) if hasattr(opt_state, "replace") else opt_state


def _reported(by_group: Mapping[str, States], metric: jax.Array) -> dict[str, dict[str, State]]:
    moved = {group: dict(by_name) for group, by_name in by_group.items()}
    for name in sorted({name for by_name in moved.values() for name in by_name}):
        for follower in FOLLOWERS.values():
            groups = [group for group, own in moved.items() if isinstance(own.get(name), follower.state)]
            after = follower.report([moved[group][name] for group in groups], metric) if groups else []
            for group, state in zip(groups, after, strict=True):
                moved[group][name] = state
    return moved


def metric_state(opt_state: Any) -> dict[str, dict[str, State]]:
    """The state of each hyperparameter that follows a metric, by group: its value, the best metric, counts.

    That of a `plateau` is a `PlateauState`, that of a `greedy` a `GreedyState`.

    Args:
        opt_state: Anything that holds the state of an optimizer of jaxsched, as for `hyperparams`.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> state = js.sgd(lr=js.plateau(0.1)).init({"kernel": jnp.ones(2)})
        >>> int(js.metric_state(js.report_metric(state, jnp.nan))["weight"]["lr"].bad)
        1
    """
    from jaxsched.optimizers._state import OptimizerState, states  # here: that file is written with this one

    found: dict[str, dict[str, State]] = {}
    for state in states(opt_state, OptimizerState):
        for group, by_name in state.plateau.items():
            found.setdefault(group, {}).update({name: unboxed(value) for name, value in by_name.items()})
    return found


def _is_variable(node: Any) -> bool:
    return hasattr(node, "get_value")


def unboxed(tree: Any) -> Any:
    """A tree with its arrays out of the NNX Variables that may hold them."""
    return jax.tree.map(lambda x: x.get_value() if _is_variable(x) else x, tree, is_leaf=_is_variable)


def reboxed(old: Any, new: Any) -> Any:
    """``new``, a tree like ``old``; where ``old`` has NNX Variables these, written in place."""

    def one(box: Any, value: jax.Array) -> Any:
        if not _is_variable(box):
            return value
        box.set_value(value)
        return box

    return jax.tree.map(one, old, new, is_leaf=_is_variable)


# What the driver does with them.


def definitions(values: Mapping[str, Any]) -> dict[str, Schedule]:
    """The schedule driven by a metric in each hyperparameter that has one.

    Raises:
        ValueError: If a hyperparameter has two.
    """
    found = {}
    for name, value in values.items():
        here = [leaf for leaf in jax.tree.leaves(value, is_leaf=_is_driven) if _is_driven(leaf)]
        if len(here) > 1:
            kinds = "plateaus" if {leaf.name for leaf in here} == {"plateau"} else "schedules driven by a metric"
            raise ValueError(f"{name} holds {len(here)} {kinds}, {here!r}; a hyperparameter may hold one")
        if here:
            found[name] = here[0]
    return found


def start(values: Mapping[str, Any]) -> dict[str, State]:
    """The state of each of them among hyperparameters before any report."""
    return {name: FOLLOWERS[one.maker].start(one) for name, one in definitions(values).items()}


def refresh(values: Mapping[str, Any], states: States) -> dict[str, State]:
    """The states with the settings of the definitions, which may have changed since, as after a checkpoint."""
    begun = start(values)
    if set(begun) != set(states) or not all(alike(states[name], state) for name, state in begun.items()):
        raise ValueError(
            f"the hyperparameters that follow a metric are {sorted(begun)}, but the state has {sorted(states)}, or "
            "they are not alike: it was made by another optimizer; make it anew with init"
        )
    return {name: states[name]._replace(settings=state.settings) for name, state in begun.items()}


def alike(one: Any, other: Any) -> bool:
    """Whether two trees have the same structure and shapes."""
    leaves, trees = zip(*(jax.tree.flatten(unboxed(tree)) for tree in (one, other)), strict=True)
    return trees[0] == trees[1] and list(map(jnp.shape, leaves[0])) == list(map(jnp.shape, leaves[1]))


def resolve(values: Mapping[str, Any], states: States) -> dict[str, Any]:
    """The hyperparameters with the present value of each in place of its base."""

    def one(leaf: Any, state: State) -> Any:
        return Schedule(leaf.maker, {**leaf.arguments, "base": state.value}) if _is_driven(leaf) else leaf

    def resolved(name: str, value: Any) -> Any:
        if name not in states:
            return value
        return jax.tree.map(lambda leaf: one(leaf, states[name]), value, is_leaf=_is_driven)

    return {name: resolved(name, value) for name, value in values.items()}


def _is_driven(value: Any) -> bool:
    return isinstance(value, Schedule) and value.maker in FOLLOWERS
