"""Expressions of Python source, evaluated to plain data at a bounded cost."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from jaxsched.ports.shared._operators import (
    ERRORS,
    SCALARS,
    SEQUENCES,
    Unclear,
    arithmetic,
    certain,
    check_length,
    compare,
    elements,
    key,
    scalar,
    unary,
    unpacked,
    whole,
)
from jaxsched.ports.shared._python import MAX_BITS, MAX_DEPTH, Budget, SourceError, Unknown, source_of

_CONVERSIONS: Mapping[int, Callable[[Any], Any]] = {-1: lambda value: value, 115: str, 114: repr, 97: ascii}
_FORMAT = re.compile(r"[^\d]?[<>=^]?[-+ ]?#?0?\d{0,3},?(\.\d{1,3})?[bcdeEfFgGosxX%]?")


Scope = dict[str, Any]
"""Names and their values."""


def value_of(node: ast.expr, look_up: Callable[[ast.expr], Any]) -> Any:
    """The value of an expression without calls, or `Unknown`. Elements of a container may be `Unknown` as well.

    Args:
        node: The expression.
        look_up: From a name or an attribute to its value, or `Unknown`.

    Examples:
        >>> value_of(ast.parse("0.01 / 64.0 * n", mode="eval").body, lambda name: 32)
        0.005
        >>> value_of(ast.parse("f(3)", mode="eval").body, lambda name: 32).source
        'f(3)'
    """
    try:
        nodes = sum(1 for _ in ast.walk(node))
        value = Expressions(look_up, Budget(nodes + 200)).value(node)
    except (SourceError, RecursionError):
        value = Unknown(node.lineno, "", "it takes too much work")
    return dataclasses.replace(value, source=source_of(node)) if isinstance(value, Unknown) else value


class Expressions:
    """Evaluates expressions to plain data. A value that it cannot determine is an `Unknown`, never an exception; only
    what is beyond the limits is a `SourceError`.

    Args:
        look_up: From a name that is in no scope, or an attribute, to its value, or `Unknown`.
        budget: The work that may be done.
        file: The file to name in errors.

    Attributes:
        scopes: The names that are seen, those of the innermost comprehension last.
        repeated: The keys that a dict display gives again, with their lines.
    """

    def __init__(self, look_up: Callable[[Any], Any], budget: Budget, file: str = ""):
        self.look_up, self.budget, self.file = look_up, budget, file
        self.scopes: list[Scope] = []
        self.depth = 0
        self.repeated: list[tuple[int, Any]] = []

    def value(self, node: ast.AST) -> Any:
        """The node's value, or the `Unknown` that says why not."""
        self.spend(1, node)
        self.depth += 1
        try:
            if self.depth > MAX_DEPTH:
                self.fail(node, f"nested deeper than {MAX_DEPTH} levels")
            return self.budget.current(self.evaluated(node))
        except ERRORS as error:
            return self.lost(node, self.why(node, error))
        finally:
            self.depth -= 1

    def known(self, node: ast.AST) -> Any:
        """The node's value, which must be known."""
        return certain(self.value(node))

    def truth(self, node: ast.AST) -> bool:
        """Whether the node's value, which must be known, counts as true."""
        value = self.known(node)
        self.spend(len(value) // 16 if isinstance(value, dict) else 0, node)
        return bool(whole(value))

    def why(self, node: ast.AST, error: Exception) -> Unknown:
        """Why a node has no value, from what evaluating it raised."""
        if isinstance(error, SourceError):
            raise error if error.file else SourceError(str(error), self.file, getattr(node, "lineno", None)) from None
        reason = error.why if isinstance(error, Unclear) else f"it raises {type(error).__name__}: {error}"
        if isinstance(reason, Unknown):
            return reason
        return Unknown(getattr(node, "lineno", 1), source_of(node), reason, self.file)

    def lost(self, node: ast.AST, why: Unknown) -> Unknown:
        """Called wherever an expression has no known value."""
        del node
        return why

    def fail(self, node: ast.AST, reason: str) -> NoReturn:
        raise SourceError(reason, self.file, getattr(node, "lineno", None))

    def spend(self, amount: int, node: ast.AST) -> None:
        self.budget.spend(amount, self.file, getattr(node, "lineno", None))

    def made(self, value: Any, node: ast.AST) -> Any:
        """``value``, after its size is checked and charged to the budget."""
        if isinstance(value, complex) or (isinstance(value, int) and value.bit_length() > MAX_BITS):
            raise Unclear(f"a complex number, or an integer of more than {MAX_BITS} bits")
        if isinstance(value, (*SEQUENCES, dict, range)):
            check_length(len(value))
            self.spend(len(value) // (16 if isinstance(value, str | range) else 1), node)
        return value

    def evaluated(self, node: Any) -> Any:
        match node:
            case ast.Constant():
                if not isinstance(node.value, SCALARS):
                    raise Unclear(f"a {type(node.value).__name__}")
                return self.made(node.value, node)
            case ast.Name():
                scope = next((scope for scope in reversed(self.scopes) if node.id in scope), None)
                return scope[node.id] if scope is not None else certain(self.look_up(node))
            case ast.Attribute():
                return certain(self.look_up(node))
            case ast.List():
                return self.items(node.elts)
            case ast.Tuple():
                return tuple(self.items(node.elts))
            case ast.Dict():
                return self.paired(zip(node.keys, node.values, strict=True))
            case ast.JoinedStr():
                parts = [self.known(part) for part in node.values]
                check_length(sum(map(len, parts)))
                return self.made("".join(parts), node)
            case ast.FormattedValue():
                spec = self.known(node.format_spec) if node.format_spec else ""
                if not _FORMAT.fullmatch(spec):
                    raise Unclear(f"the format {spec[:20]!r} is not supported")
                return format(_CONVERSIONS[node.conversion](scalar(self.known(node.value))), spec)
            case ast.UnaryOp():
                operand = self.known(node.operand)
                self.spend(len(operand) // 16 if isinstance(operand, dict) else 0, node)
                return unary(node.op, whole(operand))
            case ast.BinOp():
                return self.made(arithmetic(node.op, self.known(node.left), self.known(node.right)), node)
            case ast.BoolOp():
                for operand in node.values:
                    value = self.known(operand)
                    self.spend(len(value) // 16 if isinstance(value, dict) else 0, node)
                    if bool(whole(value)) is isinstance(node.op, ast.Or):
                        break
                return value
            case ast.Compare():
                values = (self.known(part) for part in (node.left, *node.comparators))
                left = next(values)
                for op, right in zip(node.ops, values, strict=True):
                    self.spend(len(right) // 16 if isinstance(right, (*SEQUENCES, dict)) else 0, node)
                    if not compare(op, left, right):
                        return False
                    left = right
                return True
            case ast.IfExp():
                return self.value(node.body if self.truth(node.test) else node.orelse)
            case ast.Subscript():
                target, index = self.known(node.value), self.index(node.slice)
                if not isinstance(target, (*SEQUENCES, dict, range)):
                    raise Unclear(f"a {type(target).__name__} has no elements")
                return self.made(target[index], node) if isinstance(index, slice) else target[index]
            case ast.ListComp() | ast.GeneratorExp():
                return self.collected(node.generators, lambda: self.value(node.elt))
            case ast.DictComp():
                return dict(
                    self.collected(node.generators, lambda: (key(self.known(node.key)), self.value(node.value)))
                )
            case ast.Call():
                return self.called(node)
        raise Unclear(f"{type(node).__name__} is not supported")

    def called(self, node: ast.Call) -> Any:
        raise Unclear(f"calling `{source_of(node.func)}` would run code")

    def items(self, nodes: list[ast.expr]) -> list:
        values: list = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                values.extend(self.made(elements(self.known(node.value)), node))
            else:
                values.append(self.value(node))
        return values

    def paired(self, entries: Any) -> dict:
        result: dict = {}
        for name, value in entries:
            if name is None:
                result.update(self.mapping(value))
            else:
                known = key(self.known(name))
                if known in result and isinstance(name, ast.Constant):
                    self.repeated.append((name.lineno, known))
                result[known] = self.value(value)
        return result

    def mapping(self, node: ast.expr) -> dict:
        value = self.known(node)
        if not isinstance(value, dict):
            raise Unclear(f"** of a {type(value).__name__}")
        return self.made(whole(value), node)

    def index(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Slice):
            return slice(*(self.known(part) if part else None for part in (node.lower, node.upper, node.step)))
        return key(self.known(node))

    def collected(self, generators: list[ast.comprehension], element: Callable[[], Any]) -> list:
        self.scopes.append({})
        try:
            return [element() for _ in self.bindings(generators)]
        finally:
            self.scopes.pop()

    def bindings(self, generators: list[ast.comprehension]) -> Iterator[None]:
        """Runs the loops of a comprehension; its names are in the innermost scope."""
        if not generators:
            yield
            return
        first, *rest = generators
        if first.is_async:
            raise Unclear("an async comprehension")
        for value in elements(self.known(first.iter)):
            self.spend(1, first.target)
            self.bind(first.target, value)
            if all(self.truth(test) for test in first.ifs):
                yield from self.bindings(rest)

    def bind(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.scopes[-1][target.id] = value
            return
        for part, element in unpacked(target, value):
            self.bind(part, element)
