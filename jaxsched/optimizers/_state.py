"""The state of an optimizer of jaxsched: what is in it, how it is found, read, and carried to another optimizer."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from jaxsched.groups import unboxed
from jaxsched.metric import internal as plateaus


class OptimizerState(NamedTuple):
    """The state of an optimizer of jaxsched. The paths of ``slots`` do not depend on the groups."""

    count: jax.Array  # type: ignore[assignment]
    """Updates done; int32 [], saturating."""
    groups: dict[str, tuple[()]]
    """The names of the groups, frozen ones left out. What is kept by group is in the order of their sorted names."""
    hyperparams: dict[str, Any]
    """By name, what the last update used (before the first: what it will use), for each group; float32 [groups]. Only a
    report: nothing reads it but `hyperparams`."""
    shared: dict[str, jax.Array]
    """By name, what the optimizer keeps for each group; float32 [groups]."""
    slots: dict[str, Any]
    """By name, a tree like the parameters; float32 (float64 for float64 parameters)."""
    plateau: dict[str, dict[str, plateaus.State]]
    """By group and name, for those hyperparameters that are driven by a metric."""
    bias_offset: jax.Array
    """Updates done before the first of these, where the state was taken over from another run; int32 []. Bias
    corrections count them, schedules do not. Negative where the slots are younger than the count."""


def states(tree: Any, kind: type) -> list[Any]:
    """The states of a type in a tree, wherever they are nested; an object with an ``opt_state`` stands for that."""
    tree = getattr(tree, "opt_state", tree)
    return [node for node in jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, kind)) if isinstance(node, kind)]


def hyperparams(opt_state: Any) -> dict[str, dict[str, Any]]:
    """The hyperparameters that the last update used, by group and name.

    Args:
        opt_state: Anything that holds the state of an optimizer of jaxsched: the state itself, one nested in
            ``optax.chain``, ``optax.MultiSteps`` or `accumulate`, an ``nnx.Optimizer``, a Linen ``TrainState``.

    Returns:
        ``{group: {name: float32 scalar}}``. Before the first update: what it will use.

    Raises:
        ValueError: If there is none, or if two of them have a group of the same name.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.sgd(lr=js.linear(1.0, 0.0, 10), groups={"bias": dict(lr=0.5)})
        >>> state = tx.init({"kernel": jnp.ones(3), "bias": jnp.ones(3)})
        >>> float(js.hyperparams(state)["bias"]["lr"])
        0.5
    """
    found = states(opt_state, OptimizerState)
    if not found:
        raise ValueError(f"hyperparams: there is no optimizer state of jaxsched in {type(opt_state).__name__}")
    merged: dict[str, dict[str, Any]] = {}
    for state in found:
        for i, group in enumerate(sorted(state.groups)):
            if group in merged:
                raise ValueError(
                    f"hyperparams: two optimizers have a group named {group!r}; ask for each of their states by itself"
                )
            merged[group] = {name: _entry(row, i) for name, row in state.hyperparams.items()}
    return merged


def _entry(row: Any, i: int) -> Any:
    if isinstance(row, tuple | list):
        return tuple(_entry(item, i) for item in row)
    return row if row is None else unboxed(row)[..., i]
