"""Rules on groups and their parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jaxsched import groups as grouping
from jaxsched.report._parameters import ParameterTable
from jaxsched.report._sample import Sample
from jaxsched.report._table import plural, short
from jaxsched.report.lint._finding import Finding


def decay_on_bias_or_norm(seen: Sample, table: ParameterTable) -> Iterator[Finding]:
    for group, values in seen.values.items():
        decay = float(values["weight_decay"].max()) if "weight_decay" in values else 0.0
        found = [row.role for row in table if row.group == group and row.role != "weight"]
        if decay > 0 and found:
            norms = sum(role.startswith("norm") for role in found)
            counts = [plural(n, name) for n, name in ((len(found) - norms, "bias"), (norms, "norm parameter")) if n]
            yield Finding(
                "decay-on-bias-or-norm",
                "remark",
                f"weight decay of {short(decay)} acts on {' and '.join(counts)}",
                'Most recipes spare them: rules by role, and groups={"bias": dict(weight_decay=0.0), ...}.',
                (group,),
            )


def running_statistic(seen: Sample, table: ParameterTable) -> Iterator[Finding]:
    for group in seen.values:
        found = [row.path for row in table if row.group == group and grouping.is_statistic(row.path)]
        if found:
            yield Finding(
                "running-statistic",
                "error",
                f"{found[0]} is a running statistic by its name"
                + (f", and so {'is' if len(found) == 2 else 'are'} {len(found) - 1} more" if found[1:] else "")
                + ", not a parameter: the recipe cannot be built for it",
                "Keep it out of the tree, or freeze its group with None.",
                (group,),
            )


def empty_group(seen: Sample, table: ParameterTable) -> Iterator[Finding]:
    filled = {row.group for row in table}
    for group in seen.groups:
        if group not in filled and group in seen.recipe.groups:
            yield Finding(
                "empty-group",
                "remark",
                "no parameter belongs to this group, whose hyperparameters differ",
                "Look at its rules, and at those before them.",
                (group,),
            )


def lonely_rule(seen: Sample, table: ParameterTable) -> Iterator[Finding]:
    """Rules such as ``head/*`` that match at most one parameter where ``head/**`` would match many."""
    for rule in seen.recipe.rules:
        pattern = rule.match if isinstance(rule.match, str) else None
        if isinstance(rule.match, grouping.Condition) and rule.match.kind == "glob":
            pattern = rule.match.arguments[0]
        if not pattern or not pattern.endswith("*") or pattern.endswith("**"):
            continue
        rows = [grouping.Parameter(row.path, row.role, row.shape, None) for row in table]
        taken = sum(map(grouping.glob(pattern), rows))
        meant = sum(map(grouping.glob(f"{pattern}*"), rows))
        if taken <= 1 < meant:
            yield Finding(
                "lonely-rule",
                "warning",
                f"the rule {pattern!r} matches {taken or 'no'} parameter, but {pattern + '*'!r} would match {meant}",
                "* stays within a name; ** goes through any number of names.",
                (rule.group,),
            )


RULES: dict[str, Callable[[Sample, ParameterTable], Iterator[Finding]]] = {
    "decay-on-bias-or-norm": decay_on_bias_or_norm,
    "running-statistic": running_statistic,
    "empty-group": empty_group,
    "lonely-rule": lonely_rule,
}
