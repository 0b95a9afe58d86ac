"""The state of some groups put back to its start, while schedules go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import reboxed, unboxed
from jaxsched.optimizers._override import chosen_groups
from jaxsched.optimizers._state import OptimizerState


def reset(opt_state: Any, groups: str | Sequence[str] | None = None) -> Any:
    """The state from which on the moments of some groups start again, as those of a fresh optimizer.

    At the next update the slots of these groups are what ``init`` makes, and their bias corrections count from 1. The
    count, and with it the schedules, goes on, as do overrides and what follows a metric. Works inside ``jax.jit``. The
    first reset of a state makes ``bias_offset`` an array by group, so that a step compiled before is compiled once
    more; from then on each update selects between two values of each slot.

    Args:
        opt_state: A state of an optimizer of jaxsched, or anything that holds one, as for `hyperparams`; of an
            ``TrainState`` its ``opt_state``, and of an ``nnx.Optimizer`` too, whose Variables are written in place.
        groups: The group, or groups, to reset; all where left out.

    Raises:
        ValueError: If there is no such group, or no state of an optimizer of jaxsched.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.sgd(lr=1.0, momentum=0.5)
        >>> params = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
        >>> _, state = tx.update(params, tx.init(params), params)
        >>> updates, state = tx.update(params, js.optimizers.reset(state, "bias"), params)
        >>> float(updates["kernel"][0]), float(updates["bias"][0])
        (-1.5, -1.0)
    """
    wanted = chosen_groups("reset", opt_state, groups)

    def one(node: Any) -> Any:
        if not isinstance(node, OptimizerState):
            return node
        offset = jnp.broadcast_to(unboxed(node.bias_offset), (len(node.groups),))
        offset = jnp.where(wanted(node), -unboxed(node.count), offset)
        return node._replace(bias_offset=reboxed(node.bias_offset, offset))

    return jax.tree.map(one, opt_state, is_leaf=lambda node: isinstance(node, OptimizerState))


def counted(state: OptimizerState) -> OptimizerState:
    """The state with one more update counted; where the count is saturated, in ``bias_offset`` of what was reset."""
    count, offset = jnp.asarray(optax.safe_increment(state.count)), state.bias_offset
    if jnp.ndim(offset):
        offset = jnp.where((count == state.count) & (offset < 0), offset + 1, offset)
    return state._replace(count=count, bias_offset=offset)


def corrected_count(state: OptimizerState) -> jax.Array:
    """The updates that bias corrections count, for all groups, [], or where some were reset, [groups]."""
    total = state.count + state.bias_offset
    return jnp.where((state.bias_offset > 0) & (total < state.count), state.count, total)  # a sum > int32 is negative


def restarted(state: OptimizerState, fresh: OptimizerState, labels: Mapping[str, Any]) -> OptimizerState:
    """The state with what `reset` asked for: the slots of ``fresh`` where there was no update since.

    Args:
        state: One whose ``bias_offset`` is by group.
        fresh: What ``init`` returns.
        labels: For each of the slots a tree, or a prefix of one, of the groups' names.
    """
    names = sorted(state.groups)
    first = corrected_count(state) == 0
    of_group = {name: jax.lax.index_in_dim(first, i, keepdims=False) for i, name in enumerate(names)}

    def one(group: str, new: Any, old: Any) -> Any:
        return jax.tree.map(lambda x, y: jnp.where(of_group[group], x, y), new, old) if group in of_group else old

    return state._replace(
        slots=jax.tree.map(one, dict(labels), fresh.slots, state.slots),
        shared={name: jnp.where(first, fresh.shared[name], row) for name, row in state.shared.items()},
    )
