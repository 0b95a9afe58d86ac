"""Safe YAML: no objects are constructed, and the size is checked before any value is made."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from jaxsched.checks import extra, one_line

MOST_VALUES = 200_000
"""Most values, with aliases expanded: ten lines of aliases can expand to 10**10 values."""
DEEPEST = 100
"""Most levels of nesting."""
OTHER_SECTIONS = frozenset({"MODEL", "INPUT", "DATASETS", "DATALOADER", "TEST"})
"""Sections of yacs files in which no setting changes an optimizer or a schedule."""
MOST_DIGITS = 400
"""A number with more characters is read as infinity: converting one of 900 KB takes minutes."""


@dataclasses.dataclass(frozen=True)
class Opaque:
    """A value with a tag that is not standard YAML, such as ``!!python/object/apply:eval``. It is not constructed.

    Attributes:
        tag: The tag.
        fields: The names and values that it holds, as data; empty if it holds nothing, None if something else.
    """

    tag: str
    fields: dict[Any, Any] | None = None

    def __repr__(self) -> str:
        return f"<{one_line(self.tag)}>"


def parse_yaml(text: str) -> Any:
    """Parse a YAML string. A value with an unknown tag becomes an `Opaque`.

    A key that appears twice is an error if the values differ, except in a section of `OTHER_SECTIONS`: PyYAML
    silently takes the last one, and files that people train with have such keys.

    Raises:
        ImportError: If PyYAML is not installed.
        ValueError: If it is not YAML, or exceeds a bound above.
    """
    yaml = extra("yaml", "yaml")
    try:
        loader = _loader()(text)
        try:
            node = loader.get_single_node()
            _weigh(node, {}, ())
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, AttributeError, OverflowError, TypeError, ValueError) as error:  # dates, !!binary, ...
        said = " ".join(str(error).split()).replace('in "<unicode string>", ', "at ")
        raise ValueError(one_line(said, 200)) from None


def _weigh(node: Any, weights: dict[int, tuple[int, int] | None], path: tuple[str, ...]) -> tuple[int, int]:
    """The number of values in a node with aliases expanded, and their depth; each node is visited once."""
    if node is None or isinstance(node.value, str):
        return 1, 1
    if id(node) in weights:
        known = weights[id(node)]
        if known is None:
            raise ValueError(f"line {node.start_mark.line + 1}: the value contains itself")
        return known
    weights[id(node)] = None
    count, height = 1, 0
    keys: dict[tuple[str, str], Any] = {}
    for item in node.value:
        at = (*path, "")
        if isinstance(item, tuple):
            key, value = item
            at = (*path, key.value if isinstance(key.value, str) else "")
            if isinstance(key.value, str) and key.tag != "tag:yaml.org,2002:merge":
                first = keys.setdefault((key.tag, key.value), value)
                if first is not value and at[0] not in OTHER_SECTIONS and not _same(first, value):
                    raise ValueError(f"line {key.start_mark.line + 1}: the key {one_line(key.value)!r} appears twice")
        for part in item if isinstance(item, tuple) else (item,):
            more, deep = _weigh(part, weights, at) if len(path) < DEEPEST else (1, DEEPEST)
            count, height = count + more, max(height, deep)
    if height >= DEEPEST:
        raise ValueError("it is nested too deeply")
    if count > MOST_VALUES:
        raise ValueError(f"it stands for more than {MOST_VALUES:,} values")
    weights[id(node)] = count, height + 1
    return count, height + 1


def _same(a: Any, b: Any) -> bool:
    """Whether two values are the same scalar, or lists of the same scalars."""
    if isinstance(a.value, str) or isinstance(b.value, str):
        return bool((a.tag, a.value) == (b.tag, b.value))
    lists = a.tag == b.tag == "tag:yaml.org,2002:seq" and len(a.value) == len(b.value)
    return lists and all(isinstance(x.value, str) and _same(x, y) for x, y in zip(a.value, b.value, strict=True))


@functools.cache
def _loader() -> Any:
    yaml = extra("yaml", "yaml")

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """PyYAML's safe loader (the C one if available, ten times as fast) with bounds on numbers."""

        def number(self, node: Any) -> Any:
            if len(node.value) > MOST_DIGITS:
                return float("-inf" if node.value.startswith("-") else "inf")
            make = super().construct_yaml_int if node.tag.endswith(":int") else super().construct_yaml_float
            return make(node)

        def opaque(self, node: Any) -> Opaque:
            fields = self.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None
            if node.value == "":
                fields = {}
            return Opaque(node.tag.replace("tag:yaml.org,2002:", "!!"), fields)

    for kind in ("int", "float"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", Loader.number)
    Loader.add_constructor(None, Loader.opaque)
    return Loader
