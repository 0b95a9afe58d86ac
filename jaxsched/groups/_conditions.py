"""Conditions on a parameter, as values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from jaxsched.checks import short
from jaxsched.groups._glob import matches
from jaxsched.groups._parameters import ROLES, Parameter


@dataclasses.dataclass(frozen=True)
class Condition:
    """A test of a `Parameter` that can be printed, compared, pickled and written to JSON; ``&``, ``|``, ``~`` combine.

    Attributes:
        kind: Which test: "role", "glob", "contains", "regex", "ndim", "all", "any" or "not".
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

    Args:
        *names: ``"weight"``, ``"norm"`` (a norm's scale), ``"norm_bias"``, ``"bias"``.

    Raises:
        ValueError: If a name is not a role.

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

    Args:
        pattern: The pattern of the whole path, such as ``"head/**"`` or ``"**/bias"``.

    Raises:
        TypeError: If it is not a string, or empty.

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


_REPEATED_GROUP = re.compile(r"\)[*+{]")
_REPEATED = re.compile(r"(?<![\\(])[*+?{]")
MOST_REPEATED = 3
MOST_ALTERNATIVES = 12
"""Bounds on a regular expression, which may come from any file: the time of a search grows exponentially with them."""


def regex(pattern: str) -> Condition:
    """The parameters whose path contains a match of a regular expression, as in MMSelfSup's ``paramwise_options``.

    At most 3 parts may be repeated or optional, no group may be repeated, and there may be at most 12 ``|``, so that a
    pattern from a file takes bounded time.

    Args:
        pattern: The expression, as for ``re.search``.

    Raises:
        TypeError: If it is not a string, or empty.
        ValueError: If it is not a regular expression, or exceeds these bounds.

    Examples:
        >>> import jaxsched as js
        >>> js.groups.labels({"bn1": {"scale": 1.0}, "conv": {"kernel": 2.0}}, [(js.groups.regex(r"bn\\d+/"), "norm"),
        ...     ("**", "rest")])
        {'bn1': {'scale': 'norm'}, 'conv': {'kernel': 'rest'}}
    """
    if not isinstance(pattern, str) or not pattern:
        raise TypeError(f"regex: the pattern must be a string such as 'bn[0-9]/', got {short(pattern)}")
    many = len(_REPEATED.findall(pattern)) > MOST_REPEATED or pattern.count("|") > MOST_ALTERNATIVES
    if many or len(pattern) > 500 or _REPEATED_GROUP.search(pattern):
        raise ValueError(
            f"regex: {short(pattern)} may take too long: at most {MOST_REPEATED} repetitions, none of a group, and "
            f"{MOST_ALTERNATIVES} alternatives"
        )
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"regex: {short(pattern)} is not a regular expression: {error}") from None
    return Condition("regex", (pattern,))


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
    "regex": lambda parameter, pattern: re.search(pattern, parameter.path) is not None,
    "ndim": lambda parameter, low, high: low <= len(parameter.shape) <= high,
    "all": lambda parameter, *conditions: all(condition(parameter) for condition in conditions),
    "any": lambda parameter, *conditions: any(condition(parameter) for condition in conditions),
    "not": lambda parameter, condition: not condition(parameter),
}
