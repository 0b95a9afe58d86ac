"""The files of a run against its log: what the files do not say is solved for."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxsched.checks import one_line
from jaxsched.ports.shared import File, Kind, MissingError, Observed, Solution, in_time
from jaxsched.recipe import Recipe
from jaxsched.verification import _lengths
from jaxsched.verification._log import Log, read_log
from jaxsched.verification._verdict import Verdict
from jaxsched.verification._verify import verify

AUTO_BATCH = 16
"""The batch size that stands for the one that AutoBatch chose: its own default where it cannot measure memory."""
_NAMES = (
    "results.csv",
    "trainer_state.json",
    "checkpoint-*/trainer_state.json",
    "metrics.json",
    "summary.csv",
    "metrics.csv",
    "log_rank0.txt",
    "train_log.txt",
    "stdout.log",
    "log.txt",
    "big_vision_*metrics.txt",
    "scalars.json",
    "vis_data/scalars.json",
    "*/vis_data/scalars.json",
    "*.log.json",
    "*/metrics.csv",
    "*.csv",
    "events.out.tfevents.*",
    "runs/*/events.out.tfevents.*",
    "*/events.out.tfevents.*",
    "*/*/events.out.tfevents.*",
)
"""What a log is called in the folder of a run, the likeliest first."""


def find_log(folder: str | os.PathLike[str]) -> Path:
    """The log in the folder of a run: of several, the last one with learning rates.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If there is none, or none has learning rates.
    """
    for pattern in _NAMES:
        found = sorted((path for path in Path(folder).glob(pattern) if path.is_file()), key=in_time)
        for path in reversed(found):
            if path == found[0] or _is_log(path):
                return path
    listed = ", ".join(_NAMES)
    if Path(folder, "results.txt").is_file():
        listed += "; a results.txt, as of YOLOv5 to 5.0, YOLOR and YOLOv7, has no learning rates"
    raise ValueError(f"{one_line(str(folder), 200)}: the folder has no known log ({listed}); give --log")


def _is_log(path: Path) -> bool:
    try:
        read_log(path)
    except ValueError:
        return False
    return True


def verify_run(
    kind: Kind, file: File, log: Log | str | os.PathLike[str], given: Mapping[str, Any]
) -> tuple[Recipe | None, Verdict]:
    """The recipe of a run and the verdict on it.

    Args:
        kind: What the file is.
        file: The file of settings.
        log: The log of the run, or its path.
        given: Arguments of the port that the user gives.

    Raises:
        OSError, TypeError, ValueError: As `verify`, and what the port raises.
    """
    log = log if isinstance(log, Log) else read_log(log)
    assert kind.read is not None
    log = log.without(kind.mislabelled(file)) if kind.mislabelled is not None else log
    if kind.solve is None:
        return _lengths.solve(functools.partial(kind.read, file), log, dict(given))
    log = log.by_epoch()  # as YOLO's trainers count in TensorBoard
    try:
        return _solved(kind, file, log, given)
    except MissingError as error:
        if error.names != ("batch_size",):
            raise
    recipe, verdict = _solved(kind, file, log, {**given, "batch_size": AUTO_BATCH})
    text = f"AutoBatch chose the batch; {AUTO_BATCH} is assumed, which no learning rate depends on"
    return recipe, verdict.having(text)


def _solved(kind: Kind, file: File, log: Log, given: Mapping[str, Any]) -> tuple[Recipe | None, Verdict]:
    """The best solution; where the log does not follow the file's number of epochs, with that of the log too."""
    recipe, verdict = _best(kind, file, log, given)
    if verdict.ok or "epochs" in given or "epochs" not in kind.options or log.epoch is None:
        return recipe, verdict
    epochs = int(log.epoch.max()) + int(log.epoch.min() < 1)
    other, otherwise = _best(kind, file, log, {**given, "epochs": epochs})
    if otherwise.reproduced > verdict.reproduced:
        return other, otherwise.having(f"epochs {epochs}, as the log has and the file does not")
    bad = np.flatnonzero(~np.array(verdict.fits, bool))
    if len(verdict.fits) == log.rows and len(bad) > 2:
        _, otherwise = _best(kind, file, log, {**given, "epochs": epochs}, (bad, bad[1:]))
        more = [row for row in bad.tolist() if otherwise.fits and otherwise.fits[row]]
        if len(more) > 2 and len(more) >= len(bad) - 2:
            first, last = log.epoch[[more[0], more[-1]]]
            text = f"epochs {first:.0f} to {last:.0f} are those of a run of {epochs} epochs: it was resumed so"
            return recipe, dataclasses.replace(verdict, reason=text)
    return recipe, verdict


def _best(
    kind: Kind, file: File, log: Log, given: Mapping[str, Any], parts: Iterable[np.ndarray] | None = None
) -> tuple[Recipe | None, Verdict]:
    """The solution that reproduces most rows, of those that reproduce one of the parts."""
    assert kind.solve is not None
    best: tuple[Recipe | None, Verdict] | None = None
    for some in parts or _parts(log):  # all rows; and where no solution has them all, those before or after a break
        for observed in _observed(log, some):
            for solution in kind.solve(file, observed, **given):
                recipe, verdict = _with(kind, file, log, given, solution)
                if best is None or verdict.reproduced > best[1].reproduced:
                    best = recipe, verdict
                if verdict.ok:
                    return best
        if best is not None:
            return best
    nothing = "no length of an epoch, version or number of classes gives these learning rates"
    return None, Verdict(log.name, log.rows, 0, "epochs", {}, found=log.said, reason=nothing)


def _with(kind: Kind, file: File, log: Log, given: Mapping[str, Any], solution: Solution) -> tuple[Recipe, Verdict]:
    assert kind.read is not None
    recipe = kind.read(file, **{**given, **solution.options})
    verdict = verify(recipe, log)
    return recipe, verdict.having(*solution.said)


def _parts(log: Log) -> Iterator[np.ndarray]:
    rows = np.arange(log.rows)
    yield rows
    if log.rows > 3:
        half = log.rows // 2
        yield from (rows[:half], rows[half:], rows[3:], rows[: max(half // 2, 2)])


def _observed(log: Log, rows: np.ndarray) -> Iterator[Observed]:
    """The rows as the ports see them: the lr of an epoch's last step, epochs from 0."""
    if log.epoch is None or log.step is not None or log.iteration is not None:
        raise ValueError(f"{log.name}: rows must be of epochs, as in the results.csv of a run")
    low, high = log.bounds(exact=True)
    first = log.epoch.min()
    for base in (0, 1) if first < 1 else (1, 0):
        epochs = log.epoch[rows].astype(int) - base
        if epochs.min() >= 0:
            yield Observed(epochs, low[:, rows], high[:, rows])
