"""A recipe against a log."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxsched.recipe import Recipe
from jaxsched.report import curves
from jaxsched.verification._log import Log, read_log
from jaxsched.verification._match import Match, match
from jaxsched.verification._verdict import Difference, Verdict

_SOME_ROWS, _MOST_SKIPPED = 200, 64
"""Rows, and updates that were left out, that are looked at for those of a run in float16."""
_MOST_ROWS = 20_000
"""Rows that are compared, at equal distances; a log of each step of a long run has more."""
_MOST_STEPS = 2**22
"""Steps in all epochs of a log of means: a curve in float32 takes 16 MB."""


def verify(recipe: Recipe, log: Log | str | os.PathLike[str]) -> Verdict:
    """Compare the learning rates of a recipe with those that a run logged, in the digits that the log prints.

    Momentum and weight decay are compared too where the log has them. What a log does not say is tried: which column
    is which group, whether epochs count from 0 or 1, and whether a row has the lr of the last step, of the first one,
    or of the one after, or the mean of its epoch (``train_lr`` of DETR and RT-DETR). Groups whose lr is in no column
    are named in the verdict.

    Args:
        recipe: The recipe.
        log: The path of the log: a ``results.csv`` of YOLOv5 or Ultralytics, ``scalars.json`` of mmengine,
            ``*.log.json`` of mmcv, ``metrics.json`` of Detectron2, ``trainer_state.json`` of Hugging Face,
            ``summary.csv`` of timm, ``metrics.csv`` of Lightning, ``train_log.txt`` of YOLOX, ``log_rank0.txt`` of
            Swin-Transformer, ``stdout.log`` of pycls, ``big_vision_metrics.txt``, the output of DeepSpeed, Darknet,
            PaddleDetection, TensorFlow Object Detection or TensorFlow Model Garden, ``log.txt`` of DETR
            and RT-DETR, an event file of TensorBoard, or any CSV with columns of lr and of step or epoch.

    Returns:
        A verdict: print it, or ask whether it is ``ok``.

    Raises:
        OSError: If the log cannot be opened.
        ValueError: If it is not such a log, or it counts epochs and the recipe has no ``steps_per_epoch``.

    Examples:
        >>> import jaxsched as js, pathlib, tempfile
        >>> recipe = js.Recipe("sgd", dict(lr=js.linear(0.1, 0.0, 4)), steps=4, steps_per_epoch=1)
        >>> path = pathlib.Path(tempfile.mkdtemp(), "metrics.csv")
        >>> _ = path.write_text("epoch,lr\\n0,0.1\\n1,0.075\\n2,0.05\\n3,0.025\\n")
        >>> print(js.verify(recipe, path))
        4 of 4 epochs reproduced to the last printed digit
          epochs count from 0, lr of an epoch's last step
          lr is bias or norm or weight
    """
    log = log if isinstance(log, Log) else read_log(log)
    if log.step is None and recipe.steps_per_epoch is None:
        raise ValueError(f"{log.name} counts epochs, and the recipe has no steps_per_epoch")
    rows = compared_rows(log)
    found = _closest(recipe, log, rows, list(_alignments(recipe, log)))
    if log.averaged and not found.lr.good.all() and (means := list(_means(recipe, log))):
        found = max(found, _closest(recipe, log, rows, means), key=lambda each: each.lr.good.sum())
    lr, good = found.lr, np.all([each.good for each in found.matches], 0)
    seen = {group for groups in lr.groups for group in groups}
    skipped = None if lr.good.all() else _skipped(recipe, log, rows, found.way.steps[:, -1])
    return Verdict(
        log=log.name,
        rows=len(rows),
        reproduced=int(good.sum()),
        unit="epochs" if log.step is None and log.iteration is None else "rows",
        groups={
            column: " or ".join(groups)
            for each in found.matches
            for column, groups in zip(each.columns, each.groups, strict=True)
        },
        unseen=tuple(group for group in found.by_group if group not in seen),
        found=(*log.said, found.way.text),
        first=None if good.all() else _difference(log, rows, found.matches, int(np.flatnonzero(~good)[0])),
        reason=None if lr.good.all() else skipped or _reason(lr),
        explained=skipped is not None,
        steps=tuple(found.way.steps[:, -1].tolist()),
        fits=tuple(map(bool, good)),
        off=lr.off,
    )


class _Way(NamedTuple):
    """What the rows may hold.

    Attributes:
        text: It in words.
        steps: The steps of each row; [rows, steps].
        value: The value of each row from those at its steps.
    """

    text: str
    steps: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]


class _Found(NamedTuple):
    """The way in which most rows fit, and each hyperparameter in it.

    Attributes:
        way: The way.
        matches: The learning rates; then momentum and weight decay, where they are logged.
        by_group: For each group its learning rates.
    """

    way: _Way
    matches: list[Match]
    by_group: Mapping[str, np.ndarray]

    @property
    def lr(self) -> Match:
        return self.matches[0]


def _closest(recipe: Recipe, log: Log, rows: np.ndarray, ways: Sequence[_Way]) -> _Found:
    """The first way in which the most rows fit; where as many do, the one that comes nearest."""
    ways = [way._replace(steps=way.steps[rows]) for way in ways]
    every = np.unique(np.concatenate([way.steps.ravel() for way in ways]))
    values = _curves(recipe, every)
    if not values["lr"]:
        raise ValueError("no group of the recipe has an lr")

    def matched(log: Log, hyperparameter: str, way: _Way) -> Match:
        at = np.searchsorted(every, way.steps)
        return match(log, rows, {group: way.value(curve[at]) for group, curve in values[hyperparameter].items()})

    best: tuple[Match, _Way] | None = None
    for way in ways:
        lr = matched(log, "lr", way)
        if best is None or (lr.good.sum(), -lr.off) > (best[0].good.sum(), -best[0].off):
            best = lr, way
        if lr.good.all():
            break
    assert best is not None
    lr, way = best
    return _Found(way, [lr, *(matched(other, name, way) for name, other in log.others.items())], values["lr"])


def _curves(recipe: Recipe, steps: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """For each hyperparameter its values by group. A momentum or weight decay that a group does not have is 0."""
    padded = np.concatenate([steps, np.full(_rounded(len(steps)) - len(steps), steps[-1])])
    by_group = {group: values for group, values in curves(recipe, padded).items() if "lr" in values}
    return {
        name: {group: values.get(name, np.zeros(len(padded)))[: len(steps)] for group, values in by_group.items()}
        for name in ("lr", "momentum", "weight_decay")
    }


def _difference(log: Log, rows: np.ndarray, matches: Sequence[Match], row: int) -> Difference:
    """The largest relative difference in a row."""
    worst = max(matches, key=lambda each: each.worst(row))
    _, k = worst.worst(row)
    column = worst.columns[k]
    printed = next(each.columns[column] for each in (log, *log.others.values()) if column in each.columns)[rows[row]]
    return Difference(
        row, _clock(log, int(rows[row])), column, worst.groups[k][0], printed, float(worst.values[k, row])
    )


def compared_rows(log: Log) -> np.ndarray:
    """The rows that are compared: all, or at equal distances `_MOST_ROWS`."""
    return np.unique(np.linspace(0, log.rows - 1, min(log.rows, _MOST_ROWS)).astype(int))


def _rounded(count: int) -> int:
    """A few sizes for all logs, so that curves are compiled once."""
    return max(64, 1 << (count - 1).bit_length())


def batches_of_an_update(recipe: Recipe) -> int:
    """How many batches make an update at the start of the run."""
    every = recipe.accumulate.every if recipe.accumulate is not None else 1
    return int(every(0)) if callable(every) else int(every)


def _alignments(recipe: Recipe, log: Log) -> Iterator[_Way]:
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


def _single(text: str, steps: np.ndarray) -> _Way:
    return _Way(text, steps[:, None], lambda values: values[:, 0])


def _means(recipe: Recipe, log: Log) -> Iterator[_Way]:
    """The means over an epoch that the rows may hold."""
    nb = recipe.steps_per_epoch
    if nb is None or nb < 2 or log.rows * nb > _MOST_STEPS:
        return
    for said, epoch in _epochs(log):
        steps = _steps(epoch[:, None] * nb + np.arange(nb + 1))
        for text, value in _MEANS.items():
            yield _Way(f"{said}, {text}", steps, value)


def _before_the_scheduler(lr: np.ndarray) -> np.ndarray:
    """As the mean of the lr after each step, where a scheduler that counts epochs acts after the row is written.

    The lr after the last step counts if a warm-up goes on to it in a line; a fall does not.
    """
    before, last, after = lr[:, -3], lr[:, -2], lr[:, -1]
    end = np.maximum(after, np.minimum(last, 2 * last - before))
    mean: np.ndarray = (lr[:, 1:-1].sum(-1, dtype=np.float64) + end) / (lr.shape[1] - 1)
    return mean


_AFTER = "mean over an epoch of the lr after each step"
_MEANS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean of the lr over an epoch": lambda lr: lr[:, :-1].mean(-1, dtype=np.float64),
    _AFTER: lambda lr: lr[:, 1:].mean(-1, dtype=np.float64),
    f"{_AFTER}, a drop at its end left out": _before_the_scheduler,
}
"""From the values at the steps of each epoch and at the one after, [rows, steps], to what a row may hold."""


def beside_first_mean(recipe: Recipe, log: Log) -> float:
    """What the mean lr after each step of the first epoch is above that of a log; 0 if it rounds to that."""
    assert log.epoch is not None
    row = int(log.epoch.argmin())  # rows that were logged again after a stop are at the end
    columns = {name: (texts[row],) for name, texts in log.columns.items()}
    first = dataclasses.replace(log, columns=columns, epoch=np.zeros(1), others={})
    ways = [way for way in _means(recipe, first) if way.value is _MEANS[_AFTER]]
    lr = _closest(recipe, first, np.arange(1), ways).lr
    return 0.0 if lr.good.all() else float(lr.values[0, 0] - lr.logged[0, 0])


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


def _clock(log: Log, row: int) -> str:
    if log.step is not None:
        return f"step {log.step[row]:.0f}"
    assert log.epoch is not None
    return f"epoch {log.epoch[row]:.6g}"


def _skipped(recipe: Recipe, log: Log, rows: np.ndarray, steps: np.ndarray) -> str | None:
    """Updates that a run in float16 left out, where each row is the recipe's of a few updates before, never fewer.

    The Trainer, DeepSpeed and Lightning do not step the scheduler when gradients overflow.
    """
    if log.step is None or len(rows) < 3:
        return None
    some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _SOME_ROWS)).astype(int))
    lags = np.arange(_MOST_SKIPPED)[:, None] * batches_of_an_update(recipe)
    shifted = np.maximum(steps[some] - lags, 0)  # [lags, rows]
    every, at = np.unique(shifted, return_inverse=True)
    curves = _curves(recipe, every)["lr"]
    tall = {group: curve[at.reshape(-1)] for group, curve in curves.items()}
    good = match(log, np.tile(rows[some], len(lags)), tall).good.reshape(shifted.shape)
    lag, first = 0, int(np.argmax(good[:, 0]))
    for row in good.T:
        fitting = np.flatnonzero(row[lag:])
        if not len(fitting):
            return None
        lag += int(fitting[0])
    if first == lag >= np.median(np.diff(log.step[rows])):  # all rows are those before
        return None
    left = f"about {lag} updates were" if lag > 1 else "an update was"
    return f"{left} left out, and the schedule did not step: gradients in float16 overflowed"


def _reason(lr: Match) -> str | None:
    """The likeliest reason why learning rates differ, where one is plain."""
    good, ours, low, high, logged = lr.good, lr.values, lr.low, lr.high, lr.logged
    bad = ~good
    positive = ours > 0
    if bad.sum() > 2 and positive.any():  # whether one factor takes the recipe's rates into what is printed
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
