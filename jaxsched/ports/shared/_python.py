"""Simple expressions in Python source: numbers, strings, tuples and arithmetic. Nothing is executed."""

from __future__ import annotations

import ast
import dataclasses
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from jaxsched.checks import one_line
from jaxsched.ports.shared._files import File

_ARITHMETIC: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_LARGEST = 2.0**256
"""Numbers beyond it are not computed: a power of two of them takes minutes."""


@dataclasses.dataclass(frozen=True)
class Unknown:
    """A value that only running the file could give.

    Attributes:
        line: Where it is.
        source: The expression.
    """

    line: int
    source: str


def parse_python(file: File) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        ValueError: If it is not Python, or nested too deeply.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in the file's strings
            return ast.parse(file.text)
    except SyntaxError as error:
        raise ValueError(f"{file.name}:{error.lineno}: it is not Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError):
        raise ValueError(f"{file.name} is not Python, or nested too deeply") from None


def value_of(node: ast.expr, look_up: Callable[[ast.expr], Any]) -> Any:
    """The value of an expression, or `Unknown`.

    Args:
        node: The expression.
        look_up: From a name or an attribute to its value, or `Unknown`.

    Examples:
        >>> value_of(ast.parse("0.01 / 64.0 * n", mode="eval").body, lambda name: 32)
        0.005
        >>> value_of(ast.parse("f(3)", mode="eval").body, lambda name: 32)
        Unknown(line=1, source='f(3)')
    """
    try:
        return _evaluated(node, look_up)
    except (_Unclear, ArithmeticError, TypeError, ValueError, RecursionError):
        return Unknown(node.lineno, one_line(ast.unparse(node), 80))


class _Unclear(Exception):
    """Raised where a part of an expression is not known."""


def _evaluated(node: ast.expr, look_up: Callable[[ast.expr], Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Tuple | ast.List):
        items = [_evaluated(item, look_up) for item in node.elts]
        return tuple(items) if isinstance(node, ast.Tuple) else items
    if isinstance(node, ast.Name | ast.Attribute):
        value = look_up(node)
        if isinstance(value, Unknown):
            raise _Unclear
        return value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _number(_evaluated(node.operand, look_up))
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right = (_number(_evaluated(side, look_up)) for side in (node.left, node.right))
        if isinstance(node.op, ast.Pow) and abs(right) > 64:
            raise _Unclear
        return _number(_ARITHMETIC[type(node.op)](left, right))
    raise _Unclear


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        raise _Unclear
    return value
