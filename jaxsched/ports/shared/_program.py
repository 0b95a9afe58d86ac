"""A config that a function of a file builds: its statements are followed as data, within bounds; none is executed.

What cannot be followed makes unknown whatever it may change (`Forgetting`).
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from jaxsched.ports.shared import _builtins as builtins
from jaxsched.ports.shared import _config_dict as config_dict
from jaxsched.ports.shared._config_dict import ConfigDict, as_config
from jaxsched.ports.shared._files import STANDARD_INPUT, File, Files
from jaxsched.ports.shared._forgetting import READING, Forgetting, Function, Scope
from jaxsched.ports.shared._operators import ERRORS, Unclear, certain, elements, unpacked, whole
from jaxsched.ports.shared._python import Budget, SourceError, Unknown, parse_python, source_of
from jaxsched.ports.shared._script import Imported

TYPES = ("bool", "float", "int", "str")
_CONFIG_DICTS = ("ConfigDict", "FrozenConfigDict")
_DEEPEST = 20
"""Most calls within calls."""


@dataclasses.dataclass(frozen=True)
class _Return:
    """What a function returns; with ``why``, what it may return, so that nothing is known of what would follow."""

    value: Any
    why: Unknown | None = None


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Program(Forgetting):
    """The functions of a file, and of those that it imports from beside it.

    Args:
        file: The file.
        known: Functions of modules by the end of their path, which stand for those of the original.
    """

    def __init__(self, file: File, known: Mapping[str, Callable[..., Any]]):
        super().__init__(self._look_up, Budget(), file.name)
        self.main, self.here, self.stands_for = file, file, known
        self.modules: dict[str, Scope | None] = {}
        tree = parse_python(file)
        self.files = Files(_root(file, tree), (".py",))
        self.module = self.load(file, tree)

    def load(self, file: File, tree: ast.Module) -> Scope:
        """The names of a module."""
        scope: Scope = {"__name__": "config"}
        with self.files.following(file):
            self.within(file, (scope,), tree.body)
        return scope

    def within(self, file: File, scopes: tuple[Scope, ...], body: list[ast.stmt]) -> _Return | None:
        """Run statements in scopes of their own."""
        outside = self.here, self.file, self.scopes, self.stack
        self.here, self.file, self.scopes, self.stack = file, file.name, [], [*self.stack, scopes]
        if len(self.stack) > _DEEPEST:
            raise SourceError(f"more than {_DEEPEST} calls within calls", self.file)
        try:
            return self.run(body)
        finally:
            self.here, self.file, self.scopes, self.stack = outside

    # Names

    def _look_up(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            scope = next((scope for scope in reversed(self.stack[-1]) if node.id in scope), None)
            if scope is not None:
                value = scope[node.id]
                return self._found(value) if isinstance(value, Imported) else value
            if node.id in TYPES:
                return Imported(node.id)
            raise Unclear(f"`{node.id}` is not defined in the file")
        assert isinstance(node, ast.Attribute)
        target = self.known(node.value)
        if isinstance(target, Imported):
            return self._found(Imported(f"{target.path}.{node.attr}"))
        if isinstance(target, ConfigDict) and node.attr not in config_dict.METHODS:
            return target.entry(node.attr)
        if isinstance(target, dict | list) and node.attr not in READING:
            self.fail(node, f"`{source_of(node)}` is only followed where it is called")
        raise Unclear(f"a {type(target).__name__} has no attribute `{node.attr}`")

    def _found(self, imported: Imported) -> Any:
        """What is imported, if it is in a module of the file's own package, and of no known function."""
        module, _, name = imported.path.rpartition(".")
        if not module or self._of_module(imported.path):
            return imported
        if module not in self.modules:
            self.modules[module] = None  # while it is read, for circular imports
            self.modules[module] = self._beside(module)
        return (self.modules[module] or {}).get(name, imported)

    def _beside(self, module: str) -> Scope | None:
        """The names of a module of the package that the file is in, or None."""
        path = self.files.root.joinpath(*module.split(".")).with_suffix(".py")
        if self.main.path == STANDARD_INPUT or not path.is_file():
            return None
        try:
            file = self.files.base(str(path), self.main)
            return self.load(file, parse_python(file))
        except (OSError, ValueError):
            return None

    # Statements

    def run(self, body: list[ast.stmt]) -> _Return | None:
        for i, statement in enumerate(body):
            self.spend(1, statement)
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

    def _left_open(self, statement: ast.stmt, why: Unknown) -> _Return | None:
        """A return that may be in a statement that was not followed.

        Raises:
            Unclear: If it may leave a loop, of which nothing is known then.
        """
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            return None
        if _leaves_loop(statement):
            raise Unclear(why)
        inside = next((node for node in _own(statement) if isinstance(node, ast.Return)), None)
        return _Return(Unknown(inside.lineno, source_of(inside), "", self.file), why) if inside else None

    def statement(self, node: ast.stmt) -> _Return | None:
        match node:
            case ast.Assign():
                value = self.value(node.value)
                for target in node.targets:
                    self.assign(target, value)
            case ast.AnnAssign():
                if node.value is not None:
                    self.assign(node.target, self.value(node.value))
            case ast.AugAssign():
                self.change(node)
            case ast.Expr():
                self.value(node.value)
            case ast.Return():
                return _Return(self.value(node.value) if node.value else None)
            case ast.If():
                return self.run(node.body if self.truth(node.test) else node.orelse)
            case ast.For():
                return self.repeat(node)
            case ast.While():
                raise Unclear("a while loop is not followed")
            case ast.With():
                return self.run(node.body) if all(map(_only_unlocks, node.items)) else self._cannot("with")
            case ast.FunctionDef():
                self.local[node.name] = self._function(node)
            case ast.Import():
                for alias in node.names:
                    path = alias.name if alias.asname else alias.name.partition(".")[0]
                    self.local[alias.asname or path] = Imported(path)
            case ast.ImportFrom():
                for alias in node.names:
                    if alias.name == "*":  # it may bind any name again
                        why = self.why(node, Unclear("what a star imports is not known"))
                        self.local.update({n: why for n, old in self.local.items() if not isinstance(old, Imported)})
                    else:
                        self.local[alias.asname or alias.name] = Imported(f"{node.module or ''}.{alias.name}")
            case ast.Global() | ast.Nonlocal():
                raise SourceError(f"`{source_of(node)}` is not followed", self.file, node.lineno)
            case ast.Raise():
                raise SourceError(f"it raises `{source_of(node.exc) if node.exc else ''}`", self.file, node.lineno)
            case ast.Assert():
                value = self.value(node.test)
                if not isinstance(value, Unknown) and not value:
                    raise SourceError(f"`{source_of(node)}` does not hold", self.file, node.lineno)
            case ast.Delete():
                for target in node.targets:
                    self.delete(target)
            case ast.Break():
                raise _Break
            case ast.Continue():
                raise _Continue
            case ast.Pass():
                pass
            case _:
                self._cannot(type(node).__name__.lower())
        return None

    def _cannot(self, what: str) -> NoReturn:
        raise Unclear(f"`{what}` is not followed")

    def assign(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name():
                self.local[target.id] = value
            case ast.Attribute():
                self._charge(value, target)
                self._config(target.value).assign(target.attr, value)
            case ast.Subscript():
                owner = self.known(target.value)
                if not isinstance(owner, dict | list):
                    raise Unclear(f"an element of a {type(owner).__name__}")
                self._charge(value, target)
                owner[self.index(target.slice)] = as_config(value) if isinstance(owner, ConfigDict) else value
            case _:
                for part, item in unpacked(target, value):
                    self.assign(part, item)

    def _charge(self, value: Any, node: ast.AST) -> None:
        """Charge for the plain dicts in a dict, which a ConfigDict copies."""
        waiting = [value]
        while waiting:
            item = waiting.pop()
            if type(item) is dict:
                self.spend(1 + len(item), node)
                waiting.extend(item.values())

    def _config(self, node: ast.expr) -> ConfigDict:
        owner = self.known(node)
        if not isinstance(owner, ConfigDict):
            raise Unclear(f"an attribute of a {type(owner).__name__}")
        return owner

    def change(self, node: ast.AugAssign) -> None:
        """``target += value``: a list is changed in place."""
        old = self.known(_loaded(node.target))
        if isinstance(old, list):
            old.extend(elements(self.known(node.value)))
            return
        self.assign(
            node.target, self.value(ast.copy_location(ast.BinOp(_loaded(node.target), node.op, node.value), node))
        )

    def delete(self, target: ast.expr) -> None:
        if isinstance(target, ast.Attribute):
            del self._config(target.value)[target.attr]
        elif isinstance(target, ast.Subscript) and isinstance(owner := self.known(target.value), dict | list):
            del owner[self.index(target.slice)]
        else:
            raise Unclear("`del` of a name is not followed")

    def repeat(self, node: ast.For) -> _Return | None:
        for value in elements(self.known(node.iter)):
            self.spend(1, node)
            self.assign(node.target, value)
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

    # Calls

    def _function(self, node: ast.FunctionDef) -> Function:
        if node.decorator_list or any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in _own(node)):
            raise Unclear(f"`{node.name}` is decorated or a generator")
        names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        values = [self.value(default) for default in node.args.defaults]
        defaults = dict(zip(reversed(names), reversed(values), strict=False))
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            defaults |= {argument.arg: self.value(default)} if default else {}
        return Function(node, self.here, self.stack[-1], defaults)

    def call(self, function: Function, values: list[Any], named: Mapping[str, Any]) -> Any:
        """What a function of a file returns."""
        arguments = function.node.args
        places = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
        known = {*places, *(argument.arg for argument in arguments.kwonlyargs)}
        scope: Scope = {**function.defaults, **dict(zip(places, values, strict=False))}
        others = {name: value for name, value in named.items() if name not in known}
        too_many = len(values) > len(places) and not arguments.vararg
        if too_many or (others and not arguments.kwarg) or set(places[: len(values)]) & set(named):
            raise TypeError(f"{function.node.name}() does not take these arguments")
        scope |= {name: value for name, value in named.items() if name in known}
        if missing := known - scope.keys():
            raise TypeError(f"{function.node.name}() needs {sorted(missing)[0]}")
        if arguments.vararg:
            scope[arguments.vararg.arg] = tuple(values[len(places) :])
        if arguments.kwarg:
            scope[arguments.kwarg.arg] = others
        done = self.within(function.file, (*function.scopes, scope), function.node.body)
        return done.value if done else None

    def called(self, node: ast.Call) -> Any:
        try:
            return self._called(node)
        except ERRORS as error:
            why = self.why(node, error)
            if node.keywords or not isinstance(node.func, ast.Name) or node.func.id not in builtins.FUNCTIONS:
                self.forget(node, why)
            raise Unclear(why) from None

    def _called(self, node: ast.Call) -> Any:
        function, target = self._callee(node.func)
        values = self.items(node.args)
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            named |= self.mapping(keyword.value) if keyword.arg is None else {keyword.arg: self.value(keyword.value)}
        if isinstance(function, Function):
            return self.call(function, values, named)
        if function is None:
            raise Unclear(Unknown(node.lineno, source_of(node), "it is not in the file", self.file))
        for value in values if function in _HOLDING else (*values, *named.values()):
            whole(certain(value)) if function in _COUNTING else certain(value)
        for value in (*target, *values):
            self.spend(len(value) // 16 if isinstance(value, list | tuple | dict | str) else 0, node)
        if function is _config or (target and isinstance(target[0], ConfigDict)):
            for value in (*values, *named.values()):
                self._charge(value, node)
            if function in _COPYING:
                self.budget.copy(target[0], self.file)
        try:
            result = function(*target, *values, **named)
            return self.made(list(result) if isinstance(result, Iterator) else result, node)
        except SourceError as error:
            raise error if error.file else SourceError(str(error), self.file, node.lineno) from None

    def _callee(self, node: ast.expr) -> tuple[Any, list[Any]]:
        """The function that is called, or None; and what it is a method of."""
        if isinstance(node, ast.Attribute):
            target = self.value(node.value)
            if isinstance(target, ConfigDict) and node.attr in config_dict.METHODS:
                return config_dict.METHODS[node.attr], [target]
            if not isinstance(target, Imported | Unknown):
                return builtins.method(target, node.attr), [target]
        if isinstance(node, ast.Name) and node.id in builtins.FUNCTIONS and not self._is_bound(node.id):
            return builtins.FUNCTIONS[node.id], []
        value = self.value(node)
        if isinstance(value, Imported):
            return self._of_module(value.path), []
        return value if isinstance(value, Function) else None, []

    def _of_module(self, path: str) -> Callable[..., Any] | None:
        module, _, name = path.rpartition(".")
        if module.partition(".")[0] == "ml_collections" and name in _CONFIG_DICTS:
            return _config
        if module.partition(".")[0] == "ml_collections" and name in ("placeholder", "required_placeholder"):
            return lambda *types, **options: None
        if path == "copy.deepcopy":
            return lambda value: self.budget.copy(whole(value), self.file)
        return builtins.LIBRARY.get(path) or next(
            (stand for end, stand in self.stands_for.items() if path.endswith(end)), None
        )


def _config(initial: Any = None, /, **options: Any) -> Any:
    del options  # type_safe, convert_dict, ...
    return as_config(dict(whole(initial) or {}))


_COPYING = tuple(config_dict.METHODS[name] for name in ("copy_and_resolve_references", "to_dict"))
_COUNTING = tuple(builtins.FUNCTIONS.values())
"""Functions to which all keys of a dict matter."""
_HOLDING = (builtins.FUNCTIONS["dict"], builtins.METHODS[dict]["update"], config_dict.METHODS["update"])
"""Functions whose keyword arguments are only stored, so that an unknown one does no harm."""


def _loaded(node: Any) -> Any:
    """A target as an expression that is read."""
    match node:
        case ast.Name():
            return ast.copy_location(ast.Name(node.id, ast.Load()), node)
        case ast.Attribute():
            return ast.copy_location(ast.Attribute(node.value, node.attr, ast.Load()), node)
    return ast.copy_location(ast.Subscript(node.value, node.slice, ast.Load()), node)


def _only_unlocks(item: ast.withitem) -> bool:
    call = item.context_expr
    names = ("unlocked", "ignore_type")
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in names


def _own(node: ast.AST) -> Iterable[ast.AST]:
    """The nodes of a statement, without those of functions within it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield from _own(child)


def _leaves_loop(node: ast.AST) -> bool:
    """Whether a statement has a ``break`` or ``continue`` of a loop around it."""
    inside = (
        child for child in ast.iter_child_nodes(node) if not isinstance(node, ast.For | ast.While | ast.FunctionDef)
    )
    return any(isinstance(child, ast.Break | ast.Continue) or _leaves_loop(child) for child in inside)


def _root(file: File, tree: ast.Module) -> Path:
    """The folder that the package of the file is in, by what it imports; else its own."""
    parents = [] if file.path == STANDARD_INPUT else list(file.path.resolve().parents)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in names}
    return next((folder.parent for folder in parents if folder.name in packages), parents[0] if parents else Path())


def config_of(file: File, arg: str | None, known: Mapping[str, Callable[..., Any]]) -> ConfigDict:
    """The ConfigDict that ``get_config(arg)`` of a file returns.

    Args:
        file: The file.
        arg: What follows the colon in ``--config file.py:arg``, if anything does.
        known: Functions of modules by the end of their path, which stand for those of the original.

    Raises:
        SourceError: If there is no such function, it takes no argument, raises, or returns something else.
    """
    try:
        return _config_of(file, arg, known)
    except RecursionError:
        raise SourceError("it is nested too deeply", file.name) from None


def _config_of(file: File, arg: str | None, known: Mapping[str, Callable[..., Any]]) -> ConfigDict:
    program = Program(file, known)
    function = program.module.get("get_config")
    if not isinstance(function, Function):
        raise SourceError("it has no function get_config", file.name)
    try:
        config = program.call(function, [] if arg is None else [arg], {})
    except TypeError as error:
        raise SourceError(f"{error}; {'give arg=' if arg is None else 'leave arg out'}", file.name) from None
    if isinstance(config, Unknown):
        raise SourceError(f"`{config.source}` is not known without running the file", config.file, config.line)
    if not isinstance(config, ConfigDict):
        raise SourceError("get_config does not return a ConfigDict", file.name, function.node.lineno)
    program.budget.copy(config, file.name)  # an error where a small value spells out to a huge tree
    return config
