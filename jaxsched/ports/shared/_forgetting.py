"""What becomes unknown where code is not followed: what it may change.

Not seen is a change by code that was handed a dict earlier and kept it: ``helper.config = config`` and later
``helper.run()``.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from jaxsched.ports.shared import _builtins as builtins
from jaxsched.ports.shared._config_dict import AttributeDict, Reference
from jaxsched.ports.shared._expressions import Expressions, Scope
from jaxsched.ports.shared._operators import Unclear
from jaxsched.ports.shared._python import Unknown

EXPOSING = {"__builtins__", "exec", "eval", "globals", "locals", "vars", "setattr", "delattr"}
"""Functions that may bind any name."""
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
Entry = tuple[ast.AST, tuple[Scope, ...], Scope]
"""Code, the scopes that it sees, and the one that it binds names in."""
_CODE = (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Function:
    """A function of a file.

    Attributes:
        node: Its definition.
        file: The file.
        scopes: What it sees, the names of its module first.
        signature: Its arguments.
        defaults: The defaults of its arguments.
    """

    node: ast.FunctionDef
    file: str
    scopes: tuple[Scope, ...]
    signature: inspect.Signature
    defaults: Mapping[str, Any]


class Forgetting(Expressions):
    """Expressions in scopes, some of which are code that is not followed.

    Code that is not followed makes unknown the names that it binds, the entries that it sets, and the lists and dicts
    that it mentions, with all in them; of ``config.a`` that entry alone. It may call the functions that it mentions, or
    that other such code has mentioned before. So a value is right or it is marked, never stale.

    Attributes:
        local: The scope that statements bind names in.
        followed: The calls of the current statement that were followed, by identity.
        code: The functions and classes that code which is not followed may call, each with the scopes that it sees.
        exposed: Set where the file may bind any name unseen: from there on nothing in it is known.
    """

    local: Scope
    followed: set[int]
    code: dict[tuple[int, int], Entry]
    exposed: Unknown | None = None

    def lost(self, node: ast.AST, why: Unknown) -> Unknown:
        """An expression without a value: calls in it may or may not have been made, and ``:=`` binds a name."""
        waiting = [node]
        for part in waiting:  # which grows
            if isinstance(part, ast.Lambda):
                self.note(part, tuple(self.scopes), {})
            elif self._changes(part):
                self.forget(part, why)
            else:
                waiting.extend(ast.iter_child_nodes(part))
        self.spend(len(waiting) // 4, node)
        return why

    def _changes(self, node: ast.AST) -> bool:
        """Whether evaluating a node may change a value or bind a name."""
        if isinstance(node, _COMPREHENSIONS):  # of which some rounds may have been followed
            return any(map(self._may_change, ast.walk(node)))
        return id(node) not in self.followed and self._may_change(node)

    def _may_change(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in builtins.FUNCTIONS:
            is_builtin = not any(node.func.id in scope for scope in self.scopes)
            return not is_builtin or (node.func.id != "dict" and bool(node.keywords))  # key=, of max and sorted
        return isinstance(node, ast.Call | ast.NamedExpr)

    def forget(self, node: ast.AST, why: Unknown) -> None:
        """Make unknown whatever ``node``, which is not followed, may change."""
        if isinstance(node, _CODE):
            self.note(node, tuple(self.scopes), {})
        bound: list[tuple[Scope, str]] = []
        places: list[tuple[AttributeDict, Any]] = []
        reached: dict[int, Any] = {}
        for tree, scopes, local in self._and_code((node, tuple(self.scopes), self.local)):
            parts = list(ast.walk(tree))
            self.spend(len(parts) // 4, node)
            for part in parts:
                if isinstance(part, _CODE) and part is not tree:
                    self.note(part, scopes, {})
                self._check_exposing(part, scopes)
                if isinstance(part, ast.Global | ast.Nonlocal):
                    bound += [(scope, name) for name in part.names for scope in scopes if name in scope]
                    bound += [(scopes[0], name) for name in part.names]
            bound += [(local, name) for name in bound_names(tree, local)]
            for value in self._mentioned(tree, scopes, places):
                for inside in self._inside(value, reached, node):
                    if isinstance(inside, Function):
                        self.note(inside.node, inside.scopes, dict(inside.defaults))
                    elif isinstance(inside, Reference):
                        places.append(inside.config.place(inside.name))
        self.spend(len(bound) // 4, node)
        for scope, name in bound:
            scope[name] = why
        for owner, name in places:
            owner[name] = dataclasses.replace(why, may_be_absent=True)
        for value in reached.values():
            if isinstance(value, AttributeDict) and value.keeps_entries:
                value.unsure = why
                value |= {name: why for name, entry in value.items() if not isinstance(entry, AttributeDict)}
            elif isinstance(value, dict | list):
                self.budget.changed.setdefault(id(value), (value, why))

    def _and_code(self, first: Entry) -> Iterator[Entry]:
        """Code, and all other that was noted before, or is noted on the way."""
        yield first
        done = 0
        while done < len(self.code):
            new = list(self.code.values())[done:]
            done += len(new)
            yield from new

    def note(self, node: ast.AST, scopes: tuple[Scope, ...], local: Scope) -> None:
        """Note that code which is not followed may call other code."""
        self.code.setdefault((id(node), id(scopes[-1])), (node, (*scopes, local), local))

    def _check_exposing(self, node: ast.AST, scopes: tuple[Scope, ...]) -> None:
        if isinstance(node, ast.Name) and node.id in EXPOSING and not any(node.id in scope for scope in scopes):
            self.expose(node)

    def expose(self, node: ast.Name) -> None:
        """Called where a function that may bind any name is mentioned."""
        self.exposed = self.why(node, Unclear("it can change any name of the file"))

    def _inside(self, value: Any, seen: dict[int, Any], node: ast.AST) -> Iterator[Any]:
        """A value and all in it, but not what was seen before."""
        waiting = [value]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict | list | tuple | Function | Reference) and id(value) not in seen:
                seen[id(value)] = value
                yield value
                if isinstance(value, Reference):
                    owner, name = value.config.place(value.name)
                    waiting.append(owner.get(name))
                elif not isinstance(value, Function):
                    self.spend(1 + len(value) // 16, node)
                    waiting.extend(value.values() if isinstance(value, dict) else value)

    def _mentioned(self, node: ast.AST, scopes: tuple[Scope, ...], places: list[tuple[AttributeDict, Any]]) -> Any:
        """The values that code may change; and, added to ``places``, the entries that it may set."""
        if isinstance(node, ast.Name):
            yield _bound(node.id, scopes)
        elif (entry := self._entry(node, scopes)) is not None:
            owner, name = entry
            yield owner.get(name)
            if not isinstance(getattr(node, "ctx", None), ast.Load):
                places.append(entry)
        else:
            children = list(ast.iter_child_nodes(node))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                children[0] = node.func.value  # a method may change all of it
            for child in children:
                yield from self._mentioned(child, scopes, places)

    def _entry(self, node: ast.AST, scopes: tuple[Scope, ...]) -> tuple[AttributeDict, str] | None:
        """The dict and the key of ``config.a``, ``config['a']`` or ``config.get_ref('a')``, or None."""
        match node:
            case ast.Attribute(value=target, attr=name):
                pass
            case ast.Subscript(value=target, slice=ast.Constant(value=str() as name)):
                pass
            case ast.Call(func=ast.Attribute(value=target, attr="get_ref"), args=[ast.Constant(value=str() as name)]):
                pass
            case _:
                return None
        owner = _bound(target.id, scopes) if isinstance(target, ast.Name) else None
        if (entry := self._entry(target, scopes)) is not None:
            owner = entry[0].get(entry[1])
        if not isinstance(owner, AttributeDict) or id(owner) in self.budget.changed:
            return None
        is_read = isinstance(getattr(node, "ctx", None), ast.Load)
        if isinstance(node, ast.Attribute) and is_read:  # of what is not there, Python raises
            return None if method(owner, name) is not None or owner.unsure else owner.place(name)
        return owner.place(name) if name in owner or not is_read else None


def method(target: Any, name: str) -> Any:
    """What stands for ``target.name``, or None. It takes the target first and, of an AttributeDict, the budget next."""
    return target.methods.get(name) if isinstance(target, AttributeDict) else builtins.method(target, name)


def _bound(name: str, scopes: tuple[Scope, ...]) -> Any:
    return next((scope[name] for scope in reversed(scopes) if name in scope), None)


def bound_names(node: ast.AST, scope: Scope) -> Iterator[str]:
    """The names of a scope that running ``node`` in it may bind."""
    match node:
        case ast.alias(name="*"):  # it may bind any public name again
            yield from (name for name in scope if not name.startswith("_"))
        case ast.alias():
            yield (node.asname or node.name).partition(".")[0]
        case ast.Name() if not isinstance(node.ctx, ast.Load):
            yield node.id
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.Lambda():
            pass
        case _:
            if isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler) and node.name:
                yield node.name
            if isinstance(node, ast.MatchMapping) and node.rest:
                yield node.rest
            for child in ast.iter_child_nodes(node):
                if not (isinstance(node, ast.comprehension) and child is node.target):
                    yield from bound_names(child, scope)
