"""Metric-driven schedules: those whose value `report_metric` changes, and what the driver does with them.

In an expression such a schedule is like any other and has the value ``base``. Its present value is in the optimizer's
state, where the driver reads it and `report_metric` updates it: pure functions of arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsched.checks import short
from jaxsched.groups import unboxed
from jaxsched.metric import _greedy, _plateau
from jaxsched.schedules import Schedule

State = Any
"""A NamedTuple of arrays: ``value``, which replaces ``base``; ``settings``, the arguments; and counters."""
States = Mapping[str, State]


class Follower(NamedTuple):
    """How a schedule follows a metric.

    Attributes:
        start: The state before any report.
        report: The states after a report: those of one hyperparameter in all groups.
        reports_before_bad: Reports before the first that can count as bad, beside those that its ``patience``
            tolerates.
    """

    state: type
    start: Callable[[Schedule], State]
    report: Callable[[list[State], jax.Array], list[State]]
    reports_before_bad: int


FOLLOWERS: Mapping[Any, Follower] = {
    _plateau.plateau: Follower(_plateau.PlateauState, _plateau.start, _plateau.report, 1),
    _greedy.greedy: Follower(_greedy.GreedyState, _greedy.start, _greedy.report, 0),
}


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
            raise ValueError(
                f"{name} holds {len(here)} schedules that follow a metric, {short(here)}; a hyperparameter may hold one"
            )
        if here:
            found[name] = here[0]
    return found


def start(values: Mapping[str, Any]) -> dict[str, State]:
    """The state, before any report, of each metric-driven schedule among hyperparameters.

    Each array is a separate buffer, so that a fresh state can be donated.
    """
    return jax.tree.map(jnp.array, _begun(values))


def _begun(values: Mapping[str, Any]) -> dict[str, State]:
    return {name: FOLLOWERS[one.maker].start(one) for name, one in definitions(values).items()}


def refresh(values: Mapping[str, Any], states: States) -> dict[str, State]:
    """The states with the settings of the definitions, which may have changed since a checkpoint."""
    begun = _begun(values)
    if set(begun) != set(states) or not all(alike(states[name], state) for name, state in begun.items()):
        raise ValueError(
            f"the hyperparameters that follow a metric are {sorted(begun)}, but the state has {sorted(states)}, or "
            "they are not alike: it was made by another optimizer; make a new one with init"
        )
    return {name: states[name]._replace(settings=state.settings) for name, state in begun.items()}


def alike(one: Any, other: Any) -> bool:
    """Whether two trees have the same structure and shapes."""
    leaves, trees = zip(*(jax.tree.flatten(unboxed(tree)) for tree in (one, other)), strict=True)
    return trees[0] == trees[1] and list(map(jnp.shape, leaves[0])) == list(map(jnp.shape, leaves[1]))


def resolve(values: Mapping[str, Any], states: States) -> dict[str, Any]:
    """The hyperparameters, with the present value of each in place of its base."""

    def one(leaf: Any, state: State) -> Any:
        return Schedule(leaf.maker, {**leaf.arguments, "base": state.value}) if _is_driven(leaf) else leaf

    def resolved(name: str, value: Any) -> Any:
        if name not in states:
            return value
        return jax.tree.map(lambda leaf: one(leaf, states[name]), value, is_leaf=_is_driven)

    return {name: resolved(name, value) for name, value in values.items()}


def _is_driven(value: Any) -> bool:
    return isinstance(value, Schedule) and value.maker in FOLLOWERS
