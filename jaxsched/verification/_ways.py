"""What the rows of a log may hold: the lr of which step, or a mean over an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from jaxsched.recipe import Recipe
from jaxsched.verification._log import Log

_MOST_STEPS = 2**22
"""Steps in all epochs of a log of means: a curve in float32 takes 16 MB."""


class Way(NamedTuple):
    """What the rows of a log may hold.

    Attributes:
        text: In words.
        steps: The steps of each row; [rows, steps].
        value: The value of each row from those at its steps.
    """

    text: str
    steps: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]


def batches_of_an_update(recipe: Recipe) -> int:
    """How many batches make an update at the start of the run."""
    every = recipe.accumulate.every if recipe.accumulate is not None else 1
    return int(every(0)) if callable(every) else int(every)


def alignments(recipe: Recipe, log: Log) -> Iterator[Way]:
    """The single steps that the rows may be of."""
    every, nb = batches_of_an_update(recipe), recipe.steps_per_epoch
    if log.step is not None:
        for each in sorted({1, every}):
            unit = "steps" if each == 1 else f"updates of {each} batches"
            for lag, text in ((0, "the step logged"), (-1, "the step before"), (1, "the step after")):
                yield _single(f"{unit} in the log, lr of {text}", _batches(log.step + lag, each, nb))
        return
    assert nb is not None
    for said, epoch in _epochs(log):
        if log.iteration is not None:
            for lag in (-1, 0):
                yield _single(f"{said}, iterations from {-lag}", _steps(epoch * nb + log.iteration + lag))
            continue
        yield _single(f"{said}, lr of an epoch's last step", _steps((epoch + 1) * nb - 1))
        yield _single(f"{said}, lr of an epoch's first step", _steps(epoch * nb))
        yield _single(f"{said}, lr of the step after an epoch", _steps((epoch + 1) * nb))


def _single(text: str, steps: np.ndarray) -> Way:
    return Way(text, steps[:, None], lambda values: values[:, 0])


def means(recipe: Recipe, log: Log) -> Iterator[Way]:
    """The means over an epoch that the rows may hold."""
    nb = recipe.steps_per_epoch
    if nb is None or nb < 2 or log.rows * nb > _MOST_STEPS:
        return
    for said, epoch in _epochs(log):
        steps = _steps(epoch[:, None] * nb + np.arange(nb + 1))
        for text, value in MEANS.items():
            yield Way(f"{said}, {text}", steps, value)


def _before_the_scheduler(lr: np.ndarray) -> np.ndarray:
    """The mean of the lr after each step, for trainers that write the row before the scheduler of the epoch acts.

    Of the lr after the last step only a rise counts, up to the line through the two before, as in a warm-up.
    """
    before, last, after = lr[:, -3], lr[:, -2], lr[:, -1]
    end = np.maximum(after, np.minimum(last, 2 * last - before))
    mean: np.ndarray = (lr[:, 1:-1].sum(-1, dtype=np.float64) + end) / (lr.shape[1] - 1)
    return mean


AFTER = "mean over an epoch of the lr after each step"
MEANS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean of the lr over an epoch": lambda lr: lr[:, :-1].mean(-1, dtype=np.float64),
    AFTER: lambda lr: lr[:, 1:].mean(-1, dtype=np.float64),
    f"{AFTER}, a drop at its end left out": _before_the_scheduler,
}
"""From the values at the steps of each epoch and at the one after, [rows, steps], to what a row may hold."""


def _epochs(log: Log) -> Iterator[tuple[str, np.ndarray]]:
    """The epochs of the rows, counted from 0, and in words how they are logged."""
    assert log.epoch is not None
    for base in (0, 1) if log.epoch.min() < 1 else (1, 0):
        if log.epoch.min() >= base:
            yield f"epochs count from {base}", log.epoch - base


def _batches(updates: np.ndarray, every: int, nb: int | None) -> np.ndarray:
    """The batches that updates are of; the last update of an epoch may have fewer."""
    if every == 1 or nb is None:
        return _steps(updates * every)
    of_epoch = -(-nb // every)
    return _steps(updates // of_epoch * nb + updates % of_epoch * every)


def _steps(steps: np.ndarray) -> np.ndarray:
    return np.clip(steps, 0, 2**31 - 1).astype(np.int64)
