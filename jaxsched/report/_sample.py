"""The values of a recipe at a few thousand steps: at its moments and epochs, their neighbours, both ends, a grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxsched.recipe import Recipe, Reportable, as_recipe
from jaxsched.report._curves import shown_of, values_at
from jaxsched.schedules import Moment, moments

SIZE = 4096
"""Steps in a sample; a shorter run is sampled at each step. One size for all, so that they share a compilation."""
NEAR_ENDS = 64
UNKNOWN_LENGTH = 1000
"""Steps that are shown of a recipe without a length, whose schedules do not say where they end."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a recipe does at some of its steps.

    Attributes:
        length: Steps of the run; where the recipe has no length, enough for all of its moments.
        steps: Int64 [n], ascending, each once; the first is 0, the last is the run's last.
        groups: For each group its hyperparameters as defined; None where frozen.
        shown: For each group that is not frozen its ``lr``, ``momentum``, ``weight_decay`` as defined.
        values: For each group these at ``steps``, as `curves` gives them.
        every: Batches per update at ``steps``.
        moments: For each group and each of these names its moments.
    """

    recipe: Recipe
    length: int
    steps: np.ndarray
    groups: dict[str, dict[str, Any] | None]
    shown: dict[str, dict[str, Any]]
    values: dict[str, dict[str, np.ndarray]]
    every: np.ndarray
    moments: dict[str, dict[str, list[Moment]]]

    def at(self, values: np.ndarray, step: int) -> float:
        """The value at a sampled step, or at the last one before it."""
        return float(values[max(int(np.searchsorted(self.steps, step, side="right")) - 1, 0)])


def sample(recipe: Reportable) -> Sample:
    """Sample a recipe."""
    recipe = as_recipe(recipe)
    groups = recipe.by_group()
    shown = {group: shown_of(values) for group, values in groups.items() if values is not None}
    known: dict[int, list[Moment]] = {}  # groups share schedules

    def of(value: Any) -> list[Moment]:
        return known.setdefault(id(value), moments(value, recipe.steps))

    found = {group: {name: of(value) for name, value in values.items()} for group, values in shown.items()}
    all_moments = [m for by_name in found.values() for list_ in by_name.values() for m in list_]
    length = recipe.steps or _shown_length(all_moments)
    per_epoch = recipe.steps_per_epoch or length
    epochs = np.arange(0, min(length, SIZE * per_epoch), per_epoch)
    steps = _steps(length, np.concatenate([np.unique(np.asarray([m.step for m in all_moments], np.int64)), epochs]))
    padded = np.concatenate([steps, np.full(SIZE - len(steps), steps[-1])])
    cells = [(group, name, value) for group, values in shown.items() for name, value in values.items()]
    every = 1 if recipe.accumulate is None else recipe.accumulate.every
    *arrays, gathered = values_at([*(value for _, _, value in cells), every], padded)
    result: dict[str, dict[str, np.ndarray]] = {group: {} for group in shown}
    for (group, name, _), array in zip(cells, arrays, strict=True):
        result[group][name] = array[: len(steps)]
    return Sample(recipe, length, steps, groups, shown, result, gathered[: len(steps)], found)


def _shown_length(found: Sequence[Moment]) -> int:
    """A length that shows all of a recipe without one: a quarter more than its last moment."""
    last = max(found, key=lambda moment: moment.step, default=None)
    least = UNKNOWN_LENGTH if last is None or last.kind in ("warm-up", "part") else 2
    return max(least, last.step * 5 // 4 if last else 0)


def _steps(length: int, marks: np.ndarray) -> np.ndarray:
    if length <= SIZE:
        return np.arange(length)
    near = np.arange(NEAR_ENDS)
    first = marks[: SIZE // 4]
    chosen = np.concatenate([near, length - 1 - near, first - 1, first, first + 1])
    grid = np.linspace(0, length - 1, SIZE - len(chosen)).astype(np.int64)
    return np.unique(np.clip(np.concatenate([chosen, grid]), 0, length - 1))
