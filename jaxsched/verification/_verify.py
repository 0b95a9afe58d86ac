"""A recipe against a log."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxsched.recipe import Recipe
from jaxsched.verification._log import Log, read_log
from jaxsched.verification._match import Match, by_hyperparameter, match
from jaxsched.verification._reasons import likely_reason, skipped_updates
from jaxsched.verification._verdict import Difference, Verdict
from jaxsched.verification._ways import AFTER, MEANS, Way, alignments, means

_MOST_ROWS = 20_000
"""Rows that are compared, at equal distances; a log of each step of a long run has more."""


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
    found = _closest(recipe, log, rows, list(alignments(recipe, log)))
    if log.averaged and not found.lr.good.all() and (averages := list(means(recipe, log))):
        found = max(found, _closest(recipe, log, rows, averages), key=lambda each: each.lr.good.sum())
    lr, good = found.lr, found.good
    seen = {group for groups in lr.groups for group in groups}
    skipped = None if lr.good.all() else skipped_updates(recipe, log, rows, found.way.steps[:, -1])
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
        reason=None if lr.good.all() else skipped or likely_reason(lr),
        explained=skipped is not None,
        steps=tuple(found.way.steps[:, -1].tolist()),
        fits=tuple(map(bool, good)),
        off=lr.off,
    )


class _Found(NamedTuple):
    """The way in which most rows fit, and each hyperparameter in it.

    Attributes:
        way: The way.
        matches: The learning rates; then momentum and weight decay, where they are logged.
        by_group: For each group its learning rates.
    """

    way: Way
    matches: list[Match]
    by_group: Mapping[str, np.ndarray]

    @property
    def lr(self) -> Match:
        return self.matches[0]

    @property
    def good(self) -> np.ndarray:
        """The rows of which every hyperparameter fits."""
        good: np.ndarray = np.all([each.good for each in self.matches], 0)
        return good

    @property
    def rank(self) -> tuple[float, ...]:
        """Larger the better: rows of which the lr fits, rows of which all does, how near the lr comes."""
        return float(self.lr.good.sum()), float(self.good.sum()), -self.lr.off


def _closest(recipe: Recipe, log: Log, rows: np.ndarray, ways: Sequence[Way]) -> _Found:
    """The way of the highest rank; of several, the first."""
    ways = [way._replace(steps=way.steps[rows]) for way in ways]
    every = np.unique(np.concatenate([way.steps.ravel() for way in ways]))
    values = by_hyperparameter(recipe, every)
    if not values["lr"]:
        raise ValueError("no group of the recipe has an lr")

    def matched(log: Log, hyperparameter: str, way: Way) -> Match:
        at = np.searchsorted(every, way.steps)
        return match(log, rows, {group: way.value(curve[at]) for group, curve in values[hyperparameter].items()})

    best: _Found | None = None
    for way in ways:
        lr = matched(log, "lr", way)
        others = [matched(other, name, way) for name, other in log.others.items()]
        found = _Found(way, [lr, *others], values["lr"])
        if best is None or found.rank > best.rank:
            best = found
        if found.good.all():
            break
    assert best is not None
    return best


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


def beside_first_mean(recipe: Recipe, log: Log) -> float:
    """The recipe's mean of the lr after each step of the first epoch, less the log's; 0 if it rounds to the log's."""
    assert log.epoch is not None
    row = int(log.epoch.argmin())  # rows that were logged again after a stop are at the end
    columns = {name: (texts[row],) for name, texts in log.columns.items()}
    first = dataclasses.replace(log, columns=columns, epoch=np.zeros(1), others={})
    ways = [way for way in means(recipe, first) if way.value is MEANS[AFTER]]
    lr = _closest(recipe, first, np.arange(1), ways).lr
    return 0.0 if lr.good.all() else float(lr.values[0, 0] - lr.logged[0, 0])


def _clock(log: Log, row: int) -> str:
    if log.step is not None:
        return f"step {log.step[row]:.0f}"
    assert log.epoch is not None
    return f"epoch {log.epoch[row]:.6g}"
