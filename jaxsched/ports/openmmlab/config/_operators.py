"""Operators of a config's expressions, on values whose size stays bounded."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from jaxsched.ports.openmmlab.config._calls import SCALARS, CannotTell, elements, number, scalar
from jaxsched.ports.openmmlab.config._values import MAX_BITS, MAX_LENGTH

COMPARISONS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ARITHMETIC: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
}


def unary(op: ast.unaryop, value: Any) -> Any:
    if isinstance(op, ast.Not):
        return not value
    if not isinstance(op, ast.USub | ast.UAdd):
        raise CannotTell(f"{type(op).__name__} is not supported")
    return -number(value) if isinstance(op, ast.USub) else +number(value)


def arithmetic(op: ast.operator, left: Any, right: Any) -> Any:
    """``left <op> right`` on numbers, or ``+`` and ``*`` on sequences, of bounded size."""
    kind = type(op)
    if kind not in ARITHMETIC:
        raise CannotTell(f"{kind.__name__} is not supported")
    if not (isinstance(left, int | float) and isinstance(right, int | float)):
        _check_length(kind, left, right)
    elif isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if kind is ast.Pow else left.bit_length() + right if kind is ast.LShift else 0
        if bits > MAX_BITS:
            raise CannotTell(f"an integer of more than {MAX_BITS} bits")
    result = ARITHMETIC[kind](left, right)
    if isinstance(result, complex) or (isinstance(result, int) and result.bit_length() > MAX_BITS):
        raise CannotTell(f"a complex number, or an integer of more than {MAX_BITS} bits")
    return result


def _check_length(kind: type, left: Any, right: Any) -> None:
    if kind is ast.Mult and isinstance(right, str | list | tuple):
        left, right = right, left
    if kind is ast.Mult and isinstance(left, str | list | tuple) and isinstance(right, int):
        length = len(left) * max(right, 0)
    elif kind is ast.Add and type(left) is type(right) and isinstance(left, str | list | tuple):
        length = len(left) + len(right)
    else:
        raise CannotTell(f"{kind.__name__} of {type(left).__name__} and {type(right).__name__}")
    if length > MAX_LENGTH:
        raise CannotTell(f"{length} elements are more than {MAX_LENGTH}")


def compare(op: ast.cmpop, left: Any, right: Any) -> bool:
    """``left <op> right`` of plain values: comparing nested ones can take exponential time."""
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(right, str | dict | range):
            right = [value for value in elements(right) if isinstance(value, SCALARS)]
        return (scalar(left) in right) is isinstance(op, ast.In)
    if isinstance(op, ast.Is | ast.IsNot):
        if left is not None and right is not None:
            raise CannotTell("`is` is only supported with None")
        return (left is right) is isinstance(op, ast.Is)
    if left is None or right is None:
        return COMPARISONS[type(op)](left, right)
    return COMPARISONS[type(op)](scalar(left), scalar(right))
