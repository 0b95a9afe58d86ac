"""The error, the marker for unknown values, and the limits of reading a config file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jaxsched.checks import one_line

MAX_DEPTH = 100  # nesting of expressions and of values
MAX_WORK = 300_000  # evaluated nodes plus elements made; the largest of MMDetection's configs needs 11 % of it
MAX_LENGTH = 100_000  # characters or elements of one value
MAX_BITS = 4096  # of one integer


class ConfigError(ValueError):
    """A config file that cannot be read; the message begins with the file and the line."""

    def __init__(self, message: str, file: str, line: int | None = None):
        self.file, self.line = file, line
        message = one_line(message, 400)
        super().__init__(f"{file}:{line}: {message}" if line else f"{file}: {message}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (str(self), self.file, self.line)


def _restore(text: str, file: str, line: int | None) -> ConfigError:
    error = ConfigError("", file, line)
    error.args = (text,)
    return error


@dataclass(frozen=True)
class Unreadable:
    """A value that only executing the file could give; an error only if something needs it (see ``require``)."""

    file: str
    line: int
    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: cannot evaluate `{self.source}` without running it: {self.reason}"


def require(value: Any, where: str) -> Any:
    """``value``, if all of it is known; else raises a ConfigError that names ``where`` and the source line.

    >>> require([1, 2], "lr_config.step")
    [1, 2]
    >>> require(Unreadable("a.py", 3, "steps()", "`steps` is not a known function"), "lr_config.step")
    Traceback (most recent call last):
    jaxsched.ports.openmmlab.config._values.ConfigError: a.py:3: lr_config.step needs `steps()`, which cannot be \
evaluated without running the file: `steps` is not a known function. Write the value out.
    """
    unknown = first_unreadable(value)
    if unknown is not None:
        raise ConfigError(
            f"{where} needs `{unknown.source}`, which cannot be evaluated without running the file: "
            f"{unknown.reason}. Write the value out.",
            unknown.file,
            unknown.line,
        )
    return value


def first_unreadable(value: Any) -> Unreadable | None:
    """The first marker found in a tree of dicts and sequences."""
    if isinstance(value, Unreadable):
        return value
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple, set, frozenset)):
        return None
    return next((found for child in value if (found := first_unreadable(child)) is not None), None)


@dataclass(frozen=True)
class Imported:
    """A name that the file imports: a class to name as a ``type``, or a module to take one from."""

    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


class Inherited(dict):
    """A dict that came out of a base file, as mmengine's ConfigDict: its keys are attributes too, ``update`` merges
    recursively, and a plain dict put into it is copied."""


def inherit(value: Any) -> Any:
    """``value`` as it is once put into an inherited dict: plain dicts and sequences in it become copies."""
    if type(value) is dict:
        return Inherited({key: inherit(child) for key, child in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)(inherit(child) for child in value)
    return value


@dataclass
class Budget:
    """Bounds the work of one reading, whatever its files say."""

    left: int = MAX_WORK
    files: int = field(default=0)
    characters: int = field(default=0)

    def spend(self, amount: int, file: str, line: int | None = None) -> None:
        self.left -= amount
        if self.left < 0:
            raise ConfigError(f"reading takes more than {MAX_WORK} steps, which no usual config does", file, line)

    def tree(
        self,
        value: Any,
        file: str,
        mapping: type[dict] = dict,
        leaf: Callable[[Any], Any] = lambda leaf: leaf,
    ) -> Any:
        """A copy of ``value`` in which no container is shared, each dict a ``mapping`` and each leaf mapped.

        A value nested in itself, or a small one that spells out to a huge tree, is an error here.
        """

        def copy(value: Any, depth: int) -> Any:
            self.spend(1, file)
            if depth > MAX_DEPTH:
                raise ConfigError(f"a value is nested deeper than {MAX_DEPTH} levels", file)
            if isinstance(value, dict):
                return mapping({key: copy(child, depth + 1) for key, child in value.items()})
            if isinstance(value, (list, tuple, set)):
                return type(value)([copy(child, depth + 1) for child in value])
            if isinstance(value, range):
                return copy(list(self.sized(value, file)), depth)
            return leaf(value)

        return copy(value, 0)

    def sized(self, value: Any, file: str, line: int | None = None) -> Any:
        """``value``, after its length is charged to the budget."""
        self.spend(len(value), file, line)
        return value
