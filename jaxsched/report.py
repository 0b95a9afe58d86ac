"""What a recipe does, as data: the hyperparameters of each group over the steps, and which steps are updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxsched.recipe import Recipe
from jaxsched.schedules import value_at


def curves(recipe: Recipe, steps: Sequence[int] | np.ndarray | None = None) -> dict[str, dict[str, np.ndarray]]:
    """The learning rate, momentum and weight decay of each group over the steps.

    Args:
        recipe: The recipe.
        steps: The steps to look at; all of the recipe's where left out.

    Returns:
        ``{group: {"lr": array, "momentum": array, "weight_decay": array}}``, each with one value for each step, in
        float32. ``momentum`` is the first beta for optimizers that have betas, and is absent where there is neither.
        Frozen groups are absent.

    Raises:
        ValueError: If ``steps`` is left out and the recipe has no length.

    Example:
        >>> import jaxsched as js
        >>> recipe = js.Recipe("sgd", dict(lr=js.linear(1.0, 0.0, 4)), steps=4)
        >>> js.curves(recipe)["weight"]["lr"].tolist()
        [1.0, 0.75, 0.5, 0.25]
    """
    at = all_steps(recipe, steps)
    result = {}
    for group, values in recipe.by_group().items():
        if values is None:
            continue
        shown = {"lr": values.get("lr"), "momentum": momentum_of(values), "weight_decay": values.get("weight_decay")}
        result[group] = {
            name: np.broadcast_to(np.asarray(value_at(value, at)), at.shape)
            for name, value in shown.items()
            if value is not None
        }
    return result


def momentum_of(values: dict[str, Any]) -> Any:
    """The momentum among hyperparameters, or the first of the betas, or None."""
    return values.get("momentum", values.get("betas", (None,))[0])


def updates(recipe: Recipe, steps: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """At which steps an optimizer update is applied: all, unless the recipe accumulates.

    Args:
        recipe: The recipe.
        steps: The steps to look at; all of the recipe's where left out.

    Returns:
        A bool for each step.

    Raises:
        ValueError: If ``steps`` is left out and the recipe has no length.

    Example:
        >>> import jaxsched as js
        >>> recipe = js.Recipe("sgd", dict(lr=1.0), accumulate=js.Accumulate(every=2), steps=4)
        >>> js.updates(recipe).tolist()
        [False, True, False, True]
    """
    at = all_steps(recipe, steps)
    if recipe.accumulate is None:
        return np.ones(at.shape, bool)
    length = int(at.max(initial=-1)) + 1
    every = np.broadcast_to(np.asarray(value_at(recipe.accumulate.every, np.arange(length))), (length,))
    due = np.zeros(length, bool)
    last = -1
    for step, batches in enumerate(every.tolist()):
        if step - last >= batches:
            due[step], last = True, step
    return due[at]


def all_steps(recipe: Recipe, steps: Sequence[int] | np.ndarray | None) -> np.ndarray:
    """``steps`` as an array, or all of the recipe's."""
    if steps is not None:
        return np.asarray(steps, dtype=np.int64)
    if recipe.steps is None:
        raise ValueError("the recipe has no length; give steps=..., or make it with Recipe(steps=...)")
    return np.arange(recipe.steps)
