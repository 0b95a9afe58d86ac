"""Expressions of a config file: from Python's syntax tree to plain data, never through Python's own evaluation."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from jaxsched.ports.openmmlab.config import _calls as calls
from jaxsched.ports.openmmlab.config._calls import CannotTell, elements, joined, scalar
from jaxsched.ports.openmmlab.config._operators import UNARY, arithmetic, compare
from jaxsched.ports.openmmlab.config._values import (
    MAX_BITS,
    MAX_DEPTH,
    Budget,
    ConfigError,
    Imported,
    Inherited,
    Unreadable,
)

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
            return getattr(self, f"on_{type(node).__name__}", self.on_other)(node)
        except ConfigError:
            raise
        except Known as stop:
            return self.untold(node, stop.unreadable)
        except CannotTell as stop:
            return self.untold(node, self.unreadable(node, str(stop)))
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            return self.untold(node, self.unreadable(node, f"it raises {type(error).__name__}: {error}"))
        finally:
            self.depth -= 1

    def untold(self, node: ast.AST, why: Unreadable) -> Unreadable:
        """Called wherever an expression has no known value."""
        del node
        return why

    def known(self, node: ast.AST) -> Any:
        """The node's value, which must be known."""
        value = self.value(node)
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

    def on_other(self, node: ast.AST) -> Any:
        raise CannotTell(f"{type(node).__name__} is not supported")

    # Atoms and displays

    def on_Constant(self, node: ast.Constant) -> Any:
        if not isinstance(node.value, calls.SCALARS):
            raise CannotTell(f"a {type(node.value).__name__}")
        if isinstance(node.value, int) and node.value.bit_length() > MAX_BITS:
            raise CannotTell(f"an integer of more than {MAX_BITS} bits")
        if isinstance(node.value, str) and TEMPLATE.search(node.value):
            raise CannotTell("a {{ }} reference that stands in a string or has no default")
        return node.value

    def on_Name(self, node: ast.Name) -> Any:
        for scope in (*reversed(self.scopes), self.names):
            if node.id in scope:
                return scope[node.id]
        raise CannotTell(f"`{node.id}` is not defined in the file")

    def on_List(self, node: ast.List) -> list:
        return self.items(node.elts)

    def on_Tuple(self, node: ast.Tuple) -> tuple:
        return tuple(self.items(node.elts))

    def on_Set(self, node: ast.Set) -> Any:
        inner = node.elts[0]
        if len(node.elts) == 1 and isinstance(inner, ast.Set) and len(inner.elts) == 1:
            return self.reference(inner.elts[0])
        return {calls.key(value) for value in map(self.told, self.items(node.elts))}

    def reference(self, node: ast.expr) -> Any:
        """``{{ _base_.x.y }}``, which Python's grammar reads as a set in a set."""
        path = []
        while isinstance(node, ast.Attribute):
            path.append(node.attr)
            node = node.value
        if not (isinstance(node, ast.Name) and node.id == "_base_" and path):
            raise CannotTell("only `{{ _base_.name }}` can stand for a value")
        value = self.names["_base_"]
        for name in reversed(path):
            value = self.told(value)[name]
        return value

    def told(self, value: Any) -> Any:
        if isinstance(value, Unreadable):
            raise Known(value)
        return value

    def items(self, nodes: list[ast.expr]) -> list:
        values: list = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                values.extend(self.budget.sized(elements(self.known(node.value)), self.file, node.lineno))
            else:
                values.append(self.value(node))
        return values

    def on_Dict(self, node: ast.Dict) -> dict:
        result: dict = {}
        for name, value in zip(node.keys, node.values, strict=True):
            if name is None:
                result.update(self.mapping(value))
            else:
                result[calls.key(self.known(name))] = self.value(value)
        return result

    def mapping(self, node: ast.expr) -> dict:
        value = self.known(node)
        if not isinstance(value, dict):
            raise CannotTell(f"** of a {type(value).__name__}")
        return self.budget.sized(value, self.file, getattr(node, "lineno", None))

    def on_JoinedStr(self, node: ast.JoinedStr) -> str:
        return joined("", [self.known(part) for part in node.values])

    def on_FormattedValue(self, node: ast.FormattedValue) -> str:
        spec = self.known(node.format_spec) if node.format_spec else ""
        if not FORMAT.fullmatch(spec):
            raise CannotTell(f"the format {spec[:20]!r} is not supported")
        return format(CONVERSIONS[node.conversion](scalar(self.known(node.value))), spec)

    # Operators

    def on_UnaryOp(self, node: ast.UnaryOp) -> Any:
        operand = self.known(node.operand)
        if isinstance(node.op, ast.Not):
            return not operand
        return UNARY[type(node.op)](calls.number(operand))

    def on_BinOp(self, node: ast.BinOp) -> Any:
        result = arithmetic(type(node.op), self.known(node.left), self.known(node.right))
        return self.paid(result, node)

    def paid(self, result: Any, node: ast.expr) -> Any:
        if isinstance(result, (list, tuple, dict, set)):
            self.budget.spend(len(result), self.file, node.lineno)
        elif isinstance(result, str):
            self.budget.spend(len(result) // 16, self.file, node.lineno)
        return result

    def on_BoolOp(self, node: ast.BoolOp) -> Any:
        value = None
        for operand in node.values:
            value = self.known(operand)
            if bool(value) is isinstance(node.op, ast.Or):
                break
        return value

    def on_Compare(self, node: ast.Compare) -> bool:
        left = self.known(node.left)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.known(comparator)
            self.budget.spend(len(right) // 16 if isinstance(right, (list, tuple, str)) else 0, self.file)
            if not compare(op, left, right):
                return False
            left = right
        return True

    def on_IfExp(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self.known(node.test) else node.orelse)

    # Access

    def on_Attribute(self, node: ast.Attribute) -> Any:
        target = self.known(node.value)
        if isinstance(target, Imported):
            return Imported(f"{target.path}.{node.attr}")
        if isinstance(target, Inherited) and calls.method(target, node.attr) is None:
            return target[node.attr]
        raise CannotTell(f"a {type(target).__name__} has no attribute `{node.attr}`")

    def on_Subscript(self, node: ast.Subscript) -> Any:
        target, index = self.known(node.value), self.index(node.slice)
        if not isinstance(target, (dict, list, tuple, str, range)):
            raise CannotTell(f"a {type(target).__name__} has no elements")
        return self.paid(target[index], node) if isinstance(index, slice) else target[index]

    def index(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Slice):
            return slice(*(self.known(part) if part else None for part in (node.lower, node.upper, node.step)))
        return calls.key(self.known(node))

    # Comprehensions

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
            self.bind(first.target, value, self.scopes[-1])
            if all(self.known(test) for test in first.ifs):
                yield from self.bindings(rest)

    def bind(self, target: ast.expr, value: Any, scope: dict[str, Any]) -> None:
        if isinstance(target, ast.Name):
            scope[target.id] = value
            return
        if not isinstance(target, (ast.Tuple, ast.List)):
            raise CannotTell("only names can be loop variables")
        parts = elements(self.told(value))
        if len(parts) != len(target.elts) or any(isinstance(part, ast.Starred) for part in target.elts):
            raise CannotTell(f"cannot unpack {len(parts)} values into {len(target.elts)} names")
        for part, element in zip(target.elts, parts, strict=True):
            self.bind(part, element, scope)

    def collected(self, generators: list[ast.comprehension], element: Callable[[], Any]) -> list:
        self.scopes.append({})
        try:
            return [element() for _ in self.bindings(generators)]
        finally:
            self.scopes.pop()

    def on_ListComp(self, node: ast.ListComp) -> list:
        return self.collected(node.generators, lambda: self.value(node.elt))

    on_GeneratorExp = on_ListComp

    def on_SetComp(self, node: ast.SetComp) -> set:
        return set(self.collected(node.generators, lambda: calls.key(self.known(node.elt))))

    def on_DictComp(self, node: ast.DictComp) -> dict:
        def entry() -> tuple:
            return calls.key(self.known(node.key)), self.value(node.value)

        return dict(self.collected(node.generators, entry))

    # Calls

    def on_Call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Attribute):
            target = self.value(node.func.value)
            if isinstance(target, Unreadable):
                raise Known(target)
            if not isinstance(target, Imported):
                function = calls.method(target, node.func.attr)
                if function is None:
                    raise CannotTell(f"`.{node.func.attr}()` of a {type(target).__name__} is not supported")
                return self.call(node, function, target)
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if (
            name is not None
            and name in calls.FUNCTIONS
            and not any(name in scope for scope in (*self.scopes, self.names))
        ):
            return self.call(node, calls.FUNCTIONS[name])
        called = self.known(node.func) if name is None or name in self.names else None
        path = called.path if isinstance(called, Imported) else ""
        if path == "copy.deepcopy":
            return self.call(node, self.deepcopy)
        if path in calls.IMPORTED:
            return self.call(node, calls.IMPORTED[path])
        raise CannotTell(f"calling `{path or name or 'this'}` would run code")

    def deepcopy(self, value: Any) -> Any:
        return self.budget.tree(value, self.file, Inherited if isinstance(value, Inherited) else dict)

    def call(self, node: ast.Call, function: Callable[..., Any], *target: Any) -> Any:
        values = self.items(node.args)
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is not None:
                named[keyword.arg] = self.value(keyword.value)
                continue
            spread = self.mapping(keyword.value)
            if not all(isinstance(name, str) for name in spread):
                raise TypeError("keywords must be strings")
            named.update(spread)
        for value in values if function in calls.HOLDING else (*values, *named.values()):
            self.told(value)
        for value in (*target, *values):
            if isinstance(value, (list, tuple, dict, set, str)):
                self.budget.spend(len(value) // 16, self.file, node.lineno)
        if target and isinstance(target[0], Inherited):  # it copies what it is given: at a bounded cost
            self.deepcopy(target[0])
            values, named = self.deepcopy(values), self.deepcopy(named)
        return self.paid(function(*target, *values, **named), node)
