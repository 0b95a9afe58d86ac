"""An optimizer on one vector for each group in place of many small arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxsched import groups as grouping
from jaxsched.groups import FlatGroups, Layout
from jaxsched.numerics import reshard_like
from jaxsched.optimizers.internal import states


class Flattening(optax.GradientTransformationExtraArgs):
    """What `flatten_groups` returns. ``update`` also takes flattened gradients, and then gives flattened updates."""

    layout_of: Callable[[Any], Layout]
    """From the parameters to how they are flattened."""

    @staticmethod
    def of(init: Any, update: Any, layout_of: Callable[[Any], Layout]) -> Flattening:
        made = Flattening(init, update)
        made.layout_of = layout_of
        return made


def flatten_groups(
    inner: optax.GradientTransformation, rules: grouping.Rules | None = None
) -> optax.GradientTransformationExtraArgs:
    """Join the parameters of each group (and dtype) to one vector, and give those to ``inner``: ``optax.flatten`` by
    group.

    The same numbers in few large kernels, where each small array had several (the addition to each parameter stays),
    and a state of few arrays, which a jitted step takes and gives back sooner. All inside sees vectors; outside,
    parameters, gradients and updates stay trees. It is to be around all but `accumulate`, which then gathers in vectors
    too, and leaves the parameters as they are until an update is due. Sums over all numbers, as in `clip_norm`, are
    added in another order.

    That copies gradients and parameters. It pays where arrays are many and small, and most where they are gathered
    or averaged as well; with few large arrays that are updated at each step it costs more than it saves. Measure both:
    the run is the same.

    What looks at an array as a whole cannot be inside: of the optimizers `adafactor`, `lamb`, `muon`, `musgd` and
    `sparse_adam` say so; of optax such as ``adaptive_grad_clip`` do not. Parameters that are sharded over devices are
    gathered at each step; let the state be sharded instead, whose vectors are a multiple of 1024 long.

    Args:
        inner: A transformation of jaxsched or of optax, such as a chain.
        rules: The rules of the groups of ``inner``; by role where left out.

    Returns:
        A transformation. Its state holds `FlatGroups` where that of ``inner`` has trees like the parameters;
        `unflatten_groups` gives the trees, and ``carry_over(state, tx.init(params))`` turns a state without them into
        one with them. `hyperparams`, `ema_params`, `ema_update` and `did_update` read it as any other.

    Raises:
        ValueError: By ``init``, if a parameter is covered by no rule, or an optimizer inside looks at whole arrays. By
            ``update``, if the state is of other parameters or groups.

    Example:
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

    def layout_of(tree: Any) -> Layout:  # found once, as paths take longer to walk than vectors to trace
        leaves, structure = jax.tree.flatten(tree)
        key = (structure, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves))
        if key not in layouts:
            layouts[key] = Layout.of(tree, *grouping.grouped(tree, rules))
        return layouts[key]

    def init(params: Any) -> Any:
        return wrapped.init(layout_of(params).flatten(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        like = updates if params is None else params
        gradients = updates if isinstance(updates, FlatGroups) else layout_of(like).flatten(updates)
        held = states(state, FlatGroups)
        if not held and _keeps_some(wrapped, gradients):
            held = [None]  # as arrays by themselves
        for own in held:
            check_form(own, gradients)
        flat = None if params is None else layout_of(params).flatten(params)
        new, state = wrapped.update(gradients, state, flat, **extra)
        return new if gradients is updates else unflattened(made, new, like), state

    made = Flattening.of(init, update, layout_of)
    return made


def flattened(inner: optax.GradientTransformation, tree: Any, params: Any) -> Any:
    """A tree like the parameters in the form in which ``inner`` computes."""
    return inner.layout_of(params).flatten(tree) if isinstance(inner, Flattening) else tree


def unflattened(inner: optax.GradientTransformation, updates: Any, params: Any) -> Any:
    """The updates of ``inner`` in the form of the parameters."""
    if not isinstance(inner, Flattening):
        return updates
    return jax.tree.map(reshard_like, inner.layout_of(params).unflatten(updates.vectors), params)


def check_form(held: Any, needed: Any) -> None:
    """That both are flattened, and alike, or neither is."""
    if getattr(held, "layout", None) != getattr(needed, "layout", None):
        has, needs = (x if isinstance(x, FlatGroups) else "an array for each parameter" for x in (held, needed))
        raise ValueError(
            f"flatten_groups: the state is of other parameters or groups, or not flattened as these are: it has {has}, "
            f"needed is {needs}. To go on from it: js.carry_over(state, tx.init(params))"
        )


def _keeps_some(inner: optax.GradientTransformation, params: FlatGroups) -> bool:
    """Whether ``inner`` keeps anything like the parameters."""
    return bool(states(jax.eval_shape(inner.init, params), FlatGroups))
