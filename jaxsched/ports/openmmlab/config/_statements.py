"""Follows the statements of a config file; what they bind becomes unknown where they cannot be followed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

from jaxsched.ports.openmmlab.config._calls import CONTAINERS, CannotTell, elements
from jaxsched.ports.openmmlab.config._evaluate import Expressions, Known
from jaxsched.ports.openmmlab.config._operators import arithmetic
from jaxsched.ports.openmmlab.config._syntax import as_load, assigns_base, bound_names, mentions, reads_base
from jaxsched.ports.openmmlab.config._values import Budget, ConfigError, Imported, Inherited, Unreadable, inherit

EXPOSING = {"__builtins__", "exec", "eval", "globals", "locals", "vars", "setattr", "delattr"}


class Statements(Expressions):
    """Follows the statements of one file, top to bottom.

    Assignments, changes of elements, ``del``, ``if``, ``for`` and calls of known methods are followed. Of any other
    statement or call, whatever it could have changed becomes unreadable: the names it binds, and each name from which
    an object that it was handed can be reached. So a value is right or it is marked, never stale.
    """

    def __init__(self, file: str, lines: list[str], budget: Budget, module: Callable[[ast.ImportFrom], dict[str, Any]]):
        super().__init__(file, lines, budget)
        self.module = module  # the names of a base file that `with read_base()` imports
        self.imported: set[str] = set()
        self.bodies: dict[int, ast.AST] = {}  # functions, classes and lambdas, which some call may run
        self.defined: set[str] = set()
        self.exposed: Unreadable | None = None  # from here on the file may rebind any name unseen

    def run(self, body: list[ast.stmt]) -> None:
        bases = [statement for statement in body if isinstance(statement, ast.With) and reads_base(statement)]
        for base in bases:  # as in mmengine: before all else, wherever they stand
            self.inherit_names(base.body)
        for statement in body:
            if statement not in bases and not assigns_base(statement):
                self.follow(statement)

    def results(self) -> dict[str, Any]:
        """The names that the file defines, without imports and dunder names."""
        hidden = self.imported | self.defined | {"_base_"}
        return {
            name: value if self.exposed is None else self.exposed
            for name, value in self.names.items()
            if name not in hidden and not name.startswith("__")
        }

    def follow(self, node: ast.stmt) -> None:
        self.budget.spend(1, self.file, node.lineno)
        handler = getattr(self, f"do_{type(node).__name__}", None)
        try:
            if handler is None:
                raise CannotTell(f"a {type(node).__name__.lower()} statement is not followed")
            handler(node)
        except Known as stop:
            self.lose_track(node, stop.unreadable)
        except CannotTell as stop:
            self.lose_track(node, self.unreadable(node, str(stop)))
        except ConfigError:
            raise
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            self.lose_track(node, self.unreadable(node, f"it raises {type(error).__name__}: {error}"))

    # Binding

    def do_Assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.store(target, value)

    def do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.store(node.target, self.value(node.value))

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        reading = ast.copy_location(as_load(node.target), node.target)
        current, value = self.known(reading), self.known(node.value)
        if isinstance(current, list) and isinstance(node.op, ast.Add):
            current.extend(self.budget.sized(elements(value), self.file, node.lineno))
            return
        self.store(node.target, self.paid(arithmetic(type(node.op), current, value), node.value))

    def store(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.imported.discard(target.id)
            self.defined.discard(target.id)
            self.names[target.id] = value
        elif isinstance(target, ast.Attribute):
            owner = self.known(target.value)
            if not isinstance(owner, Inherited):
                raise CannotTell(f"a {type(owner).__name__} has no attributes to set")
            owner[target.attr] = self.inheritable(value)
        elif isinstance(target, ast.Subscript):
            self.store_element(self.known(target.value), self.index(target.slice), value, target)
        elif isinstance(target, (ast.Tuple, ast.List)):
            self.store_each(target.elts, elements(self.told(value)))
        else:
            raise CannotTell(f"assigning to {type(target).__name__} is not supported")

    def store_element(self, owner: Any, index: Any, value: Any, target: ast.Subscript) -> None:
        if isinstance(owner, dict):
            owner[index] = self.inheritable(value) if isinstance(owner, Inherited) else value
        elif isinstance(owner, list):
            owner[index] = elements(self.told(value)) if isinstance(index, slice) else value
            self.budget.sized(owner, self.file, target.lineno)
        else:
            raise CannotTell(f"elements of a {type(owner).__name__} cannot be set")

    def store_each(self, targets: list[ast.expr], values: list) -> None:
        starred = [i for i, target in enumerate(targets) if isinstance(target, ast.Starred)]
        if starred:
            after = len(targets) - starred[0] - 1
            middle = values[starred[0] : len(values) - after]
            values = values[: starred[0]] + [middle] + values[len(values) - after :]
        if len(targets) != len(values):
            raise CannotTell(f"cannot unpack {len(values)} values into {len(targets)} names")
        for target, value in zip(targets, values, strict=True):
            self.store(target.value if isinstance(target, ast.Starred) else target, value)

    def inheritable(self, value: Any) -> Any:
        return inherit(self.budget.tree(value, self.file))

    def do_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                if target.id not in self.names:
                    self.fail(node, f"`{target.id}` is deleted but not defined")
                del self.names[target.id]
            elif isinstance(target, ast.Attribute) and isinstance(owner := self.known(target.value), Inherited):
                del owner[target.attr]
            elif isinstance(target, ast.Subscript):
                del self.known(target.value)[self.index(target.slice)]
            else:
                raise CannotTell("this cannot be deleted")

    # Flow

    def do_Expr(self, node: ast.Expr) -> None:
        self.value(node.value)

    def do_Pass(self, node: ast.Pass) -> None:
        pass

    do_Assert = do_Pass

    def do_If(self, node: ast.If) -> None:
        for statement in node.body if self.known(node.test) else node.orelse:
            self.follow(statement)

    def do_For(self, node: ast.For) -> None:
        if any(isinstance(part, (ast.Break, ast.Continue)) for part in ast.walk(node)):
            raise CannotTell("a loop with break or continue is not followed")
        for value in elements(self.known(node.iter)):
            self.store(node.target, value)
            for statement in node.body:
                self.follow(statement)
        for statement in node.orelse:
            self.follow(statement)

    # Names from elsewhere

    def do_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            path = alias.name if alias.asname else alias.name.partition(".")[0]
            self.bring(alias.asname or path, Imported(path))

    def do_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.exposed = self.unreadable(node, "it may bind any name; only `with read_base():` may import *")
            else:
                self.bring(alias.asname or alias.name, Imported(f"{node.module or ''}.{alias.name}".lstrip(".")))

    def bring(self, name: str, value: Imported) -> None:
        self.names[name] = value
        self.imported.add(name)

    def inherit_names(self, body: list[ast.stmt]) -> None:
        for node in body:
            if not isinstance(node, ast.ImportFrom):
                raise ConfigError("only `from ... import ...` may stand in `with read_base():`", self.file, node.lineno)
            names = self.module(node)
            for alias in node.names:
                if alias.name == "*":
                    chosen = names
                elif alias.name in names:
                    chosen = {alias.asname or alias.name: names[alias.name]}
                else:
                    self.fail(node, f"the base file defines no `{alias.name}`")
                for name, value in chosen.items():
                    self.names[name] = value
                    if isinstance(value, Imported):
                        self.imported.add(name)

    def do_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.names[node.name] = self.unreadable(node, f"`{node.name}` is code of the file, which is not run")
        self.bodies[id(node)] = node
        self.defined.add(node.name)

    do_AsyncFunctionDef = do_FunctionDef

    def do_ClassDef(self, node: ast.ClassDef) -> None:
        self.lose_track(node, self.unreadable(node, "the body of a class is not run"))
        self.do_FunctionDef(node)

    # Where the file cannot be followed

    def on_Name(self, node: ast.Name) -> Any:
        if node.id in EXPOSING:
            self.exposed = self.unreadable(node, "it can change any name of the file")
        return super().on_Name(node)

    def on_Lambda(self, node: ast.Lambda) -> Any:
        self.bodies[id(node)] = node
        raise CannotTell("a lambda is not run")

    def untold(self, node: ast.AST, why: Unreadable) -> Unreadable:
        """A call that is not made may change whatever it can reach, and `:=` binds a name."""
        if isinstance(node, (ast.Call, ast.NamedExpr)):
            self.lose_track(node, why)
        return why

    def lose_track(self, node: ast.AST, why: Unreadable) -> None:
        """Whatever ``node`` binds, or could have changed through the names in it, is no longer known.

        Functions of the file may be called from there under any name, so what they mention counts as well.
        """
        bound, mentioned = set(bound_names(node)), list(mentions(node))
        for body in self.bodies.values():
            mentioned.extend(mentions(body))
            bound.update(name for part in ast.walk(body) if isinstance(part, ast.Global) for name in part.names)
        self.budget.spend(len(mentioned), self.file, getattr(node, "lineno", None))
        if "*" in bound or any(name in EXPOSING for name, _ in mentioned):
            self.exposed = why
        for name in bound - {"*"}:
            self.names[name] = why
            self.imported.discard(name)
        reached = self.containers([self.mentioned(name, key) for name, key in mentioned])
        if not reached:
            return
        base = self.names.get("_base_")
        for owner in (self.names, base) if isinstance(base, dict) else (self.names,):
            for name, value in list(owner.items()):
                if name != "_base_" and not reached.isdisjoint(self.containers([value])):
                    owner[name] = why

    def mentioned(self, name: str, attribute: str | None) -> Any:
        scopes = (*reversed(self.scopes), self.names)
        value = next((scope[name] for scope in scopes if name in scope), None)
        return value.get(attribute) if isinstance(value, Inherited) and attribute in value else value

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
