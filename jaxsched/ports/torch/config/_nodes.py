"""The classes that a config names: by ``class_path`` and ``init_args``, or by Hydra's ``_target_``."""

from __future__ import annotations

import dataclasses
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.ports.shared import TORCH_OPTIMIZERS

_HYDRA = ("_partial_", "_convert_", "_recursive_")
_REFERENCE = re.compile(r"\$\{(\.*)([\w.-]+)\}")
_DEEPEST = 50
"""Most references from one to the next, and most levels of nesting."""
_MOST_VALUES = 10_000
"""Most values of all arguments together: references within references can stand for 2**50."""


@dataclasses.dataclass(frozen=True)
class Node:
    """A class that a config names.

    Attributes:
        path: The keys to it, joined by dots.
        name: The path of the class.
        arguments: Its arguments, references unresolved.
        beside: The settings beside it.
        is_lightning: Whether it is named by ``class_path``, as Lightning's command line does.
    """

    path: str
    name: str
    arguments: Mapping[str, Any]
    beside: Mapping[str, Any]
    is_lightning: bool

    @property
    def key(self) -> str:
        """The key that it has in the config."""
        return self.path.rpartition(".")[2]

    @property
    def short_name(self) -> str:
        """The name of the class without its module."""
        return self.name.rpartition(".")[2]


def node_at(path: str, value: Any, beside: Mapping[str, Any]) -> Node | None:
    """The class that a value of a config names, or None."""
    if not isinstance(value, Mapping):
        return None
    if isinstance(value.get("class_path"), str):
        arguments: dict[str, Any] = {}
        for key in ("init_args", "dict_kwargs"):
            if isinstance(given := value.get(key), Mapping):
                arguments |= given
        return Node(path, value["class_path"], arguments, beside, True)
    if isinstance(value.get("_target_"), str):
        arguments = {key: item for key, item in value.items() if key != "_target_" and key not in _HYDRA}
        return Node(path, value["_target_"], arguments, beside, False)
    return None


def nodes(root: Mapping[str, Any]) -> Iterator[Node]:
    """All classes that a config names, those within the arguments of torch's left out. Nothing is imported."""
    waiting: deque[tuple[str, Any, Mapping[str, Any], int]] = deque([("", root, {}, 0)])
    while waiting:
        path, value, beside, depth = waiting.popleft()
        if depth > _DEEPEST:
            continue
        node = node_at(path, value, beside)
        if node:
            yield node
            if node.name.startswith("torch.optim."):
                continue
        items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        around = value if isinstance(value, Mapping) else beside
        for key, item in items:
            if isinstance(item, Mapping | list) and not (key == "hydra" and not path):
                waiting.append((f"{path}.{key}" if path else str(key), item, around, depth + 1))


def is_optimizer(node: Node) -> bool:
    """Whether it names an optimizer of torch; a name without module counts under a key such as ``optimizer``."""
    if "." not in node.name:
        return node.name in TORCH_OPTIMIZERS and "optim" in node.key
    return node.name.startswith("torch.optim.") and not is_scheduler(node)


def is_scheduler(node: Node) -> bool:
    """Whether it names a scheduler of torch, or Lightning's ReduceLROnPlateau, which is torch's."""
    if "." not in node.name:
        return node.name.endswith(("LR", "ReduceLROnPlateau")) and "sched" in node.key
    own = ("torch.optim.lr_scheduler.", "torch.optim.swa_utils.")
    return node.name.startswith(own) or node.name.endswith(".cli.ReduceLROnPlateau")


class References:
    """A config whose values may refer to others, as ``${a.b}``; with leading dots relative to their own place.

    Args:
        root: The config.
    """

    def __init__(self, root: Mapping[str, Any]):
        self.root = root
        self._left = _MOST_VALUES

    def resolved(self, where: str, value: Any, path: str, depth: int = 0) -> Any:
        """A value, which has the keys ``path``, with all references replaced.

        Raises:
            ValueError: If a reference is not to a value of this file, the value is ``???``, or there are too many.
        """
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            raise ValueError(f"{where} refers to itself, or to too many values")
        if isinstance(value, Mapping):
            return {key: self.resolved(where, item, f"{path}.{key}", depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolved(where, item, f"{path}.{i}", depth + 1) for i, item in enumerate(value)]
        if value == "???":
            raise ValueError(f"{where} is ???, which is to be filled in; write the value")
        if not isinstance(value, str) or "${" not in value:
            return value
        found = _REFERENCE.fullmatch(value.strip())
        if found is None:
            raise ValueError(f"{where} is {short(value)}, which only its own program can evaluate; write the value")
        keys = found[2].split(".")
        if found[1]:
            keys = [*path.split(".")[: -len(found[1])], *keys]
        target: Any = self.root
        for key in keys:
            if isinstance(target, list) and key.isdigit() and int(key) < len(target):
                target = target[int(key)]
            elif isinstance(target, Mapping) and key in target:
                target = target[key]
            else:
                raise ValueError(f"{where} is {short(value)}, which the file does not have; write the value")
        return self.resolved(where, target, ".".join(keys), depth + 1)
