"""The part of a tree that belongs to a group: as an optimizer of optax sees it, and as the state keeps it."""

from __future__ import annotations

from typing import Any

import jax
import optax


class Part:
    """A group's part of trees like the parameters.

    The optimizer of a group sees the whole tree, with ``optax.MaskedNode()`` in place of parameters of other groups, as
    in ``optax.partition``. Such a state has a node for each parameter in each group, 122,000 for 200 groups, and
    ``jax.jit`` flattens and unflattens them at each call. The state is therefore kept without the entries of dicts that
    hold no array.

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
    """A tree without the entries of dicts that hold no array; containers other than dicts are unchanged."""
    if type(tree) is not dict:
        return tree
    return {name: _pruned(value) for name, value in tree.items() if jax.tree.leaves(value)}


def _exchanged(tree: Any, old: Any, new: Any) -> Any:
    """A tree whose subtrees of the structure ``old`` have the structure ``new``."""
    if old == new:
        return tree

    def is_old(node: Any) -> bool:
        return type(node) is dict and bool(jax.tree.structure(node) == old)

    return jax.tree.map(
        lambda node: new.unflatten(jax.tree.leaves(node)) if is_old(node) else node, tree, is_leaf=is_old
    )
