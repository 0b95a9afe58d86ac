"""A config that the function ``get_config`` of a file builds. Nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxsched.ports.shared._calls import Imported
from jaxsched.ports.shared._config_dict import ConfigDict, deepcopy
from jaxsched.ports.shared._expressions import Scope
from jaxsched.ports.shared._files import STANDARD_INPUT, File, Files
from jaxsched.ports.shared._forgetting import Function
from jaxsched.ports.shared._operators import Unclear, whole
from jaxsched.ports.shared._python import Budget, SourceError, Unknown, parse_python
from jaxsched.ports.shared._script import Script

TYPES = ("bool", "float", "int", "str")


class Program(Script):
    """The functions of a file, and of those that it imports from beside it.

    Args:
        file: The file.
        known: Functions of modules by the end of their path, which stand for those of the original.
    """

    def __init__(self, file: File, known: Mapping[str, Callable[..., Any]]):
        super().__init__(Budget(), file.name)
        self.main, self.known_functions = file, known
        self.modules: dict[str, Scope | None] = {}
        tree = parse_python(file)
        self.files = Files(_root(file, tree), (".py",))
        self.names = self.load(file, tree)

    def load(self, file: File, tree: ast.Module) -> Scope:
        """The names of a module."""
        scope = Scope(__name__="config")
        with self.files.following(file):
            self.within(file.name, (scope,), tree.body)
        return scope

    def expose(self, node: ast.Name) -> None:
        if node.id != "globals":
            self.fail(node, f"`{node.id}` can change any name of the file, and is not followed")
        module, why = self.scopes[0], self.why(node, Unclear("it can change any name of the module"))
        for name, value in module.items():
            if isinstance(value, Function):
                self.note(value.node, value.scopes, dict(value.defaults))
            if not isinstance(value, Imported):
                module[name] = why

    def found(self, node: Any) -> Any:
        is_type = isinstance(node, ast.Name) and node.id in TYPES
        return Imported(node.id) if is_type else super().found(node)

    def imported(self, path: str) -> Any:
        """What is imported, if it is in a module of the file's own package, and of no known function."""
        module, _, name = path.rpartition(".")
        if not module or module.startswith(".") or self.library(path):
            return Imported(path)
        if module not in self.modules:
            self.modules[module] = None  # while it is read, for circular imports
            self.modules[module] = self._beside(module)
        return (self.modules[module] or {}).get(name, Imported(path))

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

    def library(self, path: str) -> Callable[..., Any] | None:
        package, _, name = path.partition(".")
        name = name.rpartition(".")[2]
        if package == "ml_collections" and name in ("ConfigDict", "FrozenConfigDict"):
            return self._config
        if package == "ml_collections" and name in ("placeholder", "required_placeholder"):
            return lambda *types, **options: None
        stand = next((stand for end, stand in self.known_functions.items() if path.endswith(end)), None)
        return super().library(path) or stand

    def _config(self, initial: Any = None, /, **options: Any) -> Any:
        del options  # type_safe, convert_dict, ...
        return ConfigDict.adopted(dict(whole(initial) or {}), self.budget)


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
    except SourceError as error:
        raise error if error.file else SourceError(str(error), file.name) from None
    except RecursionError:
        raise SourceError("it is nested too deeply", file.name) from None


def _config_of(file: File, arg: str | None, known: Mapping[str, Callable[..., Any]]) -> ConfigDict:
    program = Program(file, known)
    function = program.names.get("get_config")
    if isinstance(function, Unknown):
        raise SourceError(f"get_config is not known: {function.reason}", function.file, function.line)
    if not isinstance(function, Function):
        raise SourceError("it has no function get_config", file.name)
    try:
        config = program.budget.current(program.call(function, [] if arg is None else [arg], {}))
    except TypeError as error:
        raise SourceError(f"{error}; {'give arg=' if arg is None else 'leave arg out'}", file.name) from None
    if isinstance(config, Unknown):
        message = f"`{config.source}` is not known without running the file: {config.reason}"
        raise SourceError(message, config.file, config.line)
    if not isinstance(config, ConfigDict):
        raise SourceError("get_config does not return a ConfigDict", file.name, function.node.lineno)
    program.budget.copy(config, file.name)  # an error where a small value spells out to a huge tree
    known_config: ConfigDict = deepcopy(config, program.budget)
    return known_config
