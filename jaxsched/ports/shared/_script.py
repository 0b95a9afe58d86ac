"""Statements of Python source, followed on plain data; what cannot be followed makes unknown what it could change."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any

from jaxsched.ports.shared import _builtins as builtins
from jaxsched.ports.shared._expressions import Expressions
from jaxsched.ports.shared._operators import ERRORS, Unclear, arithmetic, certain, elements, unpacked
from jaxsched.ports.shared._python import Budget, Unknown

EXPOSING = {"__builtins__", "exec", "eval", "globals", "locals", "vars", "setattr", "delattr"}
"""Functions that may bind any name."""


@dataclasses.dataclass(frozen=True)
class Imported:
    """A name that the file imports: a class to name as a ``type``, or a module to take one from.

    Attributes:
        path: Its dotted path.
    """

    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


class AttributeDict(dict):
    """A dict whose keys are attributes too, as mmengine's ConfigDict. ``update`` merges recursively, ``pop`` of a
    missing key gives None, and a plain dict that is put into it is copied."""

    methods: frozenset[str] = frozenset()
    """Methods that a file may call, beside those of dict."""

    def __setitem__(self, name: Any, value: Any) -> None:
        super().__setitem__(name, self.adopted(value))

    @classmethod
    def adopted(cls, value: Any) -> Any:
        """``value`` as it is once put into such a dict."""
        if type(value) is dict:
            return cls({name: cls.adopted(child) for name, child in value.items()})
        return type(value)(map(cls.adopted, value)) if isinstance(value, list | tuple) else value

    def copy(self) -> AttributeDict:
        return type(self)(self)

    def pop(self, name: Any, default: Any = None) -> Any:
        return super().pop(name, default)

    def setdefault(self, name: Any, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, other: Any = (), /, **more: Any) -> None:
        for name, value in dict(other, **more).items():
            if isinstance(self.get(name), AttributeDict) and isinstance(value, dict):
                self[name].update(value)
            else:
                self[name] = value


def _attribute(target: Any, name: str, *default: Any) -> Any:
    if not isinstance(target, AttributeDict) or not isinstance(name, str) or not (default or name in target):
        raise Unclear("attributes are known of inherited settings only")
    return target.get(name, *default)


_MISSING = object()
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **builtins.FUNCTIONS,
    "getattr": _attribute,
    "hasattr": lambda target, name: _attribute(target, name, _MISSING) is not _MISSING,
}


def method(target: Any, name: str) -> Callable[..., Any] | None:
    """What stands for ``target.name``, to be called with the target first; or None."""
    if isinstance(target, AttributeDict) and name in target.methods:
        return getattr(type(target), name)
    return builtins.method(target, name)


class Script(Expressions):
    """Follows the statements of one file, top to bottom.

    Assignments, changes of elements, ``del``, ``if``, ``for`` and calls of known functions and methods are followed. Of
    any other statement or call, whatever it could have changed becomes unknown: the names it binds, and the lists and
    dicts that it was handed, with all in them; functions of the file may be called from there under any name, so what
    they bind and mention counts as well. So a value is right or it is marked, never stale.

    Attributes:
        names: The values of the names that are bound.
        hidden: Names of imports, functions and classes.
        exposed: Set where the file may bind any name unseen: from there on nothing in it is known.

    Examples:
        >>> script = Script(Budget())
        >>> for node in ast.parse("lr = 0.1 * 2; steps = [8]; steps.append(11); tune(steps)").body:
        ...     script.follow(node)
        >>> script.results()["lr"], script.results()["steps"].reason
        (0.2, 'calling `tune` would run code')
    """

    def __init__(self, budget: Budget, file: str = "", names: Mapping[str, Any] | None = None):
        super().__init__(self.found, budget, file)
        self.names: dict[str, Any] = {"__name__": "config", **(names or {})}
        self.hidden: set[str] = set()
        self.code: list[ast.AST] = []  # functions, classes and lambdas, which some call may run
        self.exposed: Unknown | None = None

    def results(self) -> dict[str, Any]:
        """What the statements have bound, without imports, functions and dunder names."""
        return {
            name: self.exposed or self.budget.current(value)
            for name, value in self.names.items()
            if name not in self.hidden and not name.startswith("__")
        }

    def follow(self, node: ast.stmt) -> None:
        self.spend(1, node)
        try:
            self.followed(node)
        except ERRORS as error:
            self.lose_track(node, self.why(node, error))

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
                current, value = self.known(node.target), self.known(node.value)
                if isinstance(current, list) and isinstance(node.op, ast.Add):
                    current.extend(self.made(elements(value), node))
                else:
                    self.store(node.target, self.made(arithmetic(node.op, current, value), node))
            case ast.Delete():
                for target in node.targets:
                    self.delete(target)
            case ast.Expr():
                self.value(node.value)
            case ast.If():
                for statement in node.body if self.known(node.test) else node.orelse:
                    self.follow(statement)
            case ast.For() if not any(isinstance(part, ast.Break | ast.Continue) for part in ast.walk(node)):
                for value in elements(self.known(node.iter)):
                    self.store(node.target, value)
                    for statement in node.body:
                        self.follow(statement)
                for statement in node.orelse:
                    self.follow(statement)
            case ast.Import():
                for alias in node.names:
                    path = alias.name if alias.asname else alias.name.partition(".")[0]
                    self.hide(alias.asname or path, Imported(path))
            case ast.ImportFrom() if node.names[0].name != "*":
                for alias in node.names:
                    self.hide(alias.asname or alias.name, Imported(f"{node.module or ''}.{alias.name}".lstrip(".")))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                why = self.why(node, Unclear(f"`{node.name}` is code of the file, which is not run"))
                if isinstance(node, ast.ClassDef) or node.decorator_list or node.args.defaults or node.args.kw_defaults:
                    self.lose_track(node, why)
                self.code.append(node)
                self.hide(node.name, why)
            case ast.Pass() | ast.Assert():
                pass
            case _:
                raise Unclear(f"a {type(node).__name__.lower()} statement is not followed")

    # Binding

    def hide(self, name: str, value: Any) -> None:
        self.names[name] = value
        self.hidden.add(name)

    def store(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name():
                self.names[target.id] = value
                self.hidden.discard(target.id)
            case ast.Attribute() | ast.Subscript():
                owner = self.known(target.value)
                index: Any = target.attr if isinstance(target, ast.Attribute) else self.index(target.slice)
                if isinstance(owner, AttributeDict):
                    owner[index] = self.budget.copy(value, self.file)
                elif (
                    isinstance(owner, dict | list)
                    and isinstance(target, ast.Subscript)
                    and not isinstance(index, slice)
                ):
                    owner[index] = value
                else:
                    raise Unclear(f"this part of a {type(owner).__name__} cannot be set")
            case _:
                for part, element in unpacked(target, value):
                    self.store(part, element)

    def delete(self, target: ast.expr) -> None:
        match target:
            case ast.Name():
                if target.id not in self.names:
                    self.fail(target, f"`{target.id}` is deleted but not defined")
                del self.names[target.id]
            case ast.Attribute() if isinstance(owner := self.known(target.value), AttributeDict):
                del owner[target.attr]
            case ast.Subscript():
                del self.known(target.value)[self.index(target.slice)]
            case _:
                raise Unclear("this cannot be deleted")

    # Names, attributes and calls

    def found(self, node: Any) -> Any:
        if isinstance(node, ast.Attribute):
            target = self.known(node.value)
            if isinstance(target, Imported):
                return Imported(f"{target.path}.{node.attr}")
            if isinstance(target, AttributeDict) and method(target, node.attr) is None:
                return target[node.attr]
            if isinstance(target, dict | list) and method(target, node.attr) is not None:  # a call by another name
                why = self.why(node, Unclear("a method is only followed where it is called"))
                self.budget.changed.setdefault(id(target), (target, why))
                raise Unclear(why)
            raise Unclear(f"a {type(target).__name__} has no attribute `{node.attr}`")
        if node.id in EXPOSING:
            self.exposed = self.why(node, Unclear("it can change any name of the file"))
        if node.id not in self.names:
            raise Unclear(f"`{node.id}` is not defined in the file")
        return self.names[node.id]

    def called(self, node: ast.Call) -> Any:
        target = self.known(node.func.value) if isinstance(node.func, ast.Attribute) else None
        if isinstance(node.func, ast.Attribute) and not isinstance(target, Imported):
            return self.on_target(node, target, node.func.attr)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        is_bound = any(name in scope for scope in (*self.scopes, self.names))
        if name in FUNCTIONS and not is_bound:
            return self.applied(node, FUNCTIONS[name], *self.arguments(node, name == "dict"))
        function = self.known(node.func) if is_bound or not name else None
        path = function.path if isinstance(function, Imported) else ""
        known = self.deepcopy if path == "copy.deepcopy" else builtins.LIBRARY.get(path)
        if known is not None:
            return self.applied(node, known, *self.arguments(node))
        raise Unclear(f"calling `{path or name or 'this'}` would run code")

    def deepcopy(self, value: Any) -> Any:
        copied = self.budget.copy(value, self.file)
        return value.adopted(copied) if isinstance(value, AttributeDict) else copied

    def on_target(self, node: ast.Call, target: Any, name: str) -> Any:
        function = method(target, name)
        if function is None:
            raise Unclear(f"`.{name}()` of a {type(target).__name__} is not supported")
        values, named = self.arguments(node, name == "update")
        if name == "extend":
            values = [self.made(elements(value), node) for value in values]
        if isinstance(target, AttributeDict):  # it copies what it is given: at a bounded cost
            self.budget.copy(target, self.file)
            values, named = self.budget.copy(values, self.file), self.budget.copy(named, self.file)
        return self.applied(node, function, [target, *values], named)

    def arguments(self, node: ast.Call, stores: bool = False) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call. They must be known, but keywords of one that only stores them."""
        values = self.items(node.args)
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            given = self.mapping(keyword.value) if keyword.arg is None else {keyword.arg: self.value(keyword.value)}
            if not all(isinstance(name, str) for name in given):
                raise TypeError("keywords must be strings")
            if twice := named.keys() & given.keys():
                raise TypeError(f"got multiple values for keyword argument {min(twice)!r}")
            named.update(given)
        for value in values if stores else (*values, *named.values()):
            if isinstance(certain(value), list | tuple | dict | str | range):
                self.spend(len(value) // 16, node)
        return values, named

    def applied(self, node: ast.Call, function: Callable[..., Any], values: list[Any], named: dict[str, Any]) -> Any:
        result = function(*values, **named)
        return self.made(
            list(result) if isinstance(result, Iterator | KeysView | ItemsView | ValuesView) else result, node
        )

    # Where the file cannot be followed

    def lost(self, node: ast.AST, why: Unknown) -> Unknown:
        """A call that is not made may change whatever it can reach, and ``:=`` binds a name, in what is not evaluated
        too."""
        inside = [] if isinstance(node, ast.Call) else list(ast.walk(node))
        self.spend(len(inside) // 4, node)
        if isinstance(node, ast.Call) or any(_changes(part) for part in inside):
            self.lose_track(node, why)
        if isinstance(node, ast.Lambda):
            self.code.append(node)
        return why

    def lose_track(self, node: ast.AST, why: Unknown) -> None:
        """Whatever ``node`` binds, or could have changed through the names in it, is not known any more."""
        inside = [part for tree in (node, *self.code) for part in ast.walk(tree)]
        self.spend(len(inside) // 4, node)
        named = {part.id for part in inside if isinstance(part, ast.Name)}
        if named & EXPOSING or any(isinstance(part, ast.alias) and part.name == "*" for part in inside):
            self.exposed = why
        declared = [name for part in inside if isinstance(part, ast.Global) for name in part.names]
        for name in dict.fromkeys((*bound_names(node), *declared)):
            self.names[name] = why
        waiting = [value for tree in (node, *self.code) for value in self.handed(tree)]
        seen: set[int] = set()
        while waiting:
            value = waiting.pop()
            if isinstance(value, list | dict | tuple) and id(value) not in seen:
                self.spend(1 + len(value) // 16, node)
                seen.add(id(value))
                waiting.extend(value.values() if isinstance(value, dict) else value)
                if not isinstance(value, tuple):
                    self.budget.changed.setdefault(id(value), (value, why))

    def handed(self, node: ast.AST) -> Iterator[Any]:
        """The values that code which is not run may change: those of its names; of ``name.entry`` that entry alone."""
        if isinstance(node, ast.Name):
            yield self.bound(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and (entry := self.entry(node)):
            yield entry
        else:
            for child in ast.iter_child_nodes(node):
                yield from self.handed(child)

    def entry(self, node: ast.AST) -> Any:
        """The value of a name or of an entry under it, if it is known."""
        if isinstance(node, ast.Attribute):
            owner = self.entry(node.value)
            return owner.get(node.attr) if isinstance(owner, AttributeDict) else None
        return self.bound(node.id) if isinstance(node, ast.Name) else None

    def bound(self, name: str) -> Any:
        return next((scope[name] for scope in (*reversed(self.scopes), self.names) if name in scope), None)


def _changes(node: ast.AST) -> bool:
    """Whether evaluating a node may change a value or bind a name."""
    is_builtin = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
    return isinstance(node, ast.Call | ast.NamedExpr) and not is_builtin


def bound_names(node: ast.AST) -> Iterator[str]:
    """The names of the module that running ``node`` may bind."""
    match node:
        case ast.alias() if node.name != "*":
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
                    yield from bound_names(child)
