"""The values of hyperparameters at a step, for all groups at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxsched.checks import short
from jaxsched.numerics import EmaWeights, is_host_number, one_minus
from jaxsched.optimizers._hyperparameters import Values
from jaxsched.schedules import Schedule, value_at
from jaxsched.schedules.internal import kind_of, together, values_together


def evaluate(
    by_group: Sequence[Values], names: Sequence[str], step: ArrayLike, dtype: Any, averages: Sequence[str] = ()
) -> Values:
    """The numbers in force at ``step``: by name one for all groups, [], or one for each, [groups].

    A value that is None in all groups is None; where only some have None, theirs is NaN. Those named in ``averages``
    are `EmaWeights`. Schedules of one kind are evaluated together, so that many groups cost as much as one, to trace
    and to run.

    Args:
        by_group: For each group its hyperparameters.
        names: Those to evaluate; the others are options.
        step: At which to evaluate schedules.
        dtype: Of the numbers.
        averages: The names of those that are the weight of the past in a moving average.

    Raises:
        ValueError: If a schedule does not return one number; it names the hyperparameter.
    """

    def row(name: str, cells: Sequence[Any], is_average: bool) -> Any:
        if isinstance(cells[0], tuple):
            items = enumerate(zip(*cells, strict=True))
            return tuple(row(f"{name}[{i}]", own, is_average) for i, own in items)
        if all(cell is None for cell in cells):
            return None
        cells = [np.nan if cell is None else cell for cell in cells]
        found = _row(name, cells, step, dtype)
        return EmaWeights(found, one_minus(cells, found)) if is_average else found

    return {name: row(name, [values[name] for values in by_group], name in averages) for name in names if by_group}


def values_of(numbers: Values) -> Values:
    """What `evaluate` found, an average's weight of the past alone."""
    return jax.tree.map(
        lambda x: x.old if isinstance(x, EmaWeights) else x, numbers, is_leaf=lambda x: isinstance(x, EmaWeights)
    )


def _row(name: str, cells: Sequence[Any], step: ArrayLike, dtype: Any) -> jax.Array:
    distinct: dict[Any, Any] = {cell if is_host_number(cell) else id(cell): cell for cell in cells}
    kinds: dict[Any, list[Any]] = {}
    for key, cell in distinct.items():
        kinds.setdefault(_kind(cell), []).append(key)
    place = {key: i for i, key in enumerate(key for keys in kinds.values() for key in keys)}
    values = [_together(name, [distinct[key] for key in keys], step, dtype) for keys in kinds.values()]
    if len(distinct) == 1:
        return values[0].reshape(())
    order = [place[cell if is_host_number(cell) else id(cell)] for cell in cells]
    found = values[0] if len(values) == 1 else jnp.concatenate(values)
    return found if order == list(range(len(found))) else found[np.asarray(order)]


def _kind(cell: Any) -> Any:
    """Equal for what can be evaluated together."""
    if is_host_number(cell):
        return "number"
    return kind_of(cell) if isinstance(cell, Schedule) else id(cell)


def _together(name: str, cells: Sequence[Any], step: ArrayLike, dtype: Any) -> jax.Array:
    """The values at ``step`` of numbers or schedules of one kind, [cells]."""
    if is_host_number(cells[0]):
        return jnp.asarray(np.asarray(cells, dtype))
    if len(cells) == 1:
        found = value_at(cells[0], step)[None]
    else:
        found = values_together(together(cells), step, len(cells))
    if found.shape != (len(cells),):
        raise ValueError(
            f"{name} must be one number at each step, got an array of shape {found.shape[1:]}: {short(cells[0])}"
        )
    return found.astype(dtype)


def is_constant(value: Any) -> bool:
    """Whether a hyperparameter is known to the host and the same at every step."""
    return all(map(is_constant, value)) if isinstance(value, tuple) else value is None or is_host_number(value)


def is_zero(value: Any) -> bool:
    """Whether a hyperparameter is the number 0 at every step, as far as the host can tell."""
    return is_host_number(value) and value == 0
