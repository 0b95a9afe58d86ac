"""Statements of Python source, followed on plain data."""

from __future__ import annotations

import ast
from typing import Any

from jaxsched.ports.shared._calls import Calls, Imported, Return, own_nodes
from jaxsched.ports.shared._config_dict import AttributeDict
from jaxsched.ports.shared._expressions import Scope
from jaxsched.ports.shared._forgetting import Function
from jaxsched.ports.shared._operators import ERRORS, Unclear, arithmetic, certain, elements, unpacked
from jaxsched.ports.shared._python import Budget, Unknown, source_of


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Script(Calls):
    """Follows the statements of one file, top to bottom, and the functions that it calls of its own.

    Of any other statement or call, whatever it could have changed becomes unknown (`Forgetting`).

    Attributes:
        names: The values of the names that are bound.
        hidden: Names of imports, functions and classes.

    Examples:
        >>> script = Script(Budget())
        >>> script.run(ast.parse("lr = 0.1 * 2; steps = [8]; steps.append(11); tune(steps)").body)
        >>> script.results()["lr"], script.results()["steps"].reason
        (0.2, 'calling `tune` would run code')
    """

    def __init__(self, budget: Budget, file: str = ""):
        super().__init__(self.found, budget, file)
        self.names = self.local = Scope(__name__="config")
        self.scopes = [self.names]
        self.hidden: set[str] = set()
        self.code, self.followed = {}, set()

    def results(self) -> dict[str, Any]:
        """What the statements have bound, without imports, functions and dunder names."""
        return {
            name: self.exposed or self.budget.current(value)
            for name, value in self.names.items()
            if not (name in self.hidden or name.startswith("__") or isinstance(value, Function))
        }

    # Statements

    def run(self, body: list[ast.stmt]) -> Return | None:
        """Follow statements, up to one that returns."""
        for i, statement in enumerate(body):
            self.spend(1, statement)
            self.followed.clear()
            try:
                done = self.statement(statement)
            except ERRORS as error:
                why = self.why(statement, error)
                self.forget(statement, why)
                done = self._left_open(statement, why)
            if done is not None:
                if done.why is not None:
                    for later in body[i + 1 :]:
                        self.forget(later, done.why)
                return done
        return None

    def _left_open(self, statement: ast.stmt, why: Unknown) -> Return | None:
        """A return that may be in a statement that was not followed.

        Raises:
            Unclear: If it may leave a loop, of which nothing is known then.
        """
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return None
        if _leaves_loop(statement):
            raise Unclear(why)
        inside = next((node for node in own_nodes(statement) if isinstance(node, ast.Return)), None)
        return Return(Unknown(inside.lineno, source_of(inside), "", self.file), why) if inside else None

    def statement(self, node: ast.stmt) -> Return | None:
        match node:
            case ast.Assign():
                value = self.value(node.value)
                if _is_lazy(node.value):
                    value = self.why(node, Unclear("an iterator or a view is only followed where it is used at once"))
                for target in node.targets:
                    self.store(target, value)
            case ast.AnnAssign():
                if node.value is not None:
                    self.store(node.target, self.value(node.value))
            case ast.AugAssign():
                self.change(node)
            case ast.Delete():
                for target in node.targets:
                    self.delete(target)
            case ast.Expr():
                self.value(node.value)
            case ast.If():
                return self.run(node.body if self.truth(node.test) else node.orelse)
            case ast.For():
                return self.repeat(node)
            case ast.With() if all(map(self._only_unlocks, node.items)):
                return self.run(node.body)
            case ast.Import():
                for alias in node.names:
                    path = alias.name if alias.asname else alias.name.partition(".")[0]
                    self.hide(alias.asname or path, Imported(path))
            case ast.ImportFrom() if node.names[0].name != "*":
                for alias in node.names:
                    path = f"{'.' * node.level}{node.module or ''}.{alias.name}"
                    self.hide(alias.asname or alias.name, self.imported(path))
            case ast.FunctionDef():
                if self.local is self.names:
                    self.hidden.add(node.name)
                self.local[node.name] = self.function(node)
            case ast.AsyncFunctionDef() | ast.ClassDef():
                self.hide(node.name, None)
                raise Unclear(f"`{node.name}` is code of the file, which is not run")
            case ast.Return():
                return Return(self.value(node.value) if node.value else None)
            case ast.Raise():
                self.fail(node, f"it raises `{source_of(node.exc) if node.exc else ''}`")
            case ast.Assert():
                value = self.value(node.test)
                if not isinstance(value, Unknown) and not value:
                    self.fail(node, f"`{source_of(node)}` does not hold")
            case ast.Break():
                raise _Break
            case ast.Continue():
                raise _Continue
            case ast.Pass():
                pass
            case _:
                raise Unclear(f"a {type(node).__name__.lower()} statement is not followed")
        return None

    def repeat(self, node: ast.For) -> Return | None:
        for value in elements(self.known(node.iter)):
            self.spend(1, node)
            self.store(node.target, value)
            try:
                done = self.run(node.body)
            except _Break:
                return None
            except _Continue:
                continue
            if done is not None:
                if done.why:
                    self.forget(node, done.why)
                return done
        return self.run(node.orelse)

    def _only_unlocks(self, item: ast.withitem) -> bool:
        match item.context_expr:
            case ast.Call(func=ast.Attribute(value=target, attr="unlocked" | "ignore_type"), args=[], keywords=[]):
                return isinstance(self.value(target), AttributeDict)
        return False

    # Binding

    def hide(self, name: str, value: Any) -> None:
        """Bind a name that is no result."""
        self.local[name] = value
        if self.local is self.names:
            self.hidden.add(name)

    def store(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name():
                self.local[target.id] = value
                if self.local is self.names:
                    self.hidden.discard(target.id)
            case ast.Attribute() | ast.Subscript():
                self.put(*self.place(target), value)
            case _:
                for part, element in unpacked(target, value):
                    self.store(part, element)

    def place(self, target: ast.expr) -> tuple[Any, Any]:
        """The list or dict that has an element or attribute, and its index or key."""
        match target:
            case ast.Attribute() if isinstance(owner := self.known(target.value), AttributeDict):
                return owner, target.attr
            case ast.Subscript() if isinstance(owner := self.known(target.value), dict | list):
                return owner, self.index(target.slice)
        raise Unclear(f"`{source_of(target)}` cannot be set")

    def put(self, owner: Any, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            raise Unclear("a slice cannot be set")
        if isinstance(owner, AttributeDict):
            owner.put(index, owner.adopted(value, self.budget))
        else:
            owner[index] = value

    def change(self, node: ast.AugAssign) -> None:
        """``target += value``: a list is changed in place."""
        if isinstance(node.target, ast.Name):
            old, place = self.known(node.target), None
        else:
            owner, index = place = self.place(node.target)
            if isinstance(index, slice):
                raise Unclear("a slice cannot be set")
            old = certain(self.budget.current(owner[index]))
        value = self.known(node.value)
        is_extended = isinstance(old, list) and isinstance(node.op, ast.Add)
        new = self.made([*old, *elements(value)] if is_extended else arithmetic(node.op, old, value), node)
        if isinstance(old, list):
            old[:] = new
            new = old
        if place is None:
            self.store(node.target, new)
        else:
            self.put(*place, new)

    def delete(self, target: ast.expr) -> None:
        if not isinstance(target, ast.Name):
            owner, index = self.place(target)
            del owner[index]
        elif target.id not in self.local:
            self.fail(target, f"`{target.id}` is deleted but not defined")
        else:
            del self.local[target.id]


def _leaves_loop(node: ast.AST) -> bool:
    """Whether a statement has a ``break`` or ``continue`` of a loop around it."""
    inside = node.orelse if isinstance(node, ast.For | ast.AsyncFor | ast.While) else ast.iter_child_nodes(node)
    return isinstance(node, ast.Break | ast.Continue) or any(map(_leaves_loop, inside))


def _is_lazy(node: ast.expr) -> bool:
    """Whether an expression gives an iterator, or a view of a dict, here a list."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        return name in ("enumerate", "reversed", "zip", "items", "keys", "values")
    return isinstance(node, ast.GeneratorExp)
