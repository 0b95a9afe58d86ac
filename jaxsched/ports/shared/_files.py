"""Reading files of settings, bounded in size and number. Their content is data and is never executed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from jaxsched.checks import one_line, short
from jaxsched.ports.shared._archives import MAGIC, settings_text
from jaxsched.ports.shared._yaml import MOST_DIGITS, parse_yaml

LARGEST_FILE = 2**20
"""Most bytes in a file. Settings are parsed in Python, at about a megabyte per second."""
LARGEST_TOTAL = 2 * LARGEST_FILE
"""Most bytes in all files of one recipe together."""
MOST_FILES = 200
"""Most files of one recipe."""
STANDARD_INPUT = Path("-")
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_YAML = re.compile(r"[A-Za-z_]\w*:\s")
"""How YAML begins in a file that is called .json, as yacs writes it (Swin-Transformer's ``config.json``)."""


@dataclasses.dataclass(frozen=True)
class File:
    """A file of settings and its content.

    Attributes:
        path: Where it is; ``-`` for standard input.
        text: Its content.
    """

    path: Path
    text: str

    @staticmethod
    def read(path: str | os.PathLike[str], largest: int = LARGEST_FILE) -> File:
        """The file at a path; ``-`` is standard input. Of an archive (``training_args.bin``, a ``.keras`` model) the
        text is the JSON of the settings in it.

        Args:
            path: The path.
            largest: Most bytes that it may have.

        Raises:
            OSError: If it cannot be opened.
            ValueError: If it is not a regular file, too large or not UTF-8.
        """
        path = Path(path)
        if path == STANDARD_INPUT:
            return File(path, _decoded("standard input", sys.stdin.buffer.read(largest + 1), largest))
        name = one_line(str(path), 200)
        path, stream = opened(path)
        with stream:
            if stream.read(len(MAGIC)) == MAGIC:
                try:
                    return File(path, settings_text(stream, min(largest, LARGEST_FILE)))
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from None
            stream.seek(0)
            return File(path, _decoded(name, stream.read(largest + 1), largest))

    @property
    def name(self) -> str:
        """Its name in errors."""
        return "standard input" if self.path == STANDARD_INPUT else one_line(str(self.path), 200)

    @functools.cached_property
    def content(self) -> dict[str, Any]:
        """Its names and values, parsed as JSON or YAML.

        Raises:
            ImportError: If PyYAML is needed and not installed.
            ValueError: If it is neither, has a name twice, or holds something other than names and values.
        """
        if len(self.text) > LARGEST_FILE:
            raise ValueError(f"{self.name} has more than {LARGEST_FILE} bytes, which no file of settings has")
        text = self.text.lstrip("\ufeff \t\r\n")
        is_json = self.path.suffix == ".json" and not _YAML.match(text)
        if is_json or text.startswith("{"):
            try:
                return _mapping(self.name, _parse_json(self.text))
            except RecursionError:
                raise ValueError(f"{self.name} is not valid JSON: it is nested too deeply") from None
            except json.JSONDecodeError as error:
                if is_json:
                    raise ValueError(f"{self.name} is not valid JSON: {error}") from None
            except ValueError as error:
                raise ValueError(f"{self.name} is not valid JSON: {error}") from None
        try:
            content = parse_yaml(self.text)
        except ValueError as error:
            raise ValueError(f"{self.name} is not valid YAML: {error}") from None
        return _mapping(self.name, content)

    @functools.cached_property
    def mapping(self) -> dict[str, Any]:
        """`content`, or an empty dict if it cannot be parsed: for recognising the kind of the file."""
        try:
            return self.content
        except (ImportError, ValueError):
            return {}

    @property
    def names(self) -> set[str]:
        """The names at the top of `mapping`."""
        return {name for name in self.mapping if isinstance(name, str)}


def opened(path: Path) -> tuple[Path, BinaryIO]:
    """A regular file, opened without waiting for another program to write it; and its path with ``~`` expanded.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is not a regular file.
    """
    with contextlib.suppress(RuntimeError):  # ~ of a user who is not there
        path = path.expanduser()
    name = one_line(str(path), 200)
    try:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # do not wait for a FIFO
    except ValueError:  # a NUL in the path
        raise ValueError(f"{name} is not a path") from None
    _check_regular(number, name)
    return path, os.fdopen(number, "rb")


def configs_root(path: Path) -> Path:
    """The outermost folder around ``path`` that holds a folder ``configs``; without one the folder above its own."""
    folders = path.resolve().parents
    holding = [folder for folder in folders[:-1] if (folder / "configs").is_dir()]
    return holding[-1] if holding else folders[min(1, max(len(folders) - 2, 0))]


def in_time(path: Path) -> list[tuple[str, int]]:
    """A key that sorts names by the numbers in them: ``checkpoint-900`` before ``checkpoint-1000``."""
    return [(words, int(digits)) for words, digits in re.findall(r"(\D*)(\d{1,18})", str(path))]


class Files:
    """The files that one recipe is read from, with bounds on their number, total size and location.

    Args:
        root: The folder that they must be in.
        endings: What their names end in.
    """

    def __init__(self, root: Path, endings: tuple[str, ...]):
        self.root, self.endings = root.resolve(), endings
        self.count = self.total = 0
        self.open: list[Path] = []

    @contextlib.contextmanager
    def following(self, file: File) -> Iterator[None]:
        """Context in which the base files of ``file`` are read: counts it, and detects circular bases.

        Raises:
            ValueError: If it is based on itself, or a bound is exceeded.
        """
        here = file.path.resolve()
        if here in self.open:
            circle = " -> ".join(path.name for path in (*self.open, here))
            raise ValueError(f"{self.open[0]} is based on itself: {one_line(circle, 200)}")
        self.count, self.total = self.count + 1, self.total + len(file.text)
        first = (self.open or [here])[0]
        if self.count > MOST_FILES:
            raise ValueError(f"{first} is based on more than {MOST_FILES} files")
        if self.total > LARGEST_TOTAL:
            raise ValueError(f"{first} is based on files of more than {LARGEST_TOTAL} bytes together")
        self.open.append(here)
        try:
            yield
        finally:
            self.open.pop()

    def base(self, name: Any, of: File) -> File:
        """Read a base file that ``of`` names.

        Raises:
            OSError: If it cannot be opened.
            ValueError: If it lies outside the root, its name has another ending, or as `File.read`.
        """
        if not isinstance(name, str) or "://" in name:
            raise ValueError(f"{of.name} must name files that it is based on, got {short(name)}")
        if of.path == STANDARD_INPUT:
            raise ValueError(
                f"standard input is based on {short(name)}, and has no folder to find it in: give the file"
            )
        if not name.endswith(self.endings):
            raise ValueError(f"{of.name} is based on {short(name)}, whose name must end in {' or '.join(self.endings)}")
        try:
            path = Path(os.path.normpath(of.path.resolve().parent / name))
            inside = path.resolve().is_relative_to(self.root)
        except (OSError, RuntimeError, ValueError):
            raise ValueError(f"{of.name} is based on {short(name)}, which is not a path") from None
        if not inside:
            raise ValueError(
                f"{of.name} is based on {short(name)}, which lies outside {self.root}: give root=, the folder that may "
                "be read from, if that is meant"
            )
        return File.read(path)


def read(source: File | str | os.PathLike[str] | Mapping[str, Any], name: str = "args") -> tuple[str, dict[str, Any]]:
    """Settings and their name in errors: a dict under ``name``, or those of a file under its path.

    Raises:
        OSError, ValueError: As `File.read` and `File.content`.
        TypeError: If it is neither a path nor a dict.
    """
    given = file_or_dict(source)
    return (given.name, dict(given.content)) if isinstance(given, File) else (name, given)


def file_or_dict(source: Any, kind: str = "a file") -> File | dict[str, Any]:
    """A file, the one at a path, or a copy of a mapping; ``kind`` is what the error of anything else names.

    Raises:
        OSError, ValueError: As `File.read`.
        TypeError: If it is neither a path nor a dict.
    """
    if isinstance(source, Mapping):
        return dict(source)
    if isinstance(source, str | os.PathLike):
        return File.read(source)
    if not isinstance(source, File):
        raise TypeError(f"expected the path to {kind} or a dict, got {short(source)}")
    return source


def _check_regular(opened: int, name: str) -> None:
    mode = os.fstat(opened).st_mode
    if not stat.S_ISREG(mode):
        os.close(opened)
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file; pipe its content, and give - as its name"
        raise ValueError(f"{name} is {kind}")


def _decoded(name: str, content: bytes, largest: int) -> str:
    if content.startswith(_LFS_POINTER):
        raise ValueError(f"{name} is a pointer of Git LFS, not the file: get the file with git lfs pull")
    if len(content) > largest:
        raise ValueError(f"{name} has more than {largest} bytes, which no file of settings has")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once, parse_int=_bounded_int)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"the name {short(name)} appears twice")
        result[name] = value
    return result


def _bounded_int(digits: str) -> float:
    return int(digits) if len(digits) <= MOST_DIGITS else float("-inf" if digits.startswith("-") else "inf")


def _mapping(name: str, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"{name} must hold names and values, got {short(content)}")
    if content.keys() & {"wandb_version", "_wandb"}:  # the config.yaml of Weights & Biases
        values = {key: item.get("value") for key, item in content.items() if isinstance(item, dict)}
        return {key: value for key, value in values.items() if key != "_wandb"}
    return content
