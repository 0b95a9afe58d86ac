"""Which parameter belongs to which group of an optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jaxsched import groups as grouping
from jaxsched.optimizers._hyperparameters import Groups


def assignment_of(
    rules: grouping.Rules | None, groups: Groups | None
) -> tuple[tuple[grouping.Rule, ...], Callable[[Any], grouping.Grouped]]:
    """The rules, and what finds the groups of the parameters of a tree."""
    ruled = _required(grouping.as_rules(rules), groups or {}, given=rules is not None)
    return ruled, _Assignment(ruled)


def _required(ruled: tuple[grouping.Rule, ...], groups: Groups, given: bool) -> tuple[grouping.Rule, ...]:
    """The rules by role may match nothing, unless the user said something about their group."""
    return ruled if given else tuple(rule._replace(optional=rule.group not in groups) for rule in ruled)


class _Assignment:
    """The groups of the parameters of a tree, found once for each structure: walking paths costs more than tracing."""

    def __init__(self, rules: tuple[grouping.Rule, ...]):
        self.rules = rules
        self.found: dict[Any, grouping.Grouped] = {}

    def __call__(self, params: Any) -> grouping.Grouped:
        leaves, structure = jax.tree.flatten(params)
        key = (structure, tuple(getattr(leaf, "shape", ()) for leaf in leaves))
        if key not in self.found:
            self.found[key] = grouping.grouped(params, self.rules)
        return self.found[key]
