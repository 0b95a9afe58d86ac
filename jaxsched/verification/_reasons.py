"""Why the learning rates of a log differ from those of a recipe."""

from __future__ import annotations

import numpy as np

from jaxsched.recipe import Recipe
from jaxsched.verification._log import Log
from jaxsched.verification._match import Match, by_hyperparameter, match
from jaxsched.verification._ways import batches_of_an_update

_SOME_ROWS, _MOST_SKIPPED = 200, 64
"""How many rows are searched for skipped updates, and the largest number of skipped updates that is tried."""


def skipped_updates(recipe: Recipe, log: Log, rows: np.ndarray, steps: np.ndarray) -> str | None:
    """A sentence if a run in float16 skipped updates: its lr is that of an earlier update, by a growing number.

    Returns None otherwise. Hugging Face's Trainer, DeepSpeed and Lightning do not step the scheduler when gradients
    overflow.
    """
    if log.step is None or len(rows) < 3:
        return None
    some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _SOME_ROWS)).astype(int))
    lags = np.arange(_MOST_SKIPPED)[:, None] * batches_of_an_update(recipe)
    shifted = np.maximum(steps[some] - lags, 0)  # [lags, rows]
    every, at = np.unique(shifted, return_inverse=True)
    by_group = by_hyperparameter(recipe, every)["lr"]
    tall = {group: curve[at.reshape(-1)] for group, curve in by_group.items()}
    good = match(log, np.tile(rows[some], len(lags)), tall).good.reshape(shifted.shape)
    lag, first = 0, int(np.argmax(good[:, 0]))
    for row in good.T:
        fitting = np.flatnonzero(row[lag:])
        if not len(fitting):
            return None
        lag += int(fitting[0])
    if first == lag >= np.median(np.diff(log.step[rows])):  # the same in all rows: the log counts from another step
        return None
    skipped = f"about {lag} updates were" if lag > 1 else "an update was"
    return f"{skipped} skipped, and the schedule did not step: gradients in float16 overflowed"


def likely_reason(lr: Match) -> str | None:
    """The likeliest reason why learning rates differ, where one is plain."""
    good, ours, low, high, logged = lr.good, lr.values, lr.low, lr.high, lr.logged
    bad = ~good
    positive = ours > 0
    if bad.sum() > 2 and positive.any():  # whether one factor explains all rows
        least, most = (low[positive] / ours[positive]).max(), (high[positive] / ours[positive]).min()
        if least <= most and (logged[~positive] < 1e-9).all():
            return (
                f"the lr that was logged is {(least + most) / 2:.4g} times the recipe's: another base lr or batch size"
            )
    if bad.sum() > 2 and bad.sum() > 0.8 * len(bad):
        for shift, text in ((1, "later"), (-1, "earlier")):
            moved = np.roll(ours, shift, axis=1)[:, 2:-2]
            if moved.size and np.isclose(moved, logged[:, 2:-2], rtol=1e-4).mean() > 0.8:
                return f"the run was one row {text} than the recipe: another version, or a resumed run"
    if bad.sum() <= 2:
        return "a row of an epoch that was broken off, or damaged"
    if good[: len(good) // 4].any() and bad[np.argmax(bad) :].mean() > 0.9:
        return "from there on the run had another length or other settings: it was resumed with these"
    last = len(bad) - int(np.argmax(bad[::-1]))
    if good[last:].any() and bad[:last].mean() > 0.9:
        return f"the first {last} rows follow other settings: of an earlier run whose log went on, or another warm-up"
    return None
