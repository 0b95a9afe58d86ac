"""Operators on plain data whose size stays bounded."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jaxsched.ports.shared._python import MAX_BITS, MAX_LENGTH, Unknown

SCALARS = (bool, int, float, str, bytes, type(None))
SEQUENCES = (str, list, tuple)

_ARITHMETIC: Mapping[type, Callable[[Any, Any], Any]] = {
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
_COMPARISONS: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_UNARY: Mapping[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_}


class Unclear(Exception):
    """Raised where evaluation stops, with the `Unknown` that it stops at or a reason."""

    def __init__(self, why: Unknown | str):
        super().__init__(why)
        self.why = why


ERRORS = (Unclear, TypeError, ValueError, LookupError, ArithmeticError)
"""What evaluating an expression may raise; all but the first in Python too."""


def certain(value: Any) -> Any:
    """``value``, unless it is an `Unknown`."""
    if isinstance(value, Unknown):
        raise Unclear(value)
    return value


def whole(value: Any) -> Any:
    """``value``, unless it is a dict of which not all keys are known."""
    if isinstance(value, dict):
        held = (item for item in value.values() if isinstance(item, Unknown) and item.may_be_absent)
        if why := getattr(value, "unsure", None) or next(held, None):
            raise Unclear(why)
    return value


def scalar(value: Any) -> Any:
    if not isinstance(value, SCALARS):
        raise Unclear(f"a {type(value).__name__} is not a plain number or string")
    return value


def number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise Unclear(f"a {type(value).__name__} is not a number")
    return value


def elements(values: Any) -> list:
    if not isinstance(values, (*SEQUENCES, dict, range)):
        raise Unclear(f"a {type(values).__name__} is not iterated over")
    check_length(len(whole(values)))
    return list(values)


def key(value: Any) -> Any:
    """A dict key: hashing a nested tuple can take exponential time."""
    return tuple(scalar(part) for part in value) if isinstance(value, tuple) else scalar(value)


def unpacked(target: ast.expr, value: Any) -> Iterator[tuple[ast.expr, Any]]:
    """The targets of an assignment to several, each with its value."""
    if not isinstance(target, ast.Tuple | ast.List):
        raise Unclear(f"assigning to {type(target).__name__} is not supported")
    parts = elements(certain(value))
    if len(parts) != len(target.elts) or any(isinstance(part, ast.Starred) for part in target.elts):
        raise Unclear(f"cannot unpack {len(parts)} values into {len(target.elts)} names")
    return zip(target.elts, parts, strict=True)


def unary(op: ast.unaryop, value: Any) -> Any:
    if type(op) not in _UNARY:
        raise Unclear(f"{type(op).__name__} is not supported")
    return _UNARY[type(op)](value if isinstance(op, ast.Not) else number(value))


def arithmetic(op: ast.operator, left: Any, right: Any) -> Any:
    """``left <op> right`` on numbers, or ``+`` and ``*`` on sequences, of bounded size."""
    kind = type(op)
    if kind not in _ARITHMETIC:
        raise Unclear(f"{kind.__name__} is not supported")
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if kind is ast.Pow else left.bit_length() + right if kind is ast.LShift else 0
        if bits > MAX_BITS:
            raise Unclear(f"an integer of more than {MAX_BITS} bits")
    elif not (isinstance(left, int | float) and isinstance(right, int | float)):
        several, other = (right, left) if isinstance(left, int) else (left, right)
        if kind is ast.Mult and isinstance(several, SEQUENCES) and isinstance(other, int):
            check_length(len(several) * max(other, 0))
        elif kind is not ast.Add or type(left) is not type(right) or not isinstance(left, SEQUENCES):
            raise Unclear(f"{kind.__name__} of {type(left).__name__} and {type(right).__name__}")
    return _ARITHMETIC[kind](left, right)


def compare(op: ast.cmpop, left: Any, right: Any) -> bool:
    """``left <op> right`` of plain values: comparing nested ones can take exponential time."""
    if isinstance(op, ast.Is | ast.IsNot):
        if left is not None and right is not None:
            raise Unclear("`is` is only supported with None")
        return (left is right) is isinstance(op, ast.Is)
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(whole(right), str | dict | range):
            right = [value for value in elements(right) if isinstance(value, SCALARS)]
        return _COMPARISONS[type(op)](scalar(left), right)
    if left is not None and right is not None:
        scalar(left), scalar(right)
    return _COMPARISONS[type(op)](left, right)


def check_length(length: int) -> None:
    if length > MAX_LENGTH:
        raise Unclear(f"{length} elements are more than {MAX_LENGTH}")
