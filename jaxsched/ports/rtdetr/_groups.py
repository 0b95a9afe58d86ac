"""Groups of parameters by the regular expressions of a config, which are meant for torch's names of parameters."""

from __future__ import annotations

import re

from jaxsched.checks import short
from jaxsched.groups import Condition, Rule, regex
from jaxsched.ports.shared import Settings

MOST_GROUPS = 100
REST = "rest"
"""The group of the parameters that no pattern matches."""
_LOOK = re.compile(r"\(\?([=!])")


def groups(a: Settings) -> tuple[tuple[Rule, ...], dict[str, Settings]]:
    """The rules and the settings of each group that ``optimizer: params`` lists, by its index: ``group_0``, ..."""
    given = a.take("params", [])
    if not isinstance(given, list) or len(given) > MOST_GROUPS:
        raise TypeError(f"{a.at('params')} must be a list of at most {MOST_GROUPS} groups, got {short(given)}")
    rules, settings = list[Rule](), dict[str, Settings]()
    for i, entry in enumerate(given):
        own = Settings(f"{a.at('params')}[{i}]", entry)
        rules.append(Rule(condition(own.at("params"), own.text("params")), f"group_{i}"))
        settings[f"group_{i}"] = own
    return (*rules, Rule("**", REST, optional=True)), settings


def condition(where: str, pattern: str) -> Condition:
    """The parameters whose path a pattern is found in, written with ``/`` for a dot and with Flax's names of a weight.

    ``^(?=.*A)(?!.*B).*$`` is taken apart into A and not B, each found anywhere: `regex` bounds the length of each.

    Examples:
        >>> condition("params", "^(?=.*backbone)(?!.*(?:norm|bn)).*$")
        all(regex('backbone'), not(regex('(?:norm|bn)')))
        >>> condition("params", r"decoder\\.layers\\.\\d\\.weight")
        regex('decoder/layers/\\\\d/(?:weight|kernel|scale|embedding)')
    """
    try:
        looks = _lookaheads(pattern)
        if looks is None:
            return _found(pattern)
        parts = [_any(body) if wanted else ~_any(body) for wanted, body in looks]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return parts[0] if len(parts) == 1 else Condition("all", tuple(parts))


def _lookaheads(pattern: str) -> list[tuple[bool, str]] | None:
    """Whether each lookahead is positive, and its pattern; None if there is more than lookaheads at the start."""
    found, rest = [], pattern.removeprefix("^")
    while rest != pattern and (look := _LOOK.match(rest)):
        inside = _split(rest[look.end() :], ")")
        if len(inside) < 2:
            return None
        found.append((look[1] == "=", inside[0]))
        rest = rest[look.end() + len(inside[0]) + 1 :]
    return found if found and rest in ("", ".*", ".*$") else None


def _any(body: str) -> Condition:
    """The alternatives of a lookahead at the start: ``.*A`` is found anywhere, another one at the start."""
    parts = [_found(part[2:] if re.match(r"\.\*[^?+]", part) else f"^{part}") for part in _split(body, "|")]
    return parts[0] if len(parts) == 1 else Condition("any", tuple(parts))


def _split(pattern: str, at: str) -> list[str]:
    """The parts of a pattern between the characters ``at`` that are in no group, class or escape."""
    parts, depth, in_class, escaped, begin = [], 0, False, False, 0
    for i, character in enumerate(pattern):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        elif character == at and depth == 0:
            parts.append(pattern[begin:i])
            begin = i + 1
        else:
            depth += {"(": 1, ")": -1}.get(character, 0)
    return [*parts, pattern[begin:]]


def _found(pattern: str) -> Condition:
    return regex(pattern.replace(r"\.", "/").replace("weight", "(?:weight|kernel|scale|embedding)"))
