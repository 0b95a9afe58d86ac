"""Operators of a config's expressions, on values whose size stays bounded."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from jaxsched.ports.openmmlab.config._calls import SCALARS, CannotTell, elements, scalar
from jaxsched.ports.openmmlab.config._values import MAX_BITS, MAX_LENGTH

COMPARISONS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
UNARY: Mapping[type, Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
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
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}


def arithmetic(kind: type, left: Any, right: Any) -> Any:
    """``left <op> right`` on numbers, or ``+`` and ``*`` on sequences, of bounded size."""
    numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
    if not numbers:
        return _on_sequences(kind, left, right)
    if isinstance(left, int) and isinstance(right, int):
        if kind is ast.Pow and right > 0 and left.bit_length() * right > MAX_BITS:
            raise CannotTell(f"an integer of more than {MAX_BITS} bits")
        if kind is ast.LShift and left.bit_length() + right > MAX_BITS:
            raise CannotTell(f"an integer of more than {MAX_BITS} bits")
    result = ARITHMETIC[kind](left, right)
    if isinstance(result, int) and result.bit_length() > MAX_BITS:
        raise CannotTell(f"an integer of more than {MAX_BITS} bits")
    if isinstance(result, complex):
        raise CannotTell("a complex number")
    return result


def _on_sequences(kind: type, left: Any, right: Any) -> Any:
    if kind is ast.Mult and isinstance(right, (str, list, tuple)):
        left, right = right, left
    if kind is ast.Mult and isinstance(left, (str, list, tuple)) and isinstance(right, int):
        length = len(left) * max(right, 0)
    elif kind is ast.Add and type(left) is type(right) and isinstance(left, (str, list, tuple)):
        length = len(left) + len(right)
    else:
        raise CannotTell(f"{kind.__name__} of {type(left).__name__} and {type(right).__name__}")
    if length > MAX_LENGTH:
        raise CannotTell(f"{length} elements are more than {MAX_LENGTH}")
    return ARITHMETIC[kind](left, right)


def compare(op: ast.cmpop, left: Any, right: Any) -> bool:
    """``left <op> right`` of plain values: comparing nested ones can take exponential time."""
    if isinstance(op, (ast.In, ast.NotIn)):
        if not isinstance(right, (str, dict, set, range)):
            right = [value for value in elements(right) if isinstance(value, SCALARS)]
        return (scalar(left) in right) is isinstance(op, ast.In)
    if isinstance(op, (ast.Is, ast.IsNot)) and not (left is None or right is None):
        raise CannotTell("`is` is only supported with None")
    if left is not None and right is not None:
        left, right = scalar(left), scalar(right)
    return COMPARISONS[type(op)](left, right)
