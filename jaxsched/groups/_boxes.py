"""Arrays inside NNX Variables: unboxed to compute with, boxed again to return."""

from __future__ import annotations

from typing import Any

import jax


def _is_variable(node: Any) -> bool:
    return hasattr(node, "get_value")


def unboxed(tree: Any) -> Any:
    """A tree with its arrays out of the NNX Variables that may hold them."""
    return jax.tree.map(lambda x: x.get_value() if _is_variable(x) else x, tree, is_leaf=_is_variable)


def reboxed(old: Any, new: Any) -> Any:
    """``new``, a tree like ``old``; where ``old`` has NNX Variables these, written in place."""

    def one(box: Any, value: jax.Array) -> Any:
        if not _is_variable(box):
            return value
        box.set_value(value)
        return box

    return jax.tree.map(one, old, new, is_leaf=_is_variable)
