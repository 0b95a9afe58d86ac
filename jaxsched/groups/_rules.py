"""Rules: which parameter belongs to which group; as labels on a tree, and as masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from jaxsched.checks import short
from jaxsched.groups._conditions import Match, as_condition, role
from jaxsched.groups._joined import Grouped, JoinedTree
from jaxsched.groups._parameters import Parameter, Tree, parameters


class Rule(NamedTuple):
    """The parameters that ``match``, and that no earlier rule matches, belong to ``group``.

    Attributes:
        match: A glob on the path, a `Condition`, or any function of a `Parameter`.
        group: The name of the group.
        optional: Whether it may match nothing.
    """

    match: Match
    group: str
    optional: bool = False


Rules = Sequence[Rule | tuple[Match, str]]

BY_ROLE: tuple[Rule, ...] = (
    Rule(role("bias", "norm_bias"), "bias", optional=True),
    Rule(role("norm"), "norm", optional=True),
    Rule(role("weight"), "weight", optional=True),
)
"""The rules where none are given: YOLOv5's three groups, biases (of norms too), norm scales, and all other weights."""


def assign(found: Sequence[Parameter], rules: Rules | None = None) -> list[int]:
    """For each parameter the index of the rule that it belongs to.

    Args:
        found: The parameters, as from `parameters`.
        rules: Pairs of a match and a group name; by role where left out.

    Raises:
        ValueError: If a parameter is covered by no rule, or a rule that is not optional has no parameter.
    """
    ruled = as_rules(rules)
    chosen: list[int] = []
    for parameter in found:
        matching = (i for i, rule in enumerate(ruled) if as_condition(rule.match)(parameter))
        chosen.append(next(matching, -1))
    uncovered = [parameter for parameter, i in zip(found, chosen, strict=True) if i < 0]
    if uncovered:
        width = max(len(parameter.path) for parameter in uncovered[:20])
        lines = [f"  {p.path:{width}}  {p.shape}" for p in uncovered[:20]]
        if len(uncovered) > 20:
            lines.append(f"  ... and {len(uncovered) - 20} more")
        raise ValueError(
            f"{len(uncovered)} parameter{'s belong' if len(uncovered) > 1 else ' belongs'} to no group:\n"
            + "\n".join(lines)
            + '\nAdd a rule for them, or end the rules with ("**", "weight").'
        )
    unused = [] if not found else [r for i, r in enumerate(ruled) if i not in set(chosen) and not r.optional]
    if unused:
        names = "\n".join(f"  {rule.match!r} -> {rule.group!r}" for rule in unused)
        raise ValueError(
            f"{len(unused)} rule{'s match' if len(unused) > 1 else ' matches'} no parameter that earlier rules left:"
            f"\n{names}\nThe parameters are {_few([p.path for p in found])}. Fix the pattern, move it up, take it out "
            "or mark it Rule(..., optional=True)."
        )
    return chosen


def _few(paths: Sequence[str]) -> str:
    return ", ".join(paths[:8]) + (f", ... ({len(paths)} in all)" if len(paths) > 8 else "")


def as_rules(rules: Rules | None) -> tuple[Rule, ...]:
    """The rules as `Rule` values; those by role if None.

    Raises:
        TypeError: If a rule is not a pair of a match and a group name.
    """
    if rules is None:
        return BY_ROLE
    result = []
    rule: Any
    for i, rule in enumerate(rules):
        if isinstance(rule, str) or not isinstance(rule, tuple) or len(rule) not in (2, 3):
            raise TypeError(
                f"rules[{i}] must be a pair (match, group name) such as ('head/**', 'head'), got {short(rule)}"
            )
        full = Rule(*rule)
        if not isinstance(full.group, str):
            raise TypeError(f"rules[{i}]: the group must be a name, got {full.group!r}")
        if not callable(full.match) and not isinstance(full.match, str):
            raise TypeError(f"rules[{i}]: the match must be a glob or a function of a Parameter, got {full.match!r}")
        result.append(full)
    return tuple(result)


def grouped(tree: Tree, rules: Rules | None = None) -> Grouped:
    """The path of each leaf and the name of its group; a `JoinedTree` names its own.

    Args:
        tree: A tree of parameters.
        rules: Pairs of a match and a group name; by role where left out.

    Raises:
        ValueError: If a parameter is covered by no rule, or a rule that is not optional has no parameter.
    """
    ruled = as_rules(rules)
    if isinstance(tree, JoinedTree):
        return tree.grouped([rule.group for rule in ruled], [rule.group for rule in ruled if not rule.optional])
    found = parameters(tree)
    return Grouped([parameter.path for parameter in found], [ruled[i].group for i in assign(found, ruled)])


def labels(tree: Tree, rules: Rules | None = None) -> Tree:
    """The group name of each parameter, as a tree like ``tree``: what ``optax.partition`` calls ``param_labels``.

    Args:
        tree: The parameters.
        rules: Pairs of a match and a group name; the first match wins. By role where left out: ``bias`` (of norms
            too), ``norm``, ``weight``.

    Raises:
        ValueError: If a parameter is covered by no rule, or a rule has no parameter.

    Examples:
        >>> import jaxsched as js
        >>> js.groups.labels({"conv": {"kernel": 1.0, "bias": 2.0}, "bn": {"scale": 3.0, "bias": 4.0}})
        {'bn': {'bias': 'bias', 'scale': 'norm'}, 'conv': {'bias': 'bias', 'kernel': 'weight'}}
    """
    return jax.tree.unflatten(jax.tree.structure(tree), grouped(tree, rules).groups)


def mask(*names: str, rules: Rules | None = None) -> Callable[[Tree], Tree]:
    """A mask of the named groups, for ``optax.masked`` and similar: a function from parameters to a tree of bools.

    Args:
        names: The groups whose parameters are True.
        rules: As in `labels`.

    Raises:
        ValueError: If a name is not a group of the rules.

    Examples:
        >>> import jaxsched as js, optax
        >>> js.mask("norm", "bias")({"kernel": 1.0, "bias": 2.0})
        {'bias': True, 'kernel': False}
        >>> decay = optax.masked(optax.add_decayed_weights(5e-4), js.mask("weight"))
    """
    groups = list(dict.fromkeys(rule.group for rule in as_rules(rules)))
    for name in names:
        if name not in groups:
            raise ValueError(f"mask: {name!r} is not a group; the groups are {', '.join(groups)}")
    return lambda tree: jax.tree.map(lambda label: label in names, labels(tree, rules))
