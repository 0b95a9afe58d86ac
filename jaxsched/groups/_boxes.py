"""Arrays in NNX Variables: taken out to compute with, and put back."""

from __future__ import annotations

from typing import Any

import jax


def is_variable(node: Any) -> bool:
    """Whether it is a Variable of NNX; Flax need not be installed."""
    return any(kind.__name__ == "Variable" and kind.__module__.startswith("flax.nnx.") for kind in type(node).__mro__)


def _value(box: Any) -> Any:
    return box.get_value() if hasattr(box, "get_value") else box.value  # before Flax 0.12


def unboxed(tree: Any) -> Any:
    """The tree with the arrays of its NNX Variables in place of these."""
    return jax.tree.map(lambda x: _value(x) if is_variable(x) else x, tree, is_leaf=is_variable)


def reboxed(old: Any, new: Any) -> Any:
    """``new``, a tree like ``old``; the NNX Variables of ``old`` are kept, with their arrays replaced in place."""

    def one(box: Any, value: jax.Array) -> Any:
        if not is_variable(box):
            return value
        if hasattr(box, "set_value"):
            box.set_value(value)
        else:
            box.value = value
        return box

    return jax.tree.map(one, old, new, is_leaf=is_variable)
