"""Arrays in NNX Variables: taken out to compute with, and put back."""

from __future__ import annotations

from typing import Any

import jax


def _is_variable(node: Any) -> bool:
    return hasattr(node, "get_value")


def unboxed(tree: Any) -> Any:
    """The tree with the arrays of its NNX Variables in place of these."""
    return jax.tree.map(lambda x: x.get_value() if _is_variable(x) else x, tree, is_leaf=_is_variable)


def reboxed(old: Any, new: Any) -> Any:
    """``new``, a tree like ``old``; the NNX Variables of ``old`` are kept, with their arrays replaced in place."""

    def one(box: Any, value: jax.Array) -> Any:
        if not _is_variable(box):
            return value
        box.set_value(value)
        return box

    return jax.tree.map(one, old, new, is_leaf=_is_variable)
