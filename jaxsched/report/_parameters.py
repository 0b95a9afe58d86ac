"""The table of all parameters: shape, role, group, the rule that matched, hyperparameters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from jaxsched import groups as grouping
from jaxsched.recipe import Recipe
from jaxsched.report._curves import shown_of
from jaxsched.report._table import columns, plural, short


@dataclasses.dataclass(frozen=True)
class ParameterRow:
    """One parameter of a `ParameterTable`.

    Attributes:
        path: Its path in the tree.
        shape: Its shape.
        role: Its role: weight, norm, norm_bias or bias.
        group: The group that it belongs to.
        rule: The rule that matched, in words.
        hyperparameters: Those of its group, if the table was given any; None where the group is frozen.
    """

    path: str
    shape: tuple[int, ...]
    role: str
    group: str
    rule: str
    hyperparameters: Mapping[str, Any] | None

    @property
    def size(self) -> int:
        """The number of its entries."""
        return math.prod(self.shape)


class ParameterTable(tuple[ParameterRow, ...]):
    """Every parameter, in the order of the tree: a tuple of `ParameterRow` that prints as a table."""

    __slots__ = ()

    def counts(self) -> dict[str, tuple[int, int]]:
        """For each group the number of parameters and the number of their entries."""
        result: dict[str, tuple[int, int]] = {}
        for row in self:
            arrays, entries = result.get(row.group, (0, 0))
            result[row.group] = arrays + 1, entries + row.size
        return result

    def __str__(self) -> str:
        names = list(dict.fromkeys(name for row in self for name in row.hyperparameters or {}))
        rows = [
            [row.path, _shape(row.shape), row.role, row.group, row.rule]
            + ["frozen" if row.hyperparameters is None and names else _cell(row, name) for name in names]
            for row in self
        ]
        counts = [
            f"  {group}: {plural(arrays, 'parameter')}, {plural(entries, 'number')}"
            for group, (arrays, entries) in self.counts().items()
        ]
        table = columns(["path", "shape", "role", "group", "rule", *names], rows, indent=0)
        return "\n".join([table, "", *counts])

    __repr__ = __str__


def parameter_table(
    params: Any,
    rules: grouping.Rules | Recipe | None = None,
    hyperparams: Mapping[str, Mapping[str, Any] | None] | None = None,
) -> ParameterTable:
    """Every parameter with its shape, role, group, the rule that matched, and the hyperparameters of its group.

    Args:
        params: The parameters, as for `labels`.
        rules: As for `labels`, by role by default; or a recipe, for its rules and its lr, momentum and weight decay.
        hyperparams: For each group its hyperparameters, as ``js.hyperparams(opt_state)`` gives them, to be shown; None
            for a group that is frozen.

    Returns:
        A tuple of rows, which prints as a table.

    Raises:
        ValueError: If a parameter is covered by no rule, or a rule has no parameter.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.parameter_table({"conv": {"kernel": jnp.ones((3, 3)), "bias": jnp.ones(3)}})
        path         shape  role    group   rule
        conv/bias    3      bias    bias    role bias or norm_bias
        conv/kernel  3x3    weight  weight  role weight
        <BLANKLINE>
          bias: 1 parameter, 3 numbers
          weight: 1 parameter, 9 numbers
    """
    if isinstance(rules, Recipe):
        if hyperparams is None:
            by_group = rules.by_group()
            hyperparams = {group: None if own is None else shown_of(own) for group, own in by_group.items()}
        rules = rules.rules
    ruled = grouping.as_rules(rules)
    found = grouping.parameters(params)
    rows = []
    for parameter, i in zip(found, grouping.assign(found, ruled), strict=True):
        rule = ruled[i]
        own = hyperparams.get(rule.group, {}) if hyperparams is not None else {}
        rows.append(
            ParameterRow(parameter.path, parameter.shape, parameter.role, rule.group, rule_text(rule.match), own)
        )
    return ParameterTable(rows)


def rule_text(match: grouping.Match) -> str:
    """What a rule matches, in words: a glob itself, ``role bias or norm_bias``, the name of a function."""
    if not isinstance(match, grouping.Condition):
        return match if isinstance(match, str) else getattr(match, "__name__", repr(match))
    if match.kind in ("all", "any"):
        texts = [rule_text(one) for one in match.arguments]
        joined = (" and " if match.kind == "all" else " or ").join(texts)
        return f"({joined})" if len(texts) > 1 else joined or ("everything" if match.kind == "all" else "nothing")
    if match.kind == "not":
        return f"not {rule_text(match.arguments[0])}"
    if match.kind == "glob":
        return str(match.arguments[0])
    return f"{match.kind} {' or '.join(map(str, dict.fromkeys(match.arguments)))}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"


def _cell(row: ParameterRow, name: str) -> str:
    value = (row.hyperparameters or {}).get(name)
    if callable(value) and not hasattr(value, "dtype"):
        return getattr(value, "name", getattr(value, "__name__", "schedule"))
    if isinstance(value, tuple | list):
        return "(" + ", ".join(map(short, value)) + ")"
    return short(value)
