"""The part of the parameters that a group has, as an optimizer of optax sees it and as the state keeps it."""

from __future__ import annotations

from typing import Any

import jax
import optax


class Part:
    """A group's part of trees like the parameters.

    An optimizer sees the whole tree, with ``optax.MaskedNode()`` in place of what is of other groups, as within
    ``optax.partition``. Kept so, a state has a node for each parameter in each group: of 200 groups and 200 arrays
    122,000, which ``jax.jit`` takes apart and puts together again at each call, in 145 ms. So the dicts of such a tree
    are kept without what holds nothing.

    Args:
        structure: Of the parameters.
        groups: The group of each of its leaves.
        group: The one that this is.
    """

    def __init__(self, structure: Any, groups: tuple[str, ...], group: str):
        self.structure, self.is_own = structure, [own == group for own in groups]
        seen = self.of(structure.unflatten(groups))
        self.seen: Any = jax.tree.structure(seen)
        self.kept: Any = jax.tree.structure(_pruned(seen))

    def of(self, tree: Any) -> Any:
        """A tree like the parameters as the optimizer sees it."""
        leaves = zip(self.structure.flatten_up_to(tree), self.is_own, strict=True)
        return self.structure.unflatten([leaf if own else optax.MaskedNode() for leaf, own in leaves])

    def shrunk(self, state: Any) -> Any:
        """The state of the optimizer as it is kept."""
        return _exchanged(state, self.seen, self.kept)

    def grown(self, state: Any) -> Any:
        """The state of the optimizer as it sees it."""
        return _exchanged(state, self.kept, self.seen)


def _pruned(tree: Any) -> Any:
    """A tree whose dicts are without entries that hold no array; what is within others is left as it is."""
    if type(tree) is not dict:
        return tree
    return {name: _pruned(value) for name, value in tree.items() if jax.tree.leaves(value)}


def _exchanged(tree: Any, old: Any, new: Any) -> Any:
    """A tree with the subtrees of one structure in another."""
    if old == new:
        return tree

    def is_old(node: Any) -> bool:
        return type(node) is dict and bool(jax.tree.structure(node) == old)

    return jax.tree.map(
        lambda node: new.unflatten(jax.tree.leaves(node)) if is_old(node) else node, tree, is_leaf=is_old
    )
