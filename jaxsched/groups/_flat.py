"""The parameters of a tree as one vector for each group: few large arrays in place of many small ones."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxsched.numerics import replicate

MULTIPLE = 1024
"""Vectors are filled up with zeros to a multiple of this: they divide over devices, and are whole tiles on a TPU."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which part of which vector each leaf of a tree is."""

    structure: Any = dataclasses.field(compare=False)
    """Of the tree. NNX has two for the same parameters, so that it is the paths that are compared."""
    paths: tuple[str, ...]
    """Of its leaves."""
    shapes: tuple[tuple[int, ...], ...]
    """Of its leaves."""
    groups: tuple[str, ...]
    """The group of each vector."""
    names: tuple[str, ...]
    """Of the vectors: the group, and the dtype too where a group has several."""
    members: tuple[tuple[int, ...], ...]
    """The leaves in each vector, in order."""

    @staticmethod
    def of(tree: Any, paths: Sequence[str], groups: Sequence[str]) -> Layout:
        """That of a tree whose leaves have these paths and groups: one vector for each group and dtype."""
        leaves, structure = jax.tree.flatten(tree)
        found: dict[tuple[str, str], list[int]] = {}
        for i, (leaf, group) in enumerate(zip(leaves, groups, strict=True)):
            found.setdefault((group, str(jnp.result_type(leaf))), []).append(i)
        of_group = [group for group, _ in found]
        names = [group if of_group.count(group) == 1 else f"{group}/{dtype}" for group, dtype in found]
        shapes = tuple(tuple(jnp.shape(leaf)) for leaf in leaves)
        return Layout(structure, tuple(paths), shapes, tuple(of_group), tuple(names), tuple(map(tuple, found.values())))

    def flatten(self, tree: Any) -> FlatGroups:
        """The vectors of a tree of this structure.

        Raises:
            ValueError: If an array has another shape.
        """
        leaves = [jnp.asarray(leaf) for leaf in self.structure.flatten_up_to(tree)]
        for path, shape, leaf in zip(self.paths, self.shapes, leaves, strict=True):
            if leaf.shape != shape:
                raise ValueError(f"flatten_groups: {path!r} is {leaf.shape}, but the parameter is {shape}")
        flat = [jnp.ravel(replicate(leaf)) for leaf in leaves]
        return FlatGroups([_vector([flat[i] for i in own]) for own in self.members], self)

    def unflatten(self, vectors: Sequence[Any]) -> Any:
        """The tree of these vectors. Axes before the last, such as of a ``vmap``, stay in front."""
        leaves: list[Any] = [None] * len(self.shapes)
        for vector, own in zip(vectors, self.members, strict=True):
            ends = list(itertools.accumulate(math.prod(self.shapes[i]) for i in own))
            for i, start, end in zip(own, [0, *ends], ends, strict=False):
                leaves[i] = vector[..., start:end].reshape((*vector.shape[:-1], *self.shapes[i]))
        return self.structure.unflatten(leaves)


@jax.tree_util.register_pytree_with_keys_class
class FlatGroups:
    """A tree like the parameters as one vector for each group; ``tree`` is the tree itself.

    What `flatten_groups` keeps in place of such trees. To ``jax.tree`` its leaves are the vectors.
    """

    def __init__(self, vectors: Sequence[Any], layout: Layout):
        self.vectors, self.layout = tuple(vectors), layout

    @property
    def tree(self) -> Any:
        return self.layout.unflatten(self.vectors)

    def tree_flatten_with_keys(self) -> Any:
        keys = map(jax.tree_util.DictKey, self.layout.names)
        return tuple(zip(keys, self.vectors, strict=True)), self.layout

    @classmethod
    def tree_unflatten(cls, layout: Layout, vectors: Any) -> FlatGroups:
        return cls(vectors, layout)

    def __repr__(self) -> str:
        sizes = (getattr(vector, "shape", vector) for vector in self.vectors)
        own = ", ".join(f"{name}: {size}" for name, size in zip(self.layout.names, sizes, strict=True))
        return f"FlatGroups({own}; as a tree: js.groups.unflatten_groups)"


def unflatten_groups(tree: Any) -> Any:
    """What `flatten_groups` keeps as it would be without it: each `FlatGroups` as a tree like the parameters.

    For reading a state by path, and for saving one that shall not depend on groups or on flattening, or by what knows
    no `FlatGroups`, such as ``flax.serialization``. The way back is ``js.carry_over(saved, tx.init(params))``.

    Args:
        tree: A state of `flatten_groups`, or anything that holds one. In a state of many runs (of ``jax.vmap``) their
            axis stays in front.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.flatten_groups(js.sgd(lr=0.1, momentum=0.9))
        >>> params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
        >>> _, state = tx.update(params, tx.init(params), params)
        >>> state.slots["momentum"]
        FlatGroups(bias: (1024,), weight: (1024,); as a tree: js.groups.unflatten_groups)
        >>> js.groups.unflatten_groups(state).slots["momentum"]["bias"]
        Array([1., 1.], dtype=float32)
    """

    def one(node: Any) -> Any:
        return node.tree if isinstance(node, FlatGroups) else node

    return jax.tree.map(one, tree, is_leaf=lambda node: isinstance(node, FlatGroups))


def flattened_as(like: Any, tree: Any) -> Any:
    """The tree, flattened if ``like`` is."""
    return like.layout.flatten(tree) if isinstance(like, FlatGroups) and like is not tree else tree


def _vector(parts: list[jax.Array]) -> jax.Array:
    rest = -sum(part.size for part in parts) % MULTIPLE
    return jnp.concatenate([*parts, jnp.zeros(rest, parts[0].dtype)])
