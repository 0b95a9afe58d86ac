"""Schedules of one kind, which differ in their numbers only, evaluated in one pass."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxsched.numerics import is_host_number
from jaxsched.schedules._schedule import Schedule


def kind_of(schedule: Schedule) -> Hashable:
    """Equal for schedules that can be evaluated together: all but their numbers is the same."""
    leaves, structure = jax.tree.flatten(schedule)
    return structure, tuple((np.shape(leaf), _type(leaf)) for leaf in leaves)


def together(schedules: Sequence[Schedule]) -> Schedule:
    """Schedules of one kind as one, whose numbers have a leading axis. Those of the host stay there."""

    def column(*leaves: Any) -> Any:
        if all(isinstance(leaf, np.ndarray) or is_host_number(leaf) for leaf in leaves):
            return np.stack([np.asarray(leaf) for leaf in leaves])
        return jnp.stack([jnp.asarray(leaf) for leaf in leaves])

    return cast(Schedule, jax.tree.map(column, *schedules))


def values_together(stacked: Schedule, step: ArrayLike, count: int) -> jax.Array:
    """The values of ``count`` schedules, as `together` joins them, at each step: [count, *step.shape].

    Traced once, whatever the count, so that many groups cost as much as one.
    """
    return jax.vmap(lambda schedule: schedule(step), axis_size=count)(stacked)


def _type(leaf: Any) -> Any:
    return isinstance(leaf, int) if is_host_number(leaf) else leaf.dtype
