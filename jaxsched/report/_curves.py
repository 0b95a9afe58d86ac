"""The hyperparameters of each group over the steps, and which steps are updates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxsched.numerics import MAX_STEP
from jaxsched.optimizers.internal import lr_of, momentum_of, weight_decay_of
from jaxsched.recipe import Recipe, Reportable, as_recipe
from jaxsched.schedules import Schedule, value_at
from jaxsched.schedules.internal import kind_of, together, values_together


def curves(recipe: Reportable, steps: Sequence[int] | np.ndarray | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Evaluate the learning rate, momentum and weight decay of each group over the steps.

    Args:
        recipe: A recipe, a schedule alone, or an optax transformation made of jaxsched's.
        steps: The steps; by default all of the recipe's.

    Returns:
        ``{group: {"lr": array, "momentum": array, "weight_decay": array}}``, each with one value for each step, in
        float32. ``momentum`` is the first beta for optimizers that have betas, and is absent where there is neither.
        ``lr`` is the ``learning_rate`` of optimizers of optax, and ``momentum`` their ``b1``.
        Frozen groups are absent.

    Raises:
        ValueError: If ``steps`` is left out and the recipe has no length.

    Examples:
        >>> import jaxsched as js
        >>> recipe = js.Recipe("sgd", dict(lr=js.linear(1.0, 0.0, 4)), steps=4)
        >>> js.curves(recipe)["weight"]["lr"].tolist()
        [1.0, 0.75, 0.5, 0.25]
    """
    recipe = as_recipe(recipe)
    at = all_steps(recipe, steps)
    shown = {group: shown_of(values) for group, values in recipe.by_group().items() if values is not None}
    places = [(group, name) for group, values in shown.items() for name in values]
    found = values_at([shown[group][name] for group, name in places], at)
    result: dict[str, dict[str, np.ndarray]] = {group: {} for group in shown}
    for (group, name), values in zip(places, found, strict=True):
        result[group][name] = values
    return result


def shown_of(values: dict[str, Any]) -> dict[str, Any]:
    """Those hyperparameters of a group that curves show."""
    shown = {"lr": lr_of(values), "momentum": momentum_of(values), "weight_decay": weight_decay_of(values)}
    return {name: value for name, value in shown.items() if value is not None}


_evaluated = jax.jit(values_together, static_argnums=2)
_alone = jax.jit(lambda schedule, steps: schedule(steps))
MANY_NUMBERS = 128
"""Numbers of a schedule above which its parts are compiled one by one: XLA takes 40 s for a product of 500 lines."""


class _Compiled(Schedule):
    """A schedule that is compiled by itself, once for all of its kind."""

    __slots__ = ()

    def __call__(self, step: ArrayLike) -> jax.Array:
        found: jax.Array = _alone(Schedule(self.maker, dict(self.arguments), self.static), step)
        return found


def _is_large(value: Schedule) -> bool:
    return len(jax.tree.leaves(value)) > MANY_NUMBERS


def _in_parts(value: Any) -> Any:
    """A large schedule with the parts that are not large compiled."""
    if isinstance(value, tuple | list):
        return tuple(map(_in_parts, value))
    if not isinstance(value, Schedule):
        return value
    if not _is_large(value):
        return _Compiled(value.maker, dict(value.arguments), value.static)
    return Schedule(value.maker, {name: _in_parts(inner) for name, inner in value.arguments.items()}, value.static)


def values_at(values: Sequence[Any], steps: np.ndarray) -> list[np.ndarray]:
    """Evaluate numbers, schedules and functions of the step at the steps, in float32.

    Schedules of one kind are compiled once and evaluated together: op by op, each takes a second or more.
    """
    steps = np.clip(steps, 0, MAX_STEP).astype(np.int32)
    kinds: dict[Any, dict[Any, Schedule]] = {}
    for value in values:
        if isinstance(value, Schedule) and not _is_large(value):
            kinds.setdefault(kind_of(value), {})[id(value)] = value
    large = {id(value): value for value in values if isinstance(value, Schedule) and _is_large(value)}
    found = {i: np.asarray(_in_parts(value)(steps)) for i, value in large.items()}
    for alike in kinds.values():
        values_of_kind = np.asarray(_evaluated(together([*alike.values()]), steps, len(alike)))
        found.update(zip(alike, values_of_kind, strict=True))

    def one(value: ArrayLike | Any) -> np.ndarray:
        if id(value) in found:
            return found[id(value)]
        return np.asarray(jax.jit(value)(steps) if callable(value) else value_at(value, steps))

    return [np.broadcast_to(one(value), steps.shape) for value in values]


LONGEST = 2**22
"""Steps of a run that are looked at one by one, at most: 32 MB for each array of them."""


def update_steps(recipe: Reportable, steps: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """Tell at which steps an optimizer update is applied: all, unless the recipe accumulates.

    Args:
        recipe: The recipe.
        steps: The steps; by default all of the recipe's.

    Returns:
        A bool for each step.

    Raises:
        ValueError: If ``steps`` is left out and the recipe has no length.

    Examples:
        >>> import jaxsched as js
        >>> recipe = js.Recipe("sgd", dict(lr=1.0), accumulate=js.Accumulation(every=2), steps=4)
        >>> js.report.update_steps(recipe).tolist()
        [False, True, False, True]
    """
    recipe = as_recipe(recipe)
    at = all_steps(recipe, steps)
    if recipe.accumulate is None:
        return np.ones(at.shape, bool)
    length = int(at.max(initial=-1)) + 1
    (every,) = values_at([recipe.accumulate.every], np.arange(length))
    batches = np.maximum(np.ceil(every).astype(np.int64), 1)
    if recipe.accumulate.at_multiples:
        due = np.arange(length) % batches == 0
        return due[at]
    due = np.zeros(length, bool)
    last = -1
    edges = [0, *(np.flatnonzero(np.diff(batches)) + 1).tolist(), length]
    for begin, end in itertools.pairwise(edges):  # in between, the number of batches stays
        if begin < end:
            stride = int(batches[begin])
            hits = np.arange(max(begin, last + stride), end, stride)
            due[hits] = True
            last = int(hits[-1]) if hits.size else last
    return due[at]


def all_steps(recipe: Recipe, steps: Sequence[int] | np.ndarray | None) -> np.ndarray:
    """``steps`` as an array, or all of the recipe's."""
    if steps is not None:
        return np.asarray(steps, dtype=np.int64)
    if recipe.steps is None:
        raise ValueError("the recipe has no length; pass steps=..., or make it with Recipe(steps=...)")
    return np.arange(recipe.steps)
