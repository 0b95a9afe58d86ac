"""Follows the statements of a config file; what they bind becomes unknown where they cannot be followed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeGuard

from jaxsched.ports.openmmlab.config._calls import CONTAINERS, CannotTell, elements
from jaxsched.ports.openmmlab.config._evaluate import ERRORS, Expressions, Known
from jaxsched.ports.openmmlab.config._operators import arithmetic
from jaxsched.ports.openmmlab.config._values import Budget, ConfigError, Imported, Inherited, Unreadable, inherit

EXPOSING = {"__builtins__", "exec", "eval", "globals", "locals", "vars", "setattr", "delattr"}


class Statements(Expressions):
    """Follows the statements of one file, top to bottom.

    Assignments, changes of elements, ``del``, ``if``, ``for`` and calls of known methods are followed. Of any other
    statement or call, whatever it could have changed becomes unreadable: the names it binds, and each name from which
    an object that it was handed can be reached; functions of the file may be called from there under any name, so what
    they bind and mention counts as well. So a value is right or it is marked, never stale.
    """

    def __init__(self, file: str, lines: list[str], budget: Budget, module: Callable[[ast.ImportFrom], dict[str, Any]]):
        super().__init__(file, lines, budget)
        self.module = module  # the names of a base file that `with read_base()` imports
        self.hidden: set[str] = {"_base_"}  # names that are not entries: imports and functions
        self.code: list[ast.AST] = []  # functions, classes and lambdas, which some call may run
        self.exposed: Unreadable | None = None  # from here on the file may rebind any name unseen

    @property
    def imported(self) -> dict[str, Any]:
        return {name: value for name, value in self.names.items() if isinstance(value, Imported)}

    def run(self, body: list[ast.stmt]) -> None:
        bases = [statement for statement in body if isinstance(statement, ast.With) and reads_base(statement)]
        for base in bases:  # as in mmengine: before all else, wherever they stand
            self.inherit_names(base.body)
        for statement in body:
            if statement not in bases and not assigns_base(statement):
                self.follow(statement)

    def results(self) -> dict[str, Any]:
        """The names that the file defines, without imports and dunder names."""
        return {
            name: value if self.exposed is None else self.exposed
            for name, value in self.names.items()
            if name not in self.hidden and not name.startswith("__")
        }

    def follow(self, node: ast.stmt) -> None:
        self.budget.spend(1, self.file, node.lineno)
        try:
            self.followed(node)
        except ConfigError:
            raise
        except Known as stop:
            self.lose_track(node, stop.unreadable)
        except CannotTell as stop:
            self.lose_track(node, self.unreadable(node, str(stop)))
        except ERRORS as error:
            self.lose_track(node, self.unreadable(node, f"it raises {type(error).__name__}: {error}"))

    def followed(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign():
                value = self.value(node.value)
                for target in node.targets:
                    self.store(target, value)
            case ast.AnnAssign():
                if node.value is not None:
                    self.store(node.target, self.value(node.value))
            case ast.AugAssign():
                self.augment(node)
            case ast.Delete():
                for target in node.targets:
                    self.delete(target)
            case ast.Expr():
                self.value(node.value)
            case ast.If():
                for statement in node.body if self.known(node.test) else node.orelse:
                    self.follow(statement)
            case ast.For():
                self.loop(node)
            case ast.Import():
                for alias in node.names:
                    path = alias.name if alias.asname else alias.name.partition(".")[0]
                    self.hide(alias.asname or path, Imported(path))
            case ast.ImportFrom():
                for alias in node.names:
                    if alias.name == "*":
                        raise CannotTell("it may bind any name; only `with read_base():` may import *")
                    self.hide(alias.asname or alias.name, Imported(f"{node.module or ''}.{alias.name}".lstrip(".")))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                why = self.unreadable(node, f"`{node.name}` is code of the file, which is not run")
                if isinstance(node, ast.ClassDef) or node.decorator_list or node.args.defaults or node.args.kw_defaults:
                    self.lose_track(node, why)
                self.code.append(node)
                self.hide(node.name, why)
            case ast.Pass() | ast.Assert():
                pass
            case _:
                raise CannotTell(f"a {type(node).__name__.lower()} statement is not followed")

    # Binding

    def hide(self, name: str, value: Any) -> None:
        self.names[name] = value
        self.hidden.add(name)

    def store(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name():
                self.names[target.id] = value
                self.hidden.discard(target.id)
            case ast.Attribute():
                owner = self.known(target.value)
                if not isinstance(owner, Inherited):
                    raise CannotTell(f"a {type(owner).__name__} has no attributes to set")
                owner[target.attr] = self.inheritable(value)
            case ast.Subscript():
                owner, index = self.known(target.value), self.index(target.slice)
                if isinstance(owner, dict):
                    owner[index] = self.inheritable(value) if isinstance(owner, Inherited) else value
                elif isinstance(owner, list) and not isinstance(index, slice):
                    owner[index] = value
                else:
                    raise CannotTell(f"these elements of a {type(owner).__name__} cannot be set")
            case ast.Tuple() | ast.List():
                for part, element in self.unpacked(target.elts, value):
                    self.store(part, element)
            case _:
                raise CannotTell(f"assigning to {type(target).__name__} is not supported")

    def inheritable(self, value: Any) -> Any:
        return inherit(self.budget.tree(value, self.file))

    def augment(self, node: ast.AugAssign) -> None:
        current, value = self.known(node.target), self.known(node.value)
        if isinstance(current, list) and isinstance(node.op, ast.Add):
            current.extend(self.budget.sized(elements(value), self.file, node.lineno))
        else:
            self.store(node.target, self.paid(arithmetic(node.op, current, value), node.value))

    def delete(self, target: ast.expr) -> None:
        if isinstance(target, ast.Name):
            if target.id not in self.names:
                self.fail(target, f"`{target.id}` is deleted but not defined")
            del self.names[target.id]
        elif isinstance(target, ast.Attribute) and isinstance(owner := self.known(target.value), Inherited):
            del owner[target.attr]
        elif isinstance(target, ast.Subscript):
            del self.known(target.value)[self.index(target.slice)]
        else:
            raise CannotTell("this cannot be deleted")

    def loop(self, node: ast.For) -> None:
        if any(isinstance(part, ast.Break | ast.Continue) for part in ast.walk(node)):
            raise CannotTell("a loop with break or continue is not followed")
        for value in elements(self.known(node.iter)):
            self.store(node.target, value)
            for statement in node.body:
                self.follow(statement)
        for statement in node.orelse:
            self.follow(statement)

    def inherit_names(self, body: list[ast.stmt]) -> None:
        for node in body:
            if not isinstance(node, ast.ImportFrom):
                raise ConfigError("only `from ... import ...` may stand in `with read_base():`", self.file, node.lineno)
            names = self.module(node)
            for alias in node.names:
                if alias.name != "*" and alias.name not in names:
                    self.fail(node, f"the base file defines no `{alias.name}`")
                chosen = names if alias.name == "*" else {alias.asname or alias.name: names[alias.name]}
                self.names.update(chosen)
                self.hidden.update(name for name, value in chosen.items() if isinstance(value, Imported))

    # Where the file cannot be followed

    def named(self, node: ast.Name) -> Any:
        if node.id in EXPOSING:
            self.exposed = self.unreadable(node, "it can change any name of the file")
        return super().named(node)

    def untold(self, node: ast.AST, why: Unreadable) -> Unreadable:
        """A call that is not made may change whatever it can reach, and `:=` binds a name."""
        if isinstance(node, ast.Call | ast.NamedExpr):
            self.lose_track(node, why)
        if isinstance(node, ast.Lambda):
            self.code.append(node)
        return why

    def lose_track(self, node: ast.AST, why: Unreadable) -> None:
        """Whatever ``node`` binds, or could have changed through the names in it, is no longer known."""
        inside = [part for tree in (node, *self.code) for part in ast.walk(tree)]
        self.budget.spend(len(inside) // 4, self.file, getattr(node, "lineno", None))
        named = {part.id for part in inside if isinstance(part, ast.Name)}
        if named & EXPOSING or any(isinstance(part, ast.alias) and part.name == "*" for part in inside):
            self.exposed = why
        declared = {name for part in inside if isinstance(part, ast.Global) for name in part.names}
        for name in {*bound_names(node), *declared} - {"*"}:
            self.names[name] = why
        reached = self.containers(value for tree in (node, *self.code) for value in self.handed(tree))
        if not reached:
            return
        base = self.names.get("_base_")
        for owner in (self.names, base) if isinstance(base, dict) else (self.names,):
            for name, value in list(owner.items()):
                if name != "_base_" and not reached.isdisjoint(self.containers([value])):
                    owner[name] = why

    def handed(self, node: ast.AST) -> Iterator[Any]:
        """The values of the names in code that is not run; of ``_base_.a`` that entry alone."""
        base = self.names.get("_base_")
        if isinstance(node, ast.Name):
            yield next((scope[node.id] for scope in (*reversed(self.scopes), self.names) if node.id in scope), None)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_base_":
            yield base.get(node.attr, base) if isinstance(base, dict) else None
        else:
            for child in ast.iter_child_nodes(node):
                yield from self.handed(child)

    def containers(self, values: Iterable[Any]) -> set[int]:
        """Identities of what can be changed, in and under ``values``."""
        found: set[int] = set()
        seen: set[int] = set()
        waiting = list(values)
        while waiting:
            value = waiting.pop()
            if not isinstance(value, (*CONTAINERS, tuple)) or id(value) in seen:
                continue
            self.budget.spend(1 + len(value) // 16, self.file)
            seen.add(id(value))
            if not isinstance(value, tuple):
                found.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
        return found


def bound_names(node: ast.AST) -> Iterator[str]:
    """The names of the module that running ``node`` may bind."""
    match node:
        case ast.alias():
            yield (node.asname or node.name).partition(".")[0]
        case ast.Name() if not isinstance(node.ctx, ast.Load):
            yield node.id
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.Lambda():
            pass
        case _:
            for child in ast.iter_child_nodes(node):
                if not (isinstance(node, ast.comprehension) and child is node.target):
                    yield from bound_names(child)


def reads_base(node: ast.With) -> bool:
    call = node.items[0].context_expr
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "read_base"


def assigns_base(node: ast.stmt) -> TypeGuard[ast.Assign]:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_base_"
