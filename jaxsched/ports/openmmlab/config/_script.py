"""What OpenMMLab's configs have beyond Python: ``_base_``, ``{{ _base_.name }}``, ``with read_base():``, ``merge``."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any, TypeGuard

from jaxsched.ports.shared import (
    METHODS,
    AttributeDict,
    Budget,
    Imported,
    Script,
    Unclear,
    certain,
    deepcopy,
)

_TEMPLATE = re.compile(r"\{\{\s*(_base_\.|['\"]?\s*\$)")


class ConfigDict(AttributeDict):
    """A dict that came out of a base file, as mmengine's."""

    copies = True


def _merge(target: ConfigDict, budget: Budget, other: dict) -> None:
    """Merge recursively; ``_delete_=True`` drops what was there."""

    def merged(new: Any, old: Any) -> Any:
        if not isinstance(new, dict):
            return new
        kept = old if isinstance(old, dict) and not (new.get("_delete_", False)) else {}
        own = {name: value for name, value in new.items() if name != "_delete_"}
        if not isinstance(old, dict):
            return own
        return {**kept, **{name: merged(value, kept.get(name)) for name, value in own.items()}}

    entries = merged(dict(deepcopy(other, budget)), deepcopy(target, budget))
    target.clear()
    for name, value in entries.items():
        target.put(name, target.adopted(value, budget))


ConfigDict.methods = {
    **METHODS,
    "copy": lambda target, budget: ConfigDict({name: ConfigDict.adopted(target[name], budget) for name in target}),
    "merge": _merge,
    "pop": lambda target, budget, name, default=None: target.pop(name, default),
}


class ConfigScript(Script):
    """Follows the statements of one config.

    Args:
        budget: The work that may be done.
        file: The file to name in errors.
        base: The entries of its bases.
        module: From an import in ``with read_base():`` to the names of the file that it imports from.
    """

    def __init__(self, budget: Budget, file: str, base: ConfigDict, module: Callable[[ast.ImportFrom], dict[str, Any]]):
        super().__init__(budget, file)
        self.hide("_base_", base)
        self.module = module

    def read(self, body: list[ast.stmt]) -> None:
        bases = [statement for statement in body if isinstance(statement, ast.With) and _reads_base(statement)]
        for base in bases:  # as in mmengine: before all else, wherever they stand
            self.inherit_names(base.body)
        self.run([statement for statement in body if statement not in bases and not assigns_base(statement)])

    def inherit_names(self, body: list[ast.stmt]) -> None:
        for node in body:
            if not isinstance(node, ast.ImportFrom):
                self.fail(node, "only `from ... import ...` may stand in `with read_base():`")
            names = self.module(node)
            for alias in node.names:
                if alias.name != "*" and alias.name not in names:
                    self.fail(node, f"the base file defines no `{alias.name}`")
                chosen = names if alias.name == "*" else {alias.asname or alias.name: names[alias.name]}
                self.names.update(chosen)
                self.hidden.update(name for name, value in chosen.items() if isinstance(value, Imported))

    def evaluated(self, node: Any) -> Any:
        match node:
            case ast.Constant(value=str() as text) if _TEMPLATE.search(text):
                raise Unclear("a {{ }} reference that stands in a string or has no default")
            case ast.Set(elts=[ast.Set(elts=[inner])]):  # as Python's grammar reads {{ _base_.x.y }}
                return self.reference(inner)
        return super().evaluated(node)

    def reference(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name) and node.id == "_base_":
            return self.names["_base_"]
        if not isinstance(node, ast.Attribute):
            raise Unclear("only `{{ _base_.name }}` can stand for a value")
        return certain(certain(self.reference(node.value))[node.attr])


def _reads_base(node: ast.With) -> bool:
    call = node.items[0].context_expr
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "read_base"


def assigns_base(node: ast.stmt) -> TypeGuard[ast.Assign]:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_base_"
