"""Questions about a config's syntax tree: what a piece of it binds, mentions, is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeGuard

from jaxsched.ports.openmmlab.config._calls import CannotTell

SCOPED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def bound_names(node: ast.AST) -> Iterator[str]:
    """The names of the module that running ``node`` may bind; ``*`` for any."""
    if isinstance(node, ast.alias):
        yield (node.asname or node.name.partition(".")[0])
    elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    if isinstance(node, SCOPED):
        if not isinstance(node, ast.Lambda):
            yield node.name
        return
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.comprehension) and child is node.target):
            yield from bound_names(child)


def mentions(node: ast.AST) -> Iterator[tuple[str, str | None]]:
    """The names in ``node``, each with the attribute that is taken of it, if one is."""
    if isinstance(node, ast.Name):
        yield node.id, None
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield node.value.id, node.attr
    else:
        for child in ast.iter_child_nodes(node):
            yield from mentions(child)


def reads_base(node: ast.With) -> bool:
    call = node.items[0].context_expr
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "read_base"


def assigns_base(node: ast.stmt) -> TypeGuard[ast.Assign]:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_base_"


def as_load(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Attribute):
        return ast.Attribute(target.value, target.attr, ast.Load())
    if isinstance(target, ast.Subscript):
        return ast.Subscript(target.value, target.slice, ast.Load())
    raise CannotTell(f"augmented assignment to {type(target).__name__}")
