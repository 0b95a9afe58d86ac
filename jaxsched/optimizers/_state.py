"""The state of an optimizer of jaxsched: what is in it, how it is found, read, and carried to another optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxsched.groups import unboxed
from jaxsched.metric import internal as plateaus


class OptimizerState(NamedTuple):
    """The state of an optimizer of jaxsched. The paths of ``slots`` do not depend on the groups.

    Attributes:
        count: Updates done; int32 [], saturating at 2**31 - 1. Schedules are evaluated at it, unless ``update`` is
            given a ``step``, as by `accumulate`.
        groups: The names of the groups, frozen ones left out, each with (). What is kept by group is in the order of
            their sorted names.
        hyperparams: By name, what the last update used (before the first: what it will use), for each group; float32
            [groups]. Only a report, which `hyperparams` reads: to set a value see `override`.
        shared: By name, what the optimizer keeps for each group; float32 [groups].
        slots: By name, a tree like the parameters; float32 (float64 for float64 parameters), and ``optax.MaskedNode()``
            for what is frozen.
        plateau: By group and name, the state of those hyperparameters that follow a metric.
        bias_offset: Added to ``count`` for bias corrections only; int32 [], or [groups] once `reset` was used. Positive
            where the state was taken over from another run, negative where the slots are younger than the count.
        overrides: By name, what `override` set; float32 [groups], the largest number where the schedule
            is in force.
    """

    count: jax.Array  # type: ignore[assignment]
    groups: dict[str, tuple[()]]
    hyperparams: dict[str, Any]
    shared: dict[str, jax.Array]
    slots: dict[str, Any]
    plateau: dict[str, dict[str, plateaus.State]]
    bias_offset: jax.Array
    overrides: dict[str, Any] = {}  # noqa: RUF012  never changed: a state is a value


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
        ValueError: If there is none, or if two of them have the same hyperparameter in a group of the same name.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.sgd(lr=js.linear(1.0, 0.0, 10), groups={"bias": dict(lr=0.5)})
        >>> state = tx.init({"kernel": jnp.ones(3), "bias": jnp.ones(3)})
        >>> float(js.hyperparams(state)["bias"]["lr"])
        0.5
    """
    found = states(opt_state, OptimizerState)
    if not found:
        raise ValueError(
            f"hyperparams: there is no optimizer state of jaxsched in {type(opt_state).__name__}; "
            "js.optimizers.grouped gives one to an optimizer of optax"
        )
    return merged("hyperparams", [_read(state) for state in found])


def merged(what: str, by_group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several optimizers say of their groups, as one dict.

    Raises:
        ValueError: If two say something under the same name of a group of the same name.
    """
    found: dict[str, Any] = {}
    for own in by_group:
        for group, values in own.items():
            known = found.setdefault(group, {})
            if twice := [name for name in values if name in known]:
                raise ValueError(
                    f"{what}: two optimizers have a {twice[0]!r} in a group named {group!r}; ask for the state of one, "
                    f"such as js.{what}(opt_state[0])"
                )
            known.update(values)
    return found


def _read(state: OptimizerState) -> dict[str, Any]:
    return {
        group: {name: _entry(row, i) for name, row in state.hyperparams.items()}
        for i, group in enumerate(sorted(state.groups))
    }


def _entry(row: Any, i: int) -> Any:
    if isinstance(row, tuple | list):
        return tuple(_entry(item, i) for item in row)
    return row if row is None else jax.lax.index_in_dim(unboxed(row), i, -1, keepdims=False)  # no index to transfer
