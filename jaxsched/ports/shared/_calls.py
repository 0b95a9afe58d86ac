"""Names, attributes and calls of Python source: of what is known, and of functions of the file."""

from __future__ import annotations

import abc
import ast
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxsched.ports.shared import _builtins as builtins
from jaxsched.ports.shared._config_dict import AttributeDict, deepcopy
from jaxsched.ports.shared._expressions import Scope
from jaxsched.ports.shared._forgetting import EXPOSING, Forgetting, Function, method
from jaxsched.ports.shared._operators import Unclear, certain
from jaxsched.ports.shared._python import SourceError, Unknown, source_of

_DEEPEST = 20
"""Most calls within calls."""
_HOLDING = ("dict", "update")
"""Functions whose keyword arguments are only stored, so that an unknown one does no harm."""
_SIZED = (list, tuple, dict, str, range)
_KINDS = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD,
)


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


@dataclasses.dataclass(frozen=True)
class Return:
    """What a function returns; with ``why``, what it may return, so that nothing is known of what would follow."""

    value: Any
    why: Unknown | None = None


def _attribute(target: Any, name: Any, *default: Any) -> Any:
    if not isinstance(target, AttributeDict) or not isinstance(name, str):
        raise Unclear("attributes are known of inherited settings only")
    return target.find(name, *default) if default else target[name]


_MISSING = object()
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **builtins.FUNCTIONS,
    "getattr": _attribute,
    "hasattr": lambda target, name: certain(_attribute(target, name, _MISSING)) is not _MISSING,
}


class Calls(Forgetting, abc.ABC):
    """Expressions with calls, which are followed where what is called is known.

    Attributes:
        calls: How many calls are open.
    """

    calls = 0

    # Names and attributes

    def imported(self, path: str) -> Any:
        """What stands for a name of another module."""
        return Imported(path)

    def library(self, path: str) -> Callable[..., Any] | None:
        """What stands for a function of another module, or None."""
        return (lambda value: deepcopy(value, self.budget)) if path == "copy.deepcopy" else builtins.LIBRARY.get(path)

    def found(self, node: Any) -> Any:
        if isinstance(node, ast.Attribute):
            target = self.known(node.value)
            if isinstance(target, Imported):
                return self.imported(f"{target.path}.{node.attr}")
            if isinstance(target, dict | list) and method(target, node.attr) is not None:  # a call by another name
                why = self.why(node, Unclear(f"`{source_of(node)}` is only followed where it is called"))
                self.budget.changed.setdefault(id(target), (target, why))
                raise Unclear(why)
            if isinstance(target, AttributeDict):
                return target[node.attr]
            raise Unclear(f"a {type(target).__name__} has no attribute `{node.attr}`")
        if node.id in EXPOSING:
            self.expose(node)
        raise Unclear(f"`{node.id}` is not defined in the file")

    # Calls

    def function(self, node: ast.FunctionDef) -> Function:
        """The value of a definition, whose defaults are evaluated where it stands."""
        unlike = (ast.Yield, ast.YieldFrom, ast.Global, ast.Nonlocal)
        other = next((inner for inner in own_nodes(node) if isinstance(inner, unlike)), None)
        if other is not None or node.decorator_list:
            raise Unclear(f"`{source_of(other)}` is not followed" if other else f"`{node.name}` is decorated")
        given = node.args
        plain = [argument.arg for argument in (*given.posonlyargs, *given.args)]
        defaults = dict(zip(reversed(plain), map(self.value, reversed(given.defaults)), strict=False))
        for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
            defaults |= {argument.arg: self.value(default)} if default else {}
        groups: list[list[Any]] = [given.posonlyargs, given.args, [given.vararg], given.kwonlyargs, [given.kwarg]]
        parameters = [
            inspect.Parameter(argument.arg, kind, default=defaults.get(argument.arg, inspect.Parameter.empty))
            for arguments, kind in zip(groups, _KINDS, strict=True)
            for argument in arguments
            if argument is not None
        ]
        return Function(node, self.file, tuple(self.scopes), inspect.Signature(parameters), defaults)

    def call(self, function: Function, values: list[Any], named: Mapping[str, Any]) -> Any:
        """What a function of a file returns."""
        try:
            bound = function.signature.bind(*values, **named)
        except TypeError:
            raise TypeError(f"{function.node.name}() does not take these arguments") from None
        bound.apply_defaults()
        done = self.within(function.file, (*function.scopes, dict(bound.arguments)), function.node.body)
        return done.value if done else None

    @abc.abstractmethod
    def run(self, body: list[ast.stmt]) -> Return | None:
        """Follow statements, up to one that returns."""

    def within(self, file: str, scopes: tuple[Scope, ...], body: list[ast.stmt]) -> Return | None:
        """Run statements in scopes of their own."""
        outside = self.file, self.scopes, self.local, self.calls
        self.file, self.scopes, self.local, self.calls = file, list(scopes), scopes[-1], self.calls + 1
        if self.calls > _DEEPEST:
            raise SourceError(f"more than {_DEEPEST} calls within calls", self.file)
        try:
            return self.run(body)
        finally:
            self.file, self.scopes, self.local, self.calls = outside

    def called(self, node: ast.Call) -> Any:
        value = self._called(node)
        self.followed.add(id(node))
        return value

    def _called(self, node: ast.Call) -> Any:
        function, path, target = self._callee(node.func)
        values, named = self.arguments(node)
        if isinstance(function, Function):
            return self.call(function, values, named)
        if function is None:
            raise Unclear(f"calling `{path or source_of(node.func)}` would run code")
        is_holding = getattr(node.func, "attr", getattr(node.func, "id", "")) in _HOLDING
        for value in values if is_holding else (*values, *named.values()):
            self.spend(len(value) // 16 if isinstance(certain(value), _SIZED) else 0, node)
        return self.made(function(*target, *values, **named), node)

    def _callee(self, node: ast.expr) -> tuple[Any, str, list[Any]]:
        """What is called, or None; its path, if it is imported; and the first arguments of a method."""
        if isinstance(node, ast.Attribute):
            target = self.value(node.value)
            if not isinstance(target, Imported | Unknown):
                self.spend(len(target) // 16 if isinstance(target, _SIZED) else 0, node)
                more = [self.budget] if isinstance(target, AttributeDict) else []
                return method(target, node.attr), "", [target, *more]
        is_bound = isinstance(node, ast.Name) and any(node.id in scope for scope in self.scopes)
        if isinstance(node, ast.Name) and node.id in FUNCTIONS and not is_bound:
            return FUNCTIONS[node.id], "", []
        function = self.value(node)
        if isinstance(function, Imported):
            return self.library(function.path), function.path, []
        return function if isinstance(function, Function) else None, "", []

    def arguments(self, node: ast.Call) -> tuple[list[Any], dict[str, Any]]:
        values = self.items(node.args)
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            given = self.mapping(keyword.value) if keyword.arg is None else {keyword.arg: self.value(keyword.value)}
            if not all(isinstance(name, str) for name in given):
                raise TypeError("keywords must be strings")
            if twice := named.keys() & given.keys():
                raise TypeError(f"got multiple values for keyword argument {min(twice)!r}")
            named.update({name: self.budget.current(value) for name, value in given.items()})
        return values, named


def own_nodes(node: ast.AST) -> Iterable[ast.AST]:
    """The nodes of a statement, without those of functions within it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield from own_nodes(child)
