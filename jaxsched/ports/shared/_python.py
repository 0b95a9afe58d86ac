"""Files of Python as data: the syntax tree, what is not known of it, and the limits. Nothing is executed."""

from __future__ import annotations

import ast
import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

from jaxsched.checks import one_line
from jaxsched.ports.shared._files import File

MAX_DEPTH = 100  # nesting of expressions and of values
MAX_WORK = 300_000  # evaluated nodes plus elements made; the largest of MMDetection's configs needs 11 % of it
MAX_LENGTH = 100_000  # characters or elements of one value
MAX_BITS = 4096  # of one integer

_CONTAINERS = (dict, list, tuple, range)  # a union in place of a tuple is made anew at each call


class SourceError(ValueError):
    """A file of Python that cannot be read; the message begins with the file and the line."""

    def __init__(self, message: str, file: str = "", line: int | None = None):
        self.file, self.line = file, line
        place = f"{file}:{line}: " if line else f"{file}: " if file else ""
        super().__init__(place + one_line(message, 400))


@dataclasses.dataclass(frozen=True)
class Unknown:
    """A value that only running the file could give.

    Attributes:
        line: Where it is.
        source: The expression.
        reason: Why it is not known.
        file: The file.
        may_be_absent: Whether the key that has it may not be there at all.
    """

    line: int
    source: str
    reason: str = ""
    file: str = ""
    may_be_absent: bool = False


def parse_python(file: File) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        ValueError: If it is not Python, or nested too deeply.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in the file's strings
            tree = ast.parse(file.text)
            compile(tree, file.name, "exec", dont_inherit=True)  # which finds a keyword given twice, a return outside
    except SyntaxError as error:
        raise SourceError(f"it is not Python: {error.msg}", file.name, error.lineno) from None
    except (ValueError, RecursionError, MemoryError):
        raise SourceError("it is not Python, or nested too deeply", file.name) from None
    return tree


def source_of(node: ast.AST) -> str:
    """The source of a node in one line, shortened."""
    try:
        return one_line(ast.unparse(node), 80)
    except RecursionError:
        return type(node).__name__


@dataclasses.dataclass
class Budget:
    """Bounds the work of one reading, whatever its files say, and remembers which of its values are not known any more.

    Attributes:
        left: The steps that are left: one for each evaluated node and each element made.
        changed: The lists and dicts that code which is not run could have changed, by identity, and where.
    """

    left: int = MAX_WORK
    changed: dict[int, tuple[Any, Unknown]] = dataclasses.field(default_factory=dict)

    def spend(self, amount: int, file: str = "", line: int | None = None) -> None:
        self.left -= amount
        if self.left < 0:
            raise SourceError(f"reading takes more than {MAX_WORK} steps, which no usual config does", file, line)

    def current(self, value: Any) -> Any:
        """``value``, or the `Unknown` that it became."""
        return self.changed[id(value)][1] if self.changed and id(value) in self.changed else value

    def copy(self, value: Any, file: str = "", leaf: Callable[[Any], Any] = lambda leaf: leaf) -> Any:
        """A copy of ``value`` in which no container is shared, and none is of a kind of its own.

        A value nested in itself, or a small one that spells out to a huge tree, is an error.

        Args:
            value: The value.
            file: The file to name in errors.
            leaf: Maps whatever is not a container.
        """
        changed = self.changed

        def copied(value: Any, depth: int) -> Any:
            self.spend(1, file)
            if not isinstance(value, _CONTAINERS):
                return leaf(value)
            if depth > MAX_DEPTH:
                raise SourceError(f"a value is nested deeper than {MAX_DEPTH} levels", file)
            if changed and id(value) in changed:
                return changed[id(value)][1]
            if isinstance(value, dict):
                return {key: copied(child, depth + 1) for key, child in value.items()}
            children = [copied(child, depth + 1) for child in value]
            return tuple(children) if isinstance(value, tuple) else children

        return copied(value, 0)
