"""Reads an OpenMMLab config file (mmcv 1.x, mmengine, mmengine's pure-Python style) as data, without executing it."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsched.checks import short
from jaxsched.ports.openmmlab.config._script import ConfigDict, ConfigScript, assigns_base
from jaxsched.ports.shared import (
    LARGEST_FILE,
    LARGEST_TOTAL,
    MOST_FILES,
    Budget,
    File,
    Function,
    Imported,
    SourceError,
    Unknown,
    parse_python,
)
from jaxsched.recipe import caution

MAX_BYTES = LARGEST_FILE // 2
"""Most bytes in a file: evaluating Python takes twice as long as parsing YAML."""

ENVIRONMENT = re.compile(r"\{\{['\"]?\s*\$(\w+)\s*:\s*([^\s{}'\"]+)\s*['\"]?\}\}")


def read_config(
    path: str | os.PathLike[str],
    *,
    packages: Mapping[str, str | os.PathLike[str]] | None = None,
    root: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    text: str | None = None,
    notes: list[str] | None = None,
) -> dict[str, Any]:
    """The config that ``path`` and its ``_base_`` files make, as plain dicts, lists, tuples, numbers and strings.

    The files are parsed with Python's ``ast`` and evaluated here: nothing in them is executed and nothing is imported.
    Bases are merged as mmcv 1.7.2 and mmengine 0.10.7 do. An imported class stands as its name (``type=LinearLR`` gives
    ``"LinearLR"``). A value that only running the file could give is an ``Unknown``, which ``require`` turns into an
    error where it is needed. The ``_scope_`` that mmengine adds to dicts from another package is not added.

    Args:
        path: a ``.py`` config.
        packages: where ``package::path`` bases and ``from package.configs... import`` lie: for each package name its
            folder, or the folder of its configs.
        root: bases must lie in this folder or in one of ``packages``. Default: the outermost folder around ``path``
            that holds a folder ``_base_``, else the folder of ``path``.
        environment: values for ``{{$NAME:default}}``; the default is taken for what is not in it. The process's own
            environment is not looked at: pass ``os.environ`` if that is meant.
        text: the content of the file at ``path``, if it was read already.
        notes: a list to which a caution is added for each key that a dict of the files gives twice.

    Raises:
        SourceError: a ValueError with ``file`` and ``line``: a file that is missing, is not Python, is too large or too
            much work (a bomb), inherits from itself or from outside the given folders, or merges what cannot be merged.
    """
    reading = Reading(Path(path), packages or {}, root, environment or {}, text)
    try:
        values = reading.merged(reading.start)
        if notes is not None:
            notes += reading.notes
        return reading.budget.copy(values, str(path), lambda leaf: _plain(leaf, str(path)))
    except SourceError as error:
        raise error if error.file else SourceError(str(error), str(path)) from None
    except (RecursionError, MemoryError):
        raise SourceError("nested too deeply", str(path)) from None


def _plain(leaf: Any, file: str) -> Any:
    if isinstance(leaf, Imported):
        return leaf.name
    if isinstance(leaf, Function):
        return Unknown(leaf.node.lineno, leaf.node.name, "it is code of the file", leaf.file)
    if leaf is None or isinstance(leaf, (bool, int, float, str, bytes, Unknown)):
        return leaf
    raise SourceError(f"a config cannot hold a {type(leaf).__name__}", file)


class Reading:
    """One call of ``read_config``: the allowed folders, the files being read, the remaining budget."""

    def __init__(
        self,
        path: Path,
        packages: Mapping[str, str | os.PathLike[str]],
        root: str | os.PathLike[str] | None,
        environment: Mapping[str, str],
        text: str | None = None,
    ):
        self.start = Path(os.path.abspath(path.expanduser()))
        self.start_text = text
        self.packages = {name: Path(folder).resolve() for name, folder in packages.items()}
        self.root = Path(root).resolve() if root is not None else tree_root(self.start)
        self.environment = environment
        self.budget = Budget()
        self.files = self.characters = 0
        self.notes: list[str] = []
        self.open: list[Path] = []  # the chain of files that inherit from one another

    def merged(self, path: Path) -> dict[str, Any]:
        """The file after ``_base_`` inheritance."""
        names, base = self.names(path)
        copy = self.budget.copy
        values = merge(copy(names, str(path)), copy(base, str(path)), str(path))
        return {name: value for name, value in values.items() if not name.startswith("__")}

    def names(self, path: Path, imports: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the statements of the file bind, and the joined bases as they left them."""
        file = str(path)
        if path.resolve() in self.open:
            cycle = " -> ".join(step.name for step in (*self.open, path))
            raise SourceError(f"the config inherits from itself: {cycle}", file)
        self.open.append(path.resolve())
        try:
            body = parse_python(File(path, self.text(path))).body
            base = self.joined(body, path)
            script = ConfigScript(self.budget, file, base, lambda node: self.module(node, path))
            script.read(body)
        finally:
            self.open.pop()
        for line, key in script.repeated:
            text = f"{file}:{line}: a dict gives the key {short(key)} twice; the last counts, as in Python"
            self.notes.append(caution("repeated-key", text))
        if script.names.get("_base_") is not base:
            raise SourceError("`_base_` must be assigned once, at the top level, to a path or a list of paths", file)
        results = script.results()
        if imports:
            results |= {name: value for name, value in script.names.items() if isinstance(value, Imported)}
        changed = self.budget.current(base)
        return results, dict.fromkeys(base, changed) if isinstance(changed, Unknown) else base

    def text(self, path: Path) -> str:
        file = str(path)
        self.files += 1
        if self.start_text is not None and path == self.start:
            return self.substituted(self.start_text, path)
        if self.files > MOST_FILES:
            raise SourceError(f"more than {MOST_FILES} files are inherited from", file)
        if path.suffix != ".py":
            raise SourceError(f"a config is a .py file, not {path.suffix or 'a file without suffix'}", file)
        try:
            text = File.read(path, MAX_BYTES).text
        except (OSError, ValueError) as error:
            raise SourceError(str(error), file) from None
        self.characters += len(text)
        if self.characters > LARGEST_TOTAL:
            raise SourceError(f"the files that it inherits from have more than {LARGEST_TOTAL} bytes together", file)
        return self.substituted(text, path)

    def substituted(self, text: str, path: Path) -> str:
        """The text with ``{{ fileDirname }}`` and its like, and ``{{$NAME:default}}``, written out."""
        predefined = {
            "fileDirname": str(path.parent),
            "fileBasename": path.name,
            "fileBasenameNoExtension": path.stem,
            "fileExtname": path.suffix,
        }
        for name, value in predefined.items():
            literal = value.replace("\\", "/")  # which re.sub then takes as it stands
            text = re.sub(r"\{\{\s*" + name + r"\s*\}\}", literal, text)
        return ENVIRONMENT.sub(lambda match: self.environment.get(match[1], match[2]), text)

    # Bases

    def joined(self, body: list[ast.stmt], path: Path) -> ConfigDict:
        """The merged bases in one dict; no two may give the same name."""
        node = next((statement for statement in body if assigns_base(statement)), None)
        if node is None:
            return ConfigDict()
        script = ConfigScript(self.budget, str(path), ConfigDict(), lambda _: {})
        script.run(body[: body.index(node)])  # mmcv 1.x runs the file, so a name from above may stand in it
        paths = script.value(node.value)
        paths = paths if isinstance(paths, list) else [paths]
        if not all(isinstance(name, str) for name in paths):
            raise SourceError("`_base_` must be a path or a list of paths", str(path), node.lineno)
        joined: dict[str, Any] = {}
        for name in paths:
            values = self.merged(self.base_path(name, path, node.lineno))
            twice = sorted(joined.keys() & values.keys())
            if twice:
                raise SourceError(f"more than one base gives {', '.join(map(repr, twice))}", str(path), node.lineno)
            joined.update(values)
        base: ConfigDict = ConfigDict.adopted(joined, self.budget)
        return base

    def base_path(self, name: str, path: Path, line: int) -> Path:
        package, separator, inside = name.partition("::")
        if not separator:
            return self.permitted(path.parent / name, name, path, line)
        folder = self.package_folder(package, name, path, line)
        if not inside.endswith(".py"):
            inside += ".py"
        found = [folder / part / inside for part in (".mim/configs", "configs", ".")]
        return self.permitted(next(filter(_exists, found), found[0]), name, path, line)

    def package_folder(self, package: str, name: str, path: Path, line: int) -> Path:
        if package in self.packages:
            return self.packages[package]
        raise SourceError(
            f"{name!r} lies in the package {package!r}: give its folder, packages={{{package!r}: folder}} "
            f"(--package {package}=FOLDER)",
            str(path),
            line,
        )

    def permitted(self, base: Path, name: str, path: Path, line: int) -> Path:
        base = Path(os.path.normpath(base))
        try:
            real = base.resolve()
        except (OSError, ValueError, RuntimeError):
            raise SourceError(f"the base {name!r} is not a path", str(path), line) from None
        if not any(real.is_relative_to(folder) for folder in (self.root, *self.packages.values())):
            raise SourceError(
                f"the base {name!r} lies outside {self.root}: pass root= (--root) if that is meant",
                str(path),
                line,
            )
        if not _exists(base):
            raise SourceError(f"the base {name!r} does not exist", str(path), line)
        return base

    def module(self, node: ast.ImportFrom, path: Path) -> dict[str, Any]:
        """The names of the file that ``with read_base():`` imports from."""
        name = "." * node.level + (node.module or "")
        parts = (node.module or "").split(".")
        if not node.module or not all(parts):
            raise SourceError(f"`from {name} import` names no config file", str(path), node.lineno)
        if node.level:
            folder = path.parent.joinpath(*[".."] * (node.level - 1))
            found = [folder.joinpath(*parts).with_suffix(".py")]
        else:
            folder = self.package_folder(parts[0], name, path, node.lineno)
            inside = parts[2:] if parts[1:2] == ["configs"] else parts[1:]
            found = [folder.joinpath(*way).with_suffix(".py") for way in (parts[1:], inside)]
        base = self.permitted(next(filter(_exists, found), found[0]), name, path, node.lineno)
        names, _ = self.names(base, imports=True)
        return {name: ConfigDict.adopted(value, self.budget) for name, value in names.items()}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def tree_root(path: Path) -> Path:
    """The outermost folder around ``path`` that holds a folder ``_base_``; without one the folder of ``path``."""
    folders = [folder for folder in path.resolve().parents if (folder / "_base_").is_dir()]
    return folders[-1] if folders else path.resolve().parent


def merge(child: dict[str, Any], base: dict[str, Any], file: str, where: str = "") -> dict[str, Any]:
    """``child`` over ``base``, as ``_base_`` inheritance does.

    Dicts merge recursively; anything else replaces what the base has. ``_delete_=True`` in a dict drops the base's,
    and is consumed only there. A dict over something unreadable is unreadable: what it adds to is not known.
    """
    result = dict(base)
    for name, value in child.items():
        if not isinstance(value, dict):
            result[name] = value
            continue
        if name not in result:
            result[name] = value
            continue
        value = dict(value)
        delete = value.pop("_delete_", False)
        if isinstance(delete, Unknown):
            result[name] = delete
        elif delete:
            result[name] = value
        elif isinstance(result[name], dict):
            result[name] = merge(value, result[name], file, f"{where}{name}.")
        elif not isinstance(result[name], Unknown):
            raise SourceError(
                f"{where}{name} is a dict here but {type(result[name]).__name__} in the base: "
                "write _delete_=True in it to drop the base's",
                file,
            )
    return result
