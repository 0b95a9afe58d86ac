"""What becomes unknown where code of a config is not followed: the names that it binds, and what it may change.

Not seen is a change by code that was handed the config earlier and kept it: ``helper.config = config`` and later
``helper.run()``.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jaxsched.ports.shared._config_dict import ConfigDict, change_unseen
from jaxsched.ports.shared._expressions import Expressions
from jaxsched.ports.shared._files import File
from jaxsched.ports.shared._python import Budget, Unknown
from jaxsched.ports.shared._script import EXPOSING, Imported

Scope = dict[str, Any]
_CODE = (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_CHANGING = (ast.Call, ast.NamedExpr, ast.Lambda)
_EXPOSING = EXPOSING - {"setattr", "delattr", "globals"}
READING = ("get", "get_ref", "items", "keys", "values", "to_dict", "format", "join", "startswith", "endswith")
"""Methods that do not change what they are called on."""


@dataclasses.dataclass(frozen=True, eq=False)
class Function:
    """A function of a file, and the scopes that it sees."""

    node: ast.FunctionDef
    file: File
    scopes: tuple[Scope, ...]
    defaults: Mapping[str, Any]


class Forgetting(Expressions):
    """Expressions in scopes, some of which are code that is not followed.

    Attributes:
        stack: The scopes that the code of each call sees, the module's first.
        code: What some call that is not followed may run, with the scopes that it sees.
    """

    def __init__(self, look_up: Callable[[ast.expr], Any], budget: Budget, file: str):
        super().__init__(look_up, budget, file)
        self.stack: list[tuple[Scope, ...]] = []
        self.code: dict[int, tuple[ast.AST, tuple[Scope, ...]]] = {}

    @property
    def local(self) -> Scope:
        return self.stack[-1][-1]

    def _is_bound(self, name: str) -> bool:
        return any(name in scope for scope in (*self.scopes, *self.stack[-1]))

    def lost(self, node: ast.AST, why: Unknown) -> Unknown:
        """An expression without a value: calls in it may or may not have been made, and ``:=`` binds a name."""
        inside = [] if isinstance(node, ast.Call) else list(ast.walk(node))
        self.spend(len(inside) // 4, node)
        if any(isinstance(part, _CHANGING) for part in inside):
            self.forget(node, why)
        return why

    def forget(self, code: ast.AST, why: Unknown) -> None:
        """Make unknown whatever code that was not followed may have changed."""
        waiting, calls = [(code, self.stack[-1])], False
        seen: set[int] = set()
        while waiting:
            tree, scopes = waiting.pop()
            seen.add(id(tree))
            self.stack.append(scopes)
            try:
                for node in ast.walk(tree):
                    self.spend(1, code)
                    self._forget_names(node, why)
                    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
                        self._forget_part(node, why)
                    elif isinstance(node, ast.Call):
                        self._forget_handed(node, why)
                        calls = True
                    elif isinstance(node, _CODE):
                        self.code[id(node)] = node, scopes
            finally:
                self.stack.pop()
            if calls and not waiting:
                waiting = [entry for entry in self.code.values() if id(entry[0]) not in seen]

    def _forget_names(self, node: ast.AST, why: Unknown) -> None:
        """Make unknown the names that a node binds."""
        names: list[str] = []
        match node:
            case ast.Name():
                if node.id in _EXPOSING and not self._is_bound(node.id):
                    self.fail(node, f"`{node.id}` can change any name of the file, and is not followed")
                if node.id == "globals" and not self._is_bound(node.id):
                    self._forget_module(why)
                names = [] if isinstance(node.ctx, ast.Load) else [node.id]
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names = [node.name]
            case ast.MatchAs() | ast.MatchStar() | ast.ExceptHandler():
                names = [node.name] if node.name else []
            case ast.MatchMapping():
                names = [node.rest] if node.rest else []
            case ast.alias():
                names = [(node.asname or node.name).partition(".")[0]]
            case ast.Global() | ast.Nonlocal():
                for scope in self.stack[-1]:
                    scope.update({name: why for name in node.names if name in scope})
        self.local.update(dict.fromkeys(names, why))

    def _forget_module(self, why: Unknown) -> None:
        """Make unknown what a module holds, but not what it imports, and note that its functions may be called."""
        module = self.stack[-1][0]
        for function in self._functions(module.values()):
            self.code |= {id(inner): (inner, (*function.scopes, {})) for inner in function.node.body}
        kept = Function | Imported
        module.update({name: why for name, value in module.items() if not isinstance(value, kept)})

    def _forget_handed(self, node: ast.Call, why: Unknown) -> None:
        """Make unknown what a call that was not followed may change, and note the functions that it may call."""
        reached = [value for part in (*node.args, *node.keywords) for value in self._handed(part)]
        if isinstance(node.func, ast.Attribute) and node.func.attr not in READING:
            reached += self._handed(node.func.value)
        for function in self._functions((*reached, *self._handed(node.func))):
            self.code |= {id(inner): (inner, (*function.scopes, {})) for inner in function.node.body}
        for value in reached:
            change_unseen(value, why, self.budget)

    def _functions(self, values: Iterable[Any]) -> Iterator[Function]:
        """The functions of files in values."""
        waiting, seen = list(values), set[int]()
        while waiting:
            value = waiting.pop()
            if isinstance(value, Function):
                yield value
            elif isinstance(value, dict | list | tuple) and id(value) not in seen:
                self.spend(1 + len(value) // 16, ast.Pass())
                seen.add(id(value))
                waiting.extend(value.values() if isinstance(value, dict) else value)

    def _handed(self, node: ast.AST) -> list[Any]:
        """The values that code is handed by an expression: of ``config.a`` that entry alone."""
        if isinstance(node, ast.Name):
            scopes = (*reversed(self.scopes), *reversed(self.stack[-1]))
            return [next((scope[node.id] for scope in scopes if node.id in scope), None)]
        if isinstance(node, ast.Attribute):
            owners = self._handed(node.value)
            return [owner.get(node.attr) for owner in owners if isinstance(owner, ConfigDict)]
        return [value for child in ast.iter_child_nodes(node) for value in self._handed(child)]

    def _forget_part(self, node: ast.Attribute | ast.Subscript, why: Unknown) -> None:
        owner, why = self.value(node.value), dataclasses.replace(why, may_be_absent=True)
        if isinstance(owner, ConfigDict) and isinstance(node, ast.Attribute):
            owner[node.attr] = why
        elif isinstance(owner, dict | list):
            name = self.value(node.slice) if isinstance(node, ast.Subscript) else None
            if isinstance(owner, dict) and isinstance(name, str):
                owner[name] = why
            else:
                change_unseen(owner, why, self.budget)
