"""Expressions of a config file: from Python's syntax tree to plain data, never through Python's own evaluation."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from jaxsched.ports.openmmlab.config import _calls as calls
from jaxsched.ports.openmmlab.config._calls import CannotTell, elements, scalar
from jaxsched.ports.openmmlab.config._operators import arithmetic, compare, unary
from jaxsched.ports.openmmlab.config._values import (
    MAX_BITS,
    MAX_DEPTH,
    Budget,
    ConfigError,
    Imported,
    Inherited,
    Unreadable,
)

ERRORS = (TypeError, ValueError, LookupError, ArithmeticError)
"""What an expression may raise in Python too."""
TEMPLATE = re.compile(r"\{\{\s*(_base_\.|['\"]?\s*\$)")
CONVERSIONS: Mapping[int, Callable[[Any], Any]] = {-1: lambda value: value, 115: str, 114: repr, 97: ascii}
FORMAT = re.compile(r"[^\d]?[<>=^]?[-+ ]?#?0?\d{0,3},?(\.\d{1,3})?[bcdeEfFgGosxX%]?")


class Known(Exception):
    """Raised where evaluation needs a value that is unreadable; that value is the result."""

    def __init__(self, unreadable: Unreadable):
        self.unreadable = unreadable


class Expressions:
    """Evaluates expressions of one file. A value that it cannot determine is an ``Unreadable``, never an exception;
    only a file beyond the limits is a ConfigError."""

    def __init__(self, file: str, lines: list[str], budget: Budget):
        self.file, self.lines, self.budget = file, lines, budget
        self.names: dict[str, Any] = {"__name__": "config"}
        self.scopes: list[dict[str, Any]] = []  # of the comprehensions around
        self.depth = 0

    def value(self, node: ast.AST) -> Any:
        """The node's value, or the Unreadable that says why not."""
        self.depth += 1
        try:
            self.budget.spend(1, self.file, getattr(node, "lineno", None))
            if self.depth > MAX_DEPTH:
                self.fail(node, f"nested deeper than {MAX_DEPTH} levels")
            return self.evaluated(node)
        except ConfigError:
            raise
        except Known as stop:
            return self.untold(node, stop.unreadable)
        except CannotTell as stop:
            return self.untold(node, self.unreadable(node, str(stop)))
        except ERRORS as error:
            return self.untold(node, self.unreadable(node, f"it raises {type(error).__name__}: {error}"))
        finally:
            self.depth -= 1

    def evaluated(self, node: Any) -> Any:
        match node:
            case ast.Constant():
                return self.constant(node.value)
            case ast.Name():
                return self.named(node)
            case ast.List():
                return self.items(node.elts)
            case ast.Tuple():
                return tuple(self.items(node.elts))
            case ast.Set(elts=[ast.Set(elts=[inner])]):
                return self.reference(inner)
            case ast.Dict():
                return self.paired(zip(node.keys, node.values, strict=True))
            case ast.JoinedStr():
                return calls.joined([self.known(part) for part in node.values])
            case ast.FormattedValue():
                spec = self.known(node.format_spec) if node.format_spec else ""
                if not FORMAT.fullmatch(spec):
                    raise CannotTell(f"the format {spec[:20]!r} is not supported")
                return format(CONVERSIONS[node.conversion](scalar(self.known(node.value))), spec)
            case ast.UnaryOp():
                return unary(node.op, self.known(node.operand))
            case ast.BinOp():
                return self.paid(arithmetic(node.op, self.known(node.left), self.known(node.right)), node)
            case ast.BoolOp():
                return self.first_that_decides(node)
            case ast.Compare():
                return self.compared(node)
            case ast.IfExp():
                return self.value(node.body if self.known(node.test) else node.orelse)
            case ast.Attribute():
                return self.attribute(self.known(node.value), node.attr)
            case ast.Subscript():
                target, index = self.known(node.value), self.index(node.slice)
                if not isinstance(target, dict | list | tuple | str | range):
                    raise CannotTell(f"a {type(target).__name__} has no elements")
                return self.paid(target[index], node) if isinstance(index, slice) else target[index]
            case ast.ListComp() | ast.GeneratorExp():
                return self.collected(node.generators, lambda: self.value(node.elt))
            case ast.DictComp():
                made = self.collected(
                    node.generators, lambda: (calls.key(self.known(node.key)), self.value(node.value))
                )
                return dict(made)
            case ast.Call():
                return self.called(node)
        raise CannotTell(f"{type(node).__name__} is not supported")

    def untold(self, node: ast.AST, why: Unreadable) -> Unreadable:
        """Called wherever an expression has no known value."""
        del node
        return why

    def known(self, node: ast.AST) -> Any:
        """The node's value, which must be known."""
        return self.told(self.value(node))

    def told(self, value: Any) -> Any:
        if isinstance(value, Unreadable):
            raise Known(value)
        return value

    def fail(self, node: ast.AST, reason: str) -> NoReturn:
        raise ConfigError(reason, self.file, getattr(node, "lineno", None))

    def unreadable(self, node: ast.AST, reason: str) -> Unreadable:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        text = self.lines[line - 1].encode()[column:] if line <= len(self.lines) else b""
        if getattr(node, "end_lineno", None) == line:
            text = text[: node.end_col_offset - column]  # type: ignore[attr-defined]
        source = text.decode(errors="replace").strip()
        return Unreadable(self.file, line, source if len(source) <= 80 else source[:77] + "...", reason)

    def paid(self, result: Any, node: ast.expr) -> Any:
        """``result``, after its size is charged to the budget."""
        if isinstance(result, list | tuple | dict | str):
            self.budget.spend(len(result) // (16 if isinstance(result, str) else 1), self.file, node.lineno)
        return result

    # The kinds of expressions

    def constant(self, value: Any) -> Any:
        if not isinstance(value, calls.SCALARS):
            raise CannotTell(f"a {type(value).__name__}")
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise CannotTell(f"an integer of more than {MAX_BITS} bits")
        if isinstance(value, str) and TEMPLATE.search(value):
            raise CannotTell("a {{ }} reference that stands in a string or has no default")
        return value

    def named(self, node: ast.Name) -> Any:
        for scope in (*reversed(self.scopes), self.names):
            if node.id in scope:
                return scope[node.id]
        raise CannotTell(f"`{node.id}` is not defined in the file")

    def reference(self, node: ast.expr) -> Any:
        """``{{ _base_.x.y }}``, which Python's grammar reads as a set in a set."""
        if isinstance(node, ast.Name) and node.id == "_base_":
            return self.names["_base_"]
        if not isinstance(node, ast.Attribute):
            raise CannotTell("only `{{ _base_.name }}` can stand for a value")
        return self.told(self.told(self.reference(node.value))[node.attr])

    def items(self, nodes: list[ast.expr]) -> list:
        values: list = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                values.extend(self.budget.sized(elements(self.known(node.value)), self.file, node.lineno))
            else:
                values.append(self.value(node))
        return values

    def paired(self, entries: Any) -> dict:
        result: dict = {}
        for name, value in entries:
            if name is None:
                result.update(self.mapping(value))
            else:
                result[calls.key(self.known(name))] = self.value(value)
        return result

    def mapping(self, node: ast.expr) -> dict:
        value = self.known(node)
        if not isinstance(value, dict):
            raise CannotTell(f"** of a {type(value).__name__}")
        return self.budget.sized(value, self.file, node.lineno)

    def first_that_decides(self, node: ast.BoolOp) -> Any:
        value = None
        for operand in node.values:
            value = self.known(operand)
            if bool(value) is isinstance(node.op, ast.Or):
                break
        return value

    def compared(self, node: ast.Compare) -> bool:
        left = self.known(node.left)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.known(comparator)
            self.budget.spend(len(right) // 16 if isinstance(right, list | tuple | str) else 0, self.file)
            if not compare(op, left, right):
                return False
            left = right
        return True

    def attribute(self, target: Any, name: str) -> Any:
        if isinstance(target, Imported):
            return Imported(f"{target.path}.{name}")
        if isinstance(target, Inherited) and calls.method(target, name) is None:
            return target[name]
        raise CannotTell(f"a {type(target).__name__} has no attribute `{name}`")

    def index(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Slice):
            return slice(*(self.known(part) if part else None for part in (node.lower, node.upper, node.step)))
        return calls.key(self.known(node))

    # Comprehensions

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
            raise CannotTell("an async comprehension")
        for value in elements(self.known(first.iter)):
            self.budget.spend(1, self.file, first.target.lineno)
            self.bind(first.target, value)
            if all(self.known(test) for test in first.ifs):
                yield from self.bindings(rest)

    def bind(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.scopes[-1][target.id] = value
            return
        if not isinstance(target, ast.Tuple | ast.List):
            raise CannotTell("only names can be loop variables")
        for part, element in self.unpacked(target.elts, value):
            self.bind(part, element)

    def unpacked(self, targets: list[ast.expr], value: Any) -> Iterator[tuple[ast.expr, Any]]:
        parts = elements(self.told(value))
        if len(parts) != len(targets) or any(isinstance(target, ast.Starred) for target in targets):
            raise CannotTell(f"cannot unpack {len(parts)} values into {len(targets)} names")
        return zip(targets, parts, strict=True)

    # Calls

    def called(self, node: ast.Call) -> Any:
        target = self.known(node.func.value) if isinstance(node.func, ast.Attribute) else None
        if isinstance(node.func, ast.Attribute) and not isinstance(target, Imported):
            function = calls.method(target, node.func.attr)
            if function is None:
                raise CannotTell(f"`.{node.func.attr}()` of a {type(target).__name__} is not supported")
            return self.applied(node, function, target)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        bound = any(name in scope for scope in (*self.scopes, self.names))
        if name in calls.FUNCTIONS and not bound:
            return self.applied(node, calls.FUNCTIONS[name])
        function = self.known(node.func) if bound or not name else None
        path = function.path if isinstance(function, Imported) else ""
        if path in ("copy.deepcopy", "copy.copy"):
            return self.applied(node, self.deepcopy if path == "copy.deepcopy" else calls.copied)
        raise CannotTell(f"calling `{path or name or 'this'}` would run code")

    def deepcopy(self, value: Any) -> Any:
        return self.budget.tree(value, self.file, Inherited if isinstance(value, Inherited) else dict)

    def applied(self, node: ast.Call, function: Callable[..., Any], *target: Any) -> Any:
        values = self.items(node.args)
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            given = self.mapping(keyword.value) if keyword.arg is None else {keyword.arg: self.value(keyword.value)}
            if not all(isinstance(name, str) for name in given):
                raise TypeError("keywords must be strings")
            named.update(given)
        for value in values if function in calls.HOLDING else (*values, *named.values()):
            self.told(value)
        for value in (*target, *values):
            if isinstance(value, list | tuple | dict | str):
                self.budget.spend(len(value) // 16, self.file, node.lineno)
        if target and isinstance(target[0], Inherited):  # it copies what it is given: at a bounded cost
            self.deepcopy(target[0])
            values, named = self.deepcopy(values), self.deepcopy(named)
        return self.paid(function(*target, *values, **named), node)
