"""An optimizer on one vector for each group in place of many small arrays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxsched import groups as grouping
from jaxsched._sharding import spread
from jaxsched.groups import FlatGroups, Layout, flat_groups


def flatten_groups(
    inner: optax.GradientTransformation, rules: grouping.Rules | None = None
) -> optax.GradientTransformationExtraArgs:
    """Join the parameters of each group (and dtype) to one vector, and give those to ``inner``: ``optax.flatten`` by
    group.

    The same numbers in few large kernels instead of several for each small array, and a state of few arrays, which a
    jitted step takes and gives back sooner. It is to be the outermost: all inside sees vectors. Parameters, gradients
    and updates stay trees outside. Sums over all numbers, as in `clip_norm`, are added in another order.

    What looks at an array as a whole cannot be inside: of the optimizers `adafactor`, `lamb`, `muon`, `musgd` and
    `sparse_adam` say so; of optax such as ``adaptive_grad_clip`` do not. Parameters that are sharded over devices are
    gathered at each step; let the state be sharded instead, whose vectors are a multiple of 1024 long.

    Args:
        inner: A transformation of jaxsched or of optax, such as a chain.
        rules: The rules of the groups of ``inner``; by role where left out.

    Returns:
        A transformation. Its state holds `FlatGroups` where that of ``inner`` has trees like the parameters;
        `unflatten_groups` gives the trees, and ``carry_over(state, tx.init(params))`` turns a state without them into
        one with them. `hyperparams`, `averaged`, `average` and `applied` read it as any other.

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
        >>> js.averaged(state)["conv"]["bias"].shape
        (3,)
    """
    wrapped = optax.with_extra_args_support(inner)
    layouts: dict[Any, Layout] = {}

    def layout_of(tree: Any) -> Layout:  # found once, as paths take longer to walk than vectors to trace
        leaves, structure = jax.tree.flatten(tree)
        key = (structure, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves))
        if key not in layouts:
            found, ruled = grouping.parameters(tree), grouping.as_rules(rules)
            groups = [ruled[i].group for i in grouping.assign(found, ruled)]
            layouts[key] = Layout.of(tree, [parameter.path for parameter in found], groups)
        return layouts[key]

    def init(params: Any) -> Any:
        return wrapped.init(layout_of(params).flatten(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        like = updates if params is None else params
        layout = layout_of(like)
        held = list(flat_groups(state))
        flat = None if params is None else layout.flatten(params)
        if any(own.layout != layout for own in held) or not (held or _needs_none(wrapped, layout.flatten(like))):
            raise ValueError(
                f"flatten_groups: the state is not of these parameters and groups: it has {held[0] if held else 'none'}"
                f", needed are {', '.join(map(repr, layout.names))} of {len(layout.shapes)} arrays. To go on with "
                "other groups, or with a state that was not flattened: js.carry_over(state, tx.init(params))"
            )
        new, state = wrapped.update(layout.flatten(updates), state, flat, **extra)
        return jax.tree.map(spread, new.tree, like), state

    return optax.GradientTransformationExtraArgs(init, update)


def _needs_none(inner: optax.GradientTransformation, params: FlatGroups) -> bool:
    """Whether ``inner`` keeps nothing like the parameters."""
    return next(flat_groups(jax.eval_shape(inner.init, params)), None) is None
