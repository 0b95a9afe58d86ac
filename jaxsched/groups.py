"""Groups: which parameter belongs to which name.

Every parameter has a path (``"backbone/conv1/kernel"``) and a role (``weight``, ``norm``, ``norm_bias``, ``bias``).
Ordered rules turn them into named groups: the first match wins, every parameter must be covered, and a rule that
matches nothing is an error. Group names know nothing of schedules or optimizers; they are labels on a tree.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

Tree = Any

ROLES = ("weight", "norm", "norm_bias", "bias")
"""What a parameter is for: a weight, the scale of a normalisation, its bias, or any other bias."""


class Parameter(NamedTuple):
    """What a rule sees of a parameter."""

    path: str
    """Its names from the root, joined by ``/``."""
    role: str
    """One of `ROLES`."""
    shape: tuple[int, ...]
    dtype: Any


@dataclasses.dataclass(frozen=True)
class Condition:
    """A test of a `Parameter` that can be printed, compared, pickled, written to JSON; ``&``, ``|``, ``~`` combine."""

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

    Example:
        >>> import jaxsched as js
        >>> js.labels({"w": 1.0, "b": 2.0}, rules=[(js.role("bias"), "no decay"), ("**", "decay")])
        {'b': 'no decay', 'w': 'decay'}
    """
    for name in names:
        if name not in ROLES:
            raise ValueError(f"role: {name!r} is no role; the roles are {', '.join(ROLES)}")
    return Condition("role", names)


def glob(pattern: str) -> Condition:
    """The parameters whose path matches: ``*`` within a name, ``**`` for any number of names, ``?`` one character.

    A text in place of a condition means this.

    Example:
        >>> import jaxsched as js
        >>> js.labels({"head": {"w": 1.0}, "body": {"w": 2.0}}, rules=[(js.glob("head/**"), "fast"), ("**", "slow")])
        {'body': {'w': 'slow'}, 'head': {'w': 'fast'}}
    """
    if not isinstance(pattern, str) or not pattern:
        raise TypeError(f"glob: a pattern is a text such as 'head/**', got {pattern!r}")
    return Condition("glob", (pattern,))


def contains(text: str) -> Condition:
    """The parameters whose path holds ``text`` anywhere, as in MMDetection's ``custom_keys``."""
    return Condition("contains", (text,))


def ndim(low: int, high: int | None = None) -> Condition:
    """The parameters with ``low`` (to ``high``) axes."""
    return Condition("ndim", (low, low if high is None else high))


Match = Condition | str | Callable[[Parameter], bool]


class Rule(NamedTuple):
    """The parameters that ``match`` (and no earlier rule did) belong to ``group``."""

    match: Match
    """A glob on the path, a `Condition`, or any function of a `Parameter`."""
    group: str
    optional: bool = False
    """Whether it may match nothing."""


Rules = Sequence[Rule | tuple[Match, str]]

BY_ROLE: tuple[Rule, ...] = (
    Rule(role("bias", "norm_bias"), "bias", optional=True),
    Rule(role("norm"), "norm", optional=True),
    Rule(role("weight"), "weight", optional=True),
)
"""The rules where none are given: YOLOv5's three groups, biases (of norms too), norm scales, and all other weights."""


def as_condition(match: Match) -> Condition:
    return glob(match) if isinstance(match, str) else match  # type: ignore[return-value]


@functools.cache
def _glob_expression(pattern: str) -> re.Pattern[str]:
    """Cached: the translation of a text does not change."""
    pieces = []
    names = pattern.split("/")
    for i, name in enumerate(names):
        last = i == len(names) - 1
        if name == "**":
            pieces.append(".*" if last else "(?:[^/]+/)*")
        else:
            text = "".join({"*": "[^/]*", "?": "[^/]"}.get(c, re.escape(c)) for c in name)
            # ``head/**`` is head too, should head itself be a parameter
            pieces.append(text + ("" if last else "(?:/|$)" if names[i + 1 :] == ["**"] else "/"))
    return re.compile("".join(pieces))


_KINDS: dict[str, Callable[..., bool]] = {
    "role": lambda parameter, *names: parameter.role in names,
    "glob": lambda parameter, pattern: _glob_expression(pattern).fullmatch(parameter.path) is not None,
    "contains": lambda parameter, text: text in parameter.path,
    "ndim": lambda parameter, low, high: low <= len(parameter.shape) <= high,
    "all": lambda parameter, *conditions: all(condition(parameter) for condition in conditions),
    "any": lambda parameter, *conditions: any(condition(parameter) for condition in conditions),
    "not": lambda parameter, condition: not condition(parameter),
}


def parameters(tree: Tree) -> list[Parameter]:
    """The parameters of a tree, in the order of its leaves, with their paths and roles.

    ``tree`` may be nested dicts, a Flax Linen ``params``, an NNX ``State`` or module, an Equinox module, a dataclass or
    any other pytree. The role comes from the class of the module that holds the parameter where the tree has one, and
    from the names otherwise:

    - ``norm``: a parameter named scale, gamma or weight of a norm (a class or name such as ``BatchNorm``, ``bn1``,
      ``layer_norm``), or named scale or gamma beside a bias, offset or beta or alone;
    - ``norm_bias``: a bias, offset or beta of a norm, or beside a scale or gamma;
    - ``bias``: any other parameter named bias, b, or ending in ``_bias``;
    - ``weight``: everything else.
    """
    found = jax.tree_util.tree_leaves_with_path(tree)
    paths = [_names(tree, path) for path, _ in found]
    siblings: dict[tuple[str, ...], set[str]] = {}
    for names, _ in paths:
        siblings.setdefault(names[:-1], set()).add(names[-1] if names else "")
    return [
        Parameter(
            "/".join(names),
            _role(names, in_norm, siblings[names[:-1]]),
            tuple(getattr(leaf, "shape", ())),
            getattr(leaf, "dtype", None),
        )
        for (names, in_norm), (_, leaf) in zip(paths, found, strict=True)
    ]


def _names(tree: Tree, path: Sequence[Any]) -> tuple[tuple[str, ...], bool | None]:
    """The names along a path, and whether the module at its end is a norm (None where only names can tell)."""
    node, names, in_norm = tree, [], None
    for key in path:
        is_box = type(node).__module__.startswith("flax.") and hasattr(node, "get_value")  # an NNX Variable
        if not is_box:
            if not isinstance(node, Mapping | Sequence) and not type(node).__module__.startswith("flax.nnx.statelib"):
                in_norm = _is_norm_class(type(node).__name__)
            names.append(_name(key))
        node = None if is_box else _child(node, key)
    if names and names[-1] == "value" and len(names) > 1 and isinstance(path[-1], jax.tree_util.GetAttrKey):
        names.pop()  # an NNX State flattens through its Variables, which are gone from the tree it came as
    return tuple(names), in_norm


def _name(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _child(node: Any, key: Any) -> Any:
    try:
        if isinstance(key, jax.tree_util.GetAttrKey):
            return getattr(node, key.name)
        return node[_key(key)]
    except (KeyError, IndexError, TypeError, AttributeError):
        return None  # a node that flattens under other names than it is read by: names alone must tell


def _key(key: Any) -> Any:
    return key.idx if isinstance(key, jax.tree_util.SequenceKey) else key.key


_NORM_NAME = re.compile(r"(^|_|\d)(bn|ln|gn|norm)(\d|_|$)|norm(_?\d+)?$|^norm", re.IGNORECASE)


def _is_norm_class(name: str) -> bool | None:
    """True for BatchNorm, LayerNorm, GroupNorm...; False for another layer; None for what only holds others."""
    if re.search(r"Norm(\d+d|All|Wrapper)?$", name):
        return name not in ("WeightNorm", "SpectralNorm")
    return False if re.search(r"(Linear|Conv|Dense|Embed)", name) else None


def _role(names: tuple[str, ...], in_norm: bool | None, siblings: set[str]) -> str:
    name = names[-1].lower() if names else ""
    beside = {sibling.lower() for sibling in siblings}
    is_bias = name in ("bias", "b", "beta", "offset") or name.endswith("_bias")
    if in_norm is None:
        named_norm = len(names) > 1 and _NORM_NAME.search(names[-2]) is not None
        in_norm = named_norm or bool(beside & {"scale", "gamma"} and not beside & {"kernel", "w", "weight"})
        if name in ("scale", "gamma") and not beside & {"kernel", "w", "weight"}:
            return "norm"
    if in_norm and name in ("scale", "gamma", "weight", "w"):
        return "norm"
    if is_bias:
        return "norm_bias" if in_norm else "bias"
    return "weight"


def assign(found: Sequence[Parameter], rules: Rules | None = None) -> list[int]:
    """For each parameter the index of the rule that it belongs to.

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
            f"\n{names}\nThe parameters are {_few([p.path for p in found])}. Mend the pattern, move it up, take it out "
            "or mark it Rule(..., optional=True)."
        )
    return chosen


def _few(paths: Sequence[str]) -> str:
    return ", ".join(paths[:8]) + (f", ... ({len(paths)} in all)" if len(paths) > 8 else "")


def as_rules(rules: Rules | None) -> tuple[Rule, ...]:
    """The rules in their full form; the ones by role where none are given.

    Raises:
        TypeError: If a rule is not a pair of a match and a group name.
    """
    if rules is None:
        return BY_ROLE
    result = []
    for i, rule in enumerate(rules):
        if isinstance(rule, str) or not isinstance(rule, tuple) or len(rule) not in (2, 3):
            raise TypeError(f"rules[{i}] must be a pair (match, group name) such as ('head/**', 'head'), got {rule!r}")
        full = Rule(*rule)
        if not isinstance(full.group, str):
            raise TypeError(f"rules[{i}]: the group must be a name, got {full.group!r}")
        if not callable(full.match) and not isinstance(full.match, str):
            raise TypeError(f"rules[{i}]: the match must be a glob or a function of a Parameter, got {full.match!r}")
        result.append(full)
    return tuple(result)


def labels(tree: Tree, rules: Rules | None = None) -> Tree:
    """The group name of each parameter, as a tree like ``tree``: what ``optax.partition`` calls ``param_labels``.

    Args:
        tree: The parameters.
        rules: Pairs of a match and a group name; the first match wins. By role where left out: ``bias`` (of norms
            too), ``norm``, ``weight``.

    Raises:
        ValueError: If a parameter is covered by no rule, or a rule has no parameter.

    Example:
        >>> import jaxsched as js
        >>> js.labels({"conv": {"kernel": 1.0, "bias": 2.0}, "bn": {"scale": 3.0, "bias": 4.0}})
        {'bn': {'bias': 'bias', 'scale': 'norm'}, 'conv': {'bias': 'bias', 'kernel': 'weight'}}
    """
    ruled = as_rules(rules)
    chosen = assign(parameters(tree), ruled)
    return jax.tree.unflatten(jax.tree.structure(tree), [ruled[i].group for i in chosen])


def roles(tree: Tree) -> Tree:
    """The role of each parameter, as a tree like ``tree``; see `parameters`.

    Example:
        >>> import jaxsched as js
        >>> js.roles({"conv": {"kernel": 1.0, "bias": 2.0}, "bn": {"scale": 3.0, "bias": 4.0}})
        {'bn': {'bias': 'norm_bias', 'scale': 'norm'}, 'conv': {'bias': 'bias', 'kernel': 'weight'}}
    """
    return jax.tree.unflatten(jax.tree.structure(tree), [parameter.role for parameter in parameters(tree)])


def mask(*names: str, rules: Rules | None = None) -> Callable[[Tree], Tree]:
    """A mask of the named groups, for ``optax.masked`` and its like: a function from parameters to a tree of bools.

    Args:
        names: The groups to be True.
        rules: As in `labels`.

    Raises:
        ValueError: If a name is no group of the rules.

    Example:
        >>> import jaxsched as js, optax
        >>> js.mask("norm", "bias")({"kernel": 1.0, "bias": 2.0})
        {'bias': True, 'kernel': False}
        >>> decay = optax.masked(optax.add_decayed_weights(5e-4), js.mask("weight"))
    """
    groups = list(dict.fromkeys(rule.group for rule in as_rules(rules)))
    for name in names:
        if name not in groups:
            raise ValueError(f"mask: {name!r} is no group; the groups are {', '.join(groups)}")
    return lambda tree: jax.tree.map(lambda label: label in names, labels(tree, rules))
