"""Conditions on a parameter, as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxsched.checks import short
from jaxsched.groups._glob import matches
from jaxsched.groups._parameters import ROLES, Parameter


@dataclasses.dataclass(frozen=True)
class Condition:
    """A test of a `Parameter` that can be printed, compared, pickled and written to JSON; ``&``, ``|``, ``~`` combine.

    Attributes:
        kind: Which test: "role", "glob", "contains", "ndim", "all", "any" or "not".
        arguments: Of the test.
    """

    kind: str
    arguments: tuple[Any, ...]

    def __call__(self, parameter: Parameter) -> bool:
        return bool(_KINDS[self.kind](parameter, *self.arguments))

    def __and__(self, other: Condition | str) -> Condition:
        return Condition("all", (self, as_condition(other)))

    def __or__(self, other: Condition | str) -> Condition:
        return Condition("any", (self, as_condition(other)))

    def __invert__(self) -> Condition:
        return Condition("not", (self,))

    def __repr__(self) -> str:
        return f"{self.kind}({', '.join(map(repr, self.arguments))})"


def role(*names: str) -> Condition:
    """The parameters of the given roles.

    Examples:
        >>> import jaxsched as js
        >>> js.groups.labels({"w": 1.0, "b": 2.0}, rules=[(js.role("bias"), "no decay"), ("**", "decay")])
        {'b': 'no decay', 'w': 'decay'}
    """
    for name in names:
        if name not in ROLES:
            raise ValueError(f"role: {short(name)} is not a role; the roles are {', '.join(ROLES)}")
    return Condition("role", names)


def glob(pattern: str) -> Condition:
    """The parameters whose path matches: ``*`` within a name, ``**`` for any number of names, ``?`` one character.

    A string in place of a condition is taken as a glob.

    Examples:
        >>> import jaxsched as js
        >>> rules = [(js.groups.glob("head/**"), "fast"), ("**", "slow")]
        >>> js.groups.labels({"head": {"w": 1.0}, "body": {"w": 2.0}}, rules)
        {'body': {'w': 'slow'}, 'head': {'w': 'fast'}}
    """
    if not isinstance(pattern, str) or not pattern:
        raise TypeError(f"glob: the pattern must be a string such as 'head/**', got {short(pattern)}")
    return Condition("glob", (pattern,))


def contains(text: str) -> Condition:
    """The parameters whose path contains ``text``, as in MMDetection's ``custom_keys``."""
    return Condition("contains", (text,))


def ndim(low: int, high: int | None = None) -> Condition:
    """The parameters with ``low`` (to ``high``) axes."""
    return Condition("ndim", (low, low if high is None else high))


Match = Condition | str | Callable[[Parameter], bool]


def as_condition(match: Match) -> Condition:
    """The condition that a rule's match stands for: a string is a `glob`."""
    return glob(match) if isinstance(match, str) else match  # type: ignore[return-value]


_KINDS: dict[str, Callable[..., bool]] = {
    "role": lambda parameter, *names: parameter.role in names,
    "glob": lambda parameter, pattern: matches(pattern, parameter.path),
    "contains": lambda parameter, text: text in parameter.path,
    "ndim": lambda parameter, low, high: low <= len(parameter.shape) <= high,
    "all": lambda parameter, *conditions: all(condition(parameter) for condition in conditions),
    "any": lambda parameter, *conditions: any(condition(parameter) for condition in conditions),
    "not": lambda parameter, condition: not condition(parameter),
}
