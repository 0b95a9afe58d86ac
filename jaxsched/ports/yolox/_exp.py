"""The settings that an ``Exp`` file of YOLOX gives, from its syntax tree: class by class, never executed."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from typing import Any

from jaxsched.checks import one_line
from jaxsched.ports.shared import File, Unknown, parse_python, source_of, value_of

OWN_METHODS = ("get_optimizer", "get_lr_scheduler", "get_trainer")
"""Methods that make what a recipe holds."""
_MOST_CLASSES = 20
"""Most classes from ``Exp`` to YOLOX's own."""


@dataclasses.dataclass
class Exp:
    """What is read of a file.

    Attributes:
        values: What ``Exp.__init__`` assigns to ``self``, by name; `Unknown` where only running it could tell.
        methods: The methods of `OWN_METHODS` that the file has itself.
        without_effect: Class attributes, which YOLOX's own ``__init__`` overwrites.
    """

    values: dict[str, Any]
    methods: dict[str, ast.FunctionDef]
    without_effect: list[str]


def read_exp(file: File) -> Exp:
    """Read the class ``Exp`` of a file, with those of the same file that it is derived from.

    Raises:
        ValueError: If there is none, or it is derived from a class that is neither in the file nor YOLOX's own.
    """
    tree = parse_python(file)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if "Exp" not in classes:
        raise ValueError(f"{file.name} has no class Exp")
    reading = _Reading(file, tree)
    exp = Exp({}, {}, [])
    for node in reversed(_line_of_descent(file, tree, classes)):
        reading.add(node, exp)
    return exp


def _line_of_descent(file: File, tree: ast.Module, classes: dict[str, ast.ClassDef]) -> list[ast.ClassDef]:
    """``Exp`` and its bases in the file, up to YOLOX's own."""
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    line = [classes["Exp"]]
    while True:
        here = line[-1]
        base = ast.unparse(here.bases[0]) if len(here.bases) == 1 else ""
        path = imported.get(base, base)
        if path.startswith("yolox.exp") and path.endswith(".Exp"):
            return line
        if base not in classes or classes[base] in line or len(line) == _MOST_CLASSES:
            raise ValueError(
                f"{file.name}:{here.lineno}: {here.name} is derived from {one_line(path, 80) or 'several classes'}, "
                "whose settings are not in the file; derive it from yolox.exp.Exp, and write them"
            )
        line.append(classes[base])


class _Reading:
    """The names of a file that stand for numbers and strings."""

    def __init__(self, file: File, tree: ast.Module):
        self.file = file
        self.names: dict[str, Any] = {}
        for node in tree.body:
            if isinstance(node, ast.Assign):
                value = value_of(node.value, self._constant)
                self.names |= {target.id: value for target in node.targets if isinstance(target, ast.Name)}
            elif not isinstance(node, ast.FunctionDef | ast.ClassDef):
                for name in _stored(node):
                    self.names[name] = Unknown(node.lineno, name)

    def _constant(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name) and node.id in self.names:
            return self.names[node.id]
        return _unknown(node)

    def add(self, node: ast.ClassDef, exp: Exp) -> None:
        """Add what a class gives to what its base gave."""
        methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
        exp.methods |= {name: method for name, method in methods.items() if name in OWN_METHODS}
        for item in node.body:
            exp.without_effect += _stored(item) if isinstance(item, ast.Assign | ast.AnnAssign) else []
        if "__init__" in methods:
            self._run(methods["__init__"], methods, exp.values)

    def _run(self, method: ast.FunctionDef, methods: dict[str, ast.FunctionDef], values: dict[str, Any]) -> None:
        """Assign to ``values`` what ``__init__`` assigns to ``self``."""
        arguments = [*method.args.posonlyargs, *method.args.args]
        me = arguments[0].arg if arguments else "self"
        local: dict[str, Any] = {argument.arg: Unknown(method.lineno, argument.arg) for argument in arguments[1:]}
        for argument, default in zip(reversed(arguments), reversed(method.args.defaults), strict=False):
            local[argument.arg] = value_of(default, self._constant)

        def look_up(node: ast.expr) -> Any:
            if isinstance(node, ast.Attribute):
                is_mine = isinstance(node.value, ast.Name) and node.value.id == me
                return values.get(node.attr, _unknown(node)) if is_mine else _unknown(node)
            return local[node.id] if isinstance(node, ast.Name) and node.id in local else self._constant(node)

        begin = next((i for i, statement in enumerate(method.body) if _calls_base(statement)), None)
        if begin is None:
            raise ValueError(f"{self.file.name}:{method.lineno}: __init__ does not call super().__init__(); add it")
        for i, statement in enumerate(method.body):
            found = _assignment(statement)
            if found is None or not all(isinstance(target, ast.Name) or _is_mine(target, me) for target in found[0]):
                self._cannot_follow(statement, me, methods, local, values)
                continue
            value = value_of(found[1], look_up)
            for target in found[0]:
                if isinstance(target, ast.Name):
                    local[target.id] = value
                elif isinstance(target, ast.Attribute) and i > begin:
                    values[target.attr] = value
                elif isinstance(target, ast.Attribute):
                    raise ValueError(
                        f"{self.file.name}:{target.lineno}: self.{target.attr} is assigned before super().__init__(), "
                        "which may overwrite it; assign it afterwards"
                    )

    def _cannot_follow(
        self,
        statement: ast.stmt,
        me: str,
        methods: dict[str, ast.FunctionDef],
        local: dict[str, Any],
        values: dict[str, Any],
    ) -> None:
        """What a statement of another kind may assign is unknown from there on, with that of the methods it calls."""
        waiting: list[ast.AST] = [statement]
        seen = set()
        while waiting:
            node = waiting.pop()
            for item in ast.walk(node):
                if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
                    local[item.id] = _unknown(item)
                elif isinstance(item, ast.Attribute) and isinstance(item.ctx, ast.Store):
                    values[item.attr] = _unknown(item)
                elif isinstance(item, ast.Call) and isinstance(item.func, ast.Name) and item.func.id in _SETTERS:
                    raise ValueError(
                        f"{self.file.name}:{item.lineno}: `{source_of(item)}` may set anything; assign to self instead"
                    )
                elif isinstance(item, ast.Attribute) and _is_mine(item, me) and item.attr not in seen:
                    seen.add(item.attr)
                    if item.attr == "__dict__":
                        raise ValueError(
                            f"{self.file.name}:{item.lineno}: __dict__ may set anything; assign to self instead"
                        )
                    if item.attr in methods:
                        waiting.append(methods[item.attr])


def _assignment(statement: ast.stmt) -> tuple[list[ast.expr], ast.expr] | None:
    """The targets and the value of an assignment, or None."""
    if isinstance(statement, ast.Assign):
        return statement.targets, statement.value
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return [statement.target], statement.value
    return None


def _calls_base(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "__init__"


_SETTERS = ("setattr", "exec", "eval", "vars")


def _is_mine(node: ast.AST, me: str) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == me


def _unknown(node: ast.expr) -> Unknown:
    return Unknown(node.lineno, source_of(node))


def _stored(node: ast.AST) -> list[str]:
    return [item.id for item in ast.walk(node) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store)]


def returned_call(method: ast.FunctionDef, name: str) -> ast.Call | None:
    """The call of ``name`` that a method returns, at once or through a variable; None where it does something else."""
    calls = [node for node in ast.walk(method) if isinstance(node, ast.Call) and _called(node) == name]
    returns = [node for node in ast.walk(method) if isinstance(node, ast.Return)]
    plain = (ast.Import, ast.ImportFrom, ast.Assign, ast.Return)
    body = [node for node in method.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    if len(calls) != 1 or len(returns) != 1 or not all(isinstance(node, plain) for node in body):
        return None
    return calls[0]


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def arguments_of(call: ast.Call) -> Iterator[tuple[int | str, ast.expr]]:
    """The arguments of a call, by position or keyword."""
    yield from enumerate(call.args)
    yield from ((keyword.arg or "**", keyword.value) for keyword in call.keywords)
