"""Columns of a log beside the curves of a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from jaxsched.recipe import Recipe
from jaxsched.report import curves
from jaxsched.verification._log import Log


@dataclasses.dataclass(frozen=True)
class Match:
    """The columns of one hyperparameter, each with the group whose curve fits most of its rows.

    Attributes:
        columns: The columns.
        groups: For each column the groups that fit best; several if they fit equally many rows.
        values: The recipe's values; [columns, rows].
        low: The smallest value that rounds to the printed digits; [columns, rows].
        high: The largest such value.
        fits: Whether each value lies between them.
    """

    columns: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    fits: np.ndarray

    @property
    def good(self) -> np.ndarray:
        """The rows of which every column fits."""
        good: np.ndarray = np.all(self.fits, 0)
        return good

    @property
    def logged(self) -> np.ndarray:
        """The values as logged, in the middle of what rounds to them."""
        middle: np.ndarray = (self.low + self.high) / 2
        return middle

    @property
    def off(self) -> float:
        """The mean relative difference, at most 1 each."""
        difference = np.abs(self.values - self.logged) / np.maximum(np.abs(self.logged), 1e-12)
        return float(np.where(self.fits, 0.0, np.minimum(difference, 1.0)).mean())

    def worst(self, row: int) -> tuple[float, int]:
        """The largest relative difference in a row, and its column."""
        difference = np.abs(self.values[:, row] - self.logged[:, row])
        relative = np.where(self.fits[:, row], -1.0, difference / np.maximum(np.abs(self.logged[:, row]), 1e-12))
        column = int(relative.argmax())
        return float(relative[column]), column


def match(log: Log, rows: np.ndarray, by_group: Mapping[str, np.ndarray]) -> Match:
    """Compare each column with the curve of each group.

    Args:
        log: The log.
        rows: The rows to compare.
        by_group: For each group its values at these rows.
    """
    low, high = (bound[:, rows] for bound in log.bounds())
    names, each = list(by_group), np.stack([*by_group.values()])
    ours = _scaled(each, low + high) if log.relative else np.broadcast_to(each, (len(low), *each.shape))
    fits = (ours >= low[:, None]) & (ours <= high[:, None])  # [columns, groups, rows]
    counts = fits.sum(-1)
    group = counts.argmax(-1)
    for column in np.flatnonzero(counts.max(-1) == 0):  # none fits: the one whose shape is the most similar
        group[column] = _spread(low[column] + high[column], ours[column]).argmin()
    best = group[:, None, None]
    return Match(
        columns=tuple(log.columns),
        groups=tuple(
            tuple(name for name, count in zip(names, row, strict=True) if count == row.max())
            if row.max()
            else (names[first],)
            for row, first in zip(counts, group, strict=True)
        ),
        values=np.take_along_axis(ours, best, 1)[:, 0],
        low=low,
        high=high,
        fits=np.take_along_axis(fits, best, 1)[:, 0],
    )


def _scaled(each: np.ndarray, logged: np.ndarray) -> np.ndarray:
    """Each curve times the factor that makes it equal to a column at its largest value; [columns, groups, rows]."""
    top = logged.argmax(-1)
    here = each[:, top].T  # [columns, groups]
    there = np.take_along_axis(logged, top[:, None], 1) / 2
    factor = np.divide(there, here, out=np.zeros_like(here, float), where=here > 0)
    scaled: np.ndarray = each * factor[..., None]
    return scaled


def _spread(logged: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """The relative deviation of the ratio to each curve: 0 where one is a multiple of the other."""
    ratios = logged / np.where(ours == 0, np.nan, ours)
    spread = [np.nanstd(row) / abs(np.nanmean(row)) if np.isfinite(row).sum() > 1 else np.inf for row in ratios]
    return np.nan_to_num(np.array(spread), nan=np.inf)


def by_hyperparameter(recipe: Recipe, steps: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """For each hyperparameter its values by group. A momentum or weight decay that a group does not have is 0."""
    padded = np.concatenate([steps, np.full(_rounded(len(steps)) - len(steps), steps[-1])])
    by_group = {group: values for group, values in curves(recipe, padded).items() if "lr" in values}
    return {
        name: {group: values.get(name, np.zeros(len(padded)))[: len(steps)] for group, values in by_group.items()}
        for name in ("lr", "momentum", "weight_decay")
    }


def _rounded(count: int) -> int:
    """A few sizes for all logs, so that curves are compiled once."""
    return max(64, 1 << (count - 1).bit_length())
