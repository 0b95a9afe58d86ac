"""An optimizer on one vector for each group in place of many small arrays.

All of flattening is here. Other rooms see a `JoinedTree`: a tree that can say its own groups.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxsched import groups as grouping
from jaxsched.groups import Grouped, JoinedTree
from jaxsched.numerics import replicate, reshard_like, takes_shapes
from jaxsched.optimizers.internal import states

MULTIPLE = 1024
"""Vectors are padded with zeros to a multiple of this, so that they divide over up to 1024 devices, and are whole tiles
(of 8 x 128 numbers) on a TPU."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which part of which vector each leaf of a tree is.

    Attributes:
        structure: Of the tree. Not compared, since NNX has two structures for the same parameters: the paths are.
        paths: Of its leaves.
        shapes: Of its leaves.
        groups: The group of each vector.
        names: Of the vectors: the group, and the dtype too where a group has several.
        members: For each vector the indices of the leaves in it, in order.
    """

    structure: Any = dataclasses.field(compare=False)
    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    groups: tuple[str, ...]
    names: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]

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
        leaves = self.structure.flatten_up_to(tree)
        for path, shape, leaf in zip(self.paths, self.shapes, leaves, strict=True):
            if not _is_masked(leaf) and jnp.shape(leaf) != shape:
                raise ValueError(f"flatten_groups: {path!r} is {jnp.shape(leaf)}, but the parameter is {shape}")
        flat = [leaf if _is_masked(leaf) else jnp.ravel(replicate(jnp.asarray(leaf))) for leaf in leaves]
        return FlatGroups([_vector([flat[i] for i in own]) for own in self.members], self)

    def unflatten(self, vectors: Sequence[Any]) -> Any:
        """The tree of these vectors. Axes before the last, such as of a ``vmap``, stay in front."""
        leaves: list[Any] = [None] * len(self.shapes)
        for vector, own in zip(vectors, self.members, strict=True):
            vector = replicate(vector) if isinstance(vector, jax.Array) else vector
            ends = list(itertools.accumulate(math.prod(self.shapes[i]) for i in own))
            for i, start, end in zip(own, [0, *ends], ends, strict=False):
                leaves[i] = vector if _is_masked(vector) else _part(vector, start, end, self.shapes[i])
        return self.structure.unflatten(leaves)


@jax.tree_util.register_pytree_with_keys_class
class FlatGroups(JoinedTree):
    """A tree like the parameters, kept as one vector for each group: the form of such trees in `flatten_groups`.

    To ``jax.tree`` its leaves are the vectors; ``tree`` is the tree that it stands for.
    """

    def __init__(self, vectors: Sequence[Any], layout: Layout):
        self.vectors, self.layout = tuple(vectors), layout

    @property
    def tree(self) -> Any:
        return self.layout.unflatten(self.vectors)

    def separate(self) -> Any:
        return self.tree

    def join(self, tree: Any) -> FlatGroups:
        return self.layout.flatten(tree)

    def grouped(self, known: Sequence[str], needed: Sequence[str]) -> Grouped:
        own = self.layout.groups
        if (own and not set(needed) <= set(own)) or not set(own) <= set(known):
            raise ValueError(
                f"the parameters were flattened into the groups {_quoted(own)}, but the rules here make "
                f"{_quoted(known)}. Give flatten_groups the rules of the optimizer, and each group a parameter."
            )
        return Grouped([self.layout.paths[members[0]] for members in self.layout.members], list(own))

    def tree_flatten_with_keys(self) -> Any:
        keys = map(jax.tree_util.DictKey, self.layout.names)
        return tuple(zip(keys, self.vectors, strict=True)), self.layout

    @classmethod
    def tree_unflatten(cls, layout: Layout, vectors: Any) -> FlatGroups:
        return cls(vectors, layout)

    def __repr__(self) -> str:
        sizes = (getattr(vector, "shape", vector) for vector in self.vectors)
        own = ", ".join(f"{name}: {size}" for name, size in zip(self.layout.names, sizes, strict=True))
        return f"FlatGroups({own}; as a tree: js.transforms.unflatten_groups)"


def unflatten_groups(tree: Any) -> Any:
    """Replace each `FlatGroups` in a state by the tree like the parameters that it stands for.

    For reading a state by path, and for saving a state that does not depend on groups or flattening, or with a tool
    that does not know `FlatGroups`, such as ``flax.serialization``. The way back is
    ``js.carry_over(saved, tx.init(params))``.

    Args:
        tree: A state of `flatten_groups`, or anything that holds one. The axis of many runs (of ``jax.vmap``) stays in
            front.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.flatten_groups(js.sgd(lr=0.1, momentum=0.9))
        >>> params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
        >>> _, state = tx.update(params, tx.init(params), params)
        >>> state.slots["momentum"]
        FlatGroups(bias: (1024,), weight: (1024,); as a tree: js.transforms.unflatten_groups)
        >>> js.transforms.unflatten_groups(state).slots["momentum"]["bias"]
        Array([1., 1.], dtype=float32)
    """

    return grouping.separated(tree)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, dict.fromkeys(names)))


def _is_masked(node: Any) -> bool:
    """Of a frozen group there is nothing to keep."""
    return isinstance(node, optax.MaskedNode)


def _part(vector: Any, start: int, end: int, shape: tuple[int, ...]) -> Any:
    return vector[..., start:end].reshape((*vector.shape[:-1], *shape))


def _vector(parts: list[Any]) -> Any:
    if any(map(_is_masked, parts)):
        return optax.MaskedNode()
    rest = -sum(part.size for part in parts) % MULTIPLE
    return jnp.concatenate([*parts, jnp.zeros(rest, parts[0].dtype)])


class Flattening(optax.GradientTransformationExtraArgs):
    """What `flatten_groups` returns. ``update`` also takes flattened gradients, and then returns flattened updates.

    Attributes:
        layout_of: From the parameters to how they are flattened.
    """

    layout_of: Callable[[Any], Layout]

    @staticmethod
    def of(init: Any, update: Any, layout_of: Callable[[Any], Layout]) -> Flattening:
        made = Flattening(init, update)
        made.layout_of = layout_of
        return made


def flatten_groups(
    inner: optax.GradientTransformation, rules: grouping.Rules | None = None
) -> optax.GradientTransformationExtraArgs:
    """Join the parameters of each group (and dtype) to one vector, and pass the vectors to ``inner``: ``optax.flatten``
    by group.

    The run is the same; its arithmetic is done in a few large kernels instead of several for each small array (adding
    the update to each parameter remains), and the state is a few arrays, which a jitted step receives and returns
    faster. ``inner`` sees vectors; parameters, gradients and updates outside stay trees. Put `flatten_groups` around
    everything but `accumulate`, which then gathers in vectors too and leaves the parameters as they are until an update
    is due. Sums over all numbers, as in `clip_norm`, are added in another order.

    Gradients and parameters are copied. It pays off if arrays are many and small, most of all if they are gathered or
    averaged as well; with a few large arrays that are updated at each step it costs more than it saves. Measure both.

    What looks at whole arrays cannot be inside: of the optimizers, `adafactor`, `lamb`, `muon`, `musgd` and
    `sparse_adam` raise an error; transformations of optax such as ``adaptive_grad_clip`` do not. Parameters that are
    sharded over devices are gathered at each step. Shard the state instead: its vectors are a multiple of 1024 long.

    Args:
        inner: A transformation of jaxsched or of optax, such as a chain.
        rules: The rules of the groups of ``inner``; by role where left out.

    Returns:
        A transformation. Its state holds `FlatGroups` where the state of ``inner`` has trees like the parameters.
        `unflatten_groups` returns the trees, and ``carry_over(state, tx.init(params))`` takes a state without
        flattening over into one with it. `hyperparams`, `ema_params`, `ema_update` and `did_update` read both.

    Raises:
        ValueError: By ``init``, if a parameter is covered by no rule, or an optimizer inside looks at whole arrays. By
            ``update``, if the state is of other parameters or groups.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js, optax
        >>> tx = js.flatten_groups(optax.chain(js.clip_norm(1.0), js.adamw(lr=0.1), js.ema(0.9)))
        >>> params = {"conv": {"kernel": jnp.ones((3, 3)), "bias": jnp.ones(3)}, "head": {"kernel": jnp.ones((3, 2))}}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> updates["conv"]["bias"].shape, [leaf.shape for leaf in jax.tree.leaves(state[2].average)]
        ((3,), [(1024,), (1024,)])
        >>> js.ema_params(state)["conv"]["bias"].shape
        (3,)
    """
    wrapped = optax.with_extra_args_support(inner)
    layouts: dict[Any, Layout] = {}

    # Found once for each structure: walking the paths of a model takes longer than tracing the vectors.
    def layout_of(tree: Any) -> Layout:
        leaves, structure = jax.tree.flatten(tree)
        key = (structure, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves))
        if key not in layouts:
            layouts[key] = Layout.of(tree, *grouping.grouped(tree, rules))
        return layouts[key]

    def init(params: Any) -> Any:
        if not jax.tree.leaves(params):  # nothing to train, or optax.tree.map_params asking where parameters go
            return wrapped.init(params)
        return wrapped.init(layout_of(params).flatten(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        like = updates if params is None else params
        if not jax.tree.leaves(like):
            return wrapped.update(updates, state, params, **extra)
        gradients = updates if isinstance(updates, FlatGroups) else layout_of(like).flatten(updates)
        held = states(state, FlatGroups)
        if not held and _keeps_some(wrapped, gradients):
            held = [None]  # a state that was made without flattening
        for own in held:
            check_form(own, gradients)
        flat = None if params is None else layout_of(params).flatten(params)
        new, state = wrapped.update(gradients, state, flat, **extra)
        return new if gradients is updates else unflattened(made, new, like), state

    made = Flattening.of(takes_shapes(init), update, layout_of)
    return made


def flattened(inner: optax.GradientTransformation, tree: Any, params: Any) -> Any:
    """A tree like the parameters in the form in which ``inner`` computes."""
    if not isinstance(inner, Flattening) or not jax.tree.leaves(params):
        return tree
    return inner.layout_of(params).flatten(tree)


def unflattened(inner: optax.GradientTransformation, updates: Any, params: Any) -> Any:
    """The updates of ``inner`` in the form of the parameters."""
    if not isinstance(inner, Flattening) or not jax.tree.leaves(params):
        return updates
    return jax.tree.map(reshard_like, inner.layout_of(params).unflatten(updates.vectors), params)


def check_form(held: Any, needed: Any) -> None:
    """Raise unless both are flattened alike, or neither is."""
    if getattr(held, "layout", None) != getattr(needed, "layout", None):
        has, needs = (x if isinstance(x, FlatGroups) else "an array for each parameter" for x in (held, needed))
        raise ValueError(
            f"flatten_groups: the state has other parameters or groups, or is flattened otherwise; it has {has}, "
            f"expected {needs}. To continue from it: js.carry_over(state, tx.init(params))"
        )


def _keeps_some(inner: optax.GradientTransformation, params: FlatGroups) -> bool:
    """Whether ``inner`` keeps anything like the parameters."""
    return bool(states(jax.eval_shape(inner.init, params), FlatGroups))
