"""Logs of training runs: rows of numbers, kept as they are printed."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxsched.checks import one_line
from jaxsched.ports.shared import File, opened
from jaxsched.verification import _events as events
from jaxsched.verification._lines import from_lines

LARGEST_LOG = 64 * 2**20
"""Bytes of a log."""
MOST_DIGITS = 12
"""Significant digits of a column, above which it is printed in full: it is then compared as float32."""
FLOAT32 = 5e-7
"""What curves in float32 are off by, relatively: a few roundings of 6e-8."""
_MMCV_DECIMALS = 5
"""What mmcv rounds all numbers of its ``*.log.json`` to, whose rows alone have a ``mode``."""
_LR = re.compile(r"(?:^|[^a-z])(?:lr|learning_rate)(?:[^a-z](?!.*(?:momentum|weight_decay)$)|$)")
"""A column of learning rates; not ``lr-SGD-momentum``, as Lightning calls what it logs beside ``lr-SGD``."""
_OTHERS = {
    "momentum": re.compile(r"(?:lr-.*|(?:train/|params/)?)momentum(?:/[^/]*)?"),
    "weight_decay": re.compile(r"(?:lr-.*|(?:train/|params/)?)(?:weight_decay|wd)(?:/[^/]*)?"),
}
"""Columns of other hyperparameters; not ``ema_momentum`` and the like."""
_RELATIVE = re.compile(r"global_schedule\d*")
"""What big_vision logs: the schedules, without the lr that they multiply."""
_HALF_WAVE = 3e-7
"""What ``1 + cos`` is off by in float32, relative to its peak."""
_STEPS = ("step", "global_step", "iteration")


@dataclasses.dataclass(frozen=True)
class Log:
    """What a run logged of its learning rates, and of its momentum and weight decay where it did.

    Attributes:
        name: The file.
        columns: For each column of learning rates the values as printed.
        step: The step of each row as logged, or None where the log counts epochs alone.
        epoch: The epoch of each row as logged, or None.
        iteration: The iteration within its epoch, or None.
        said: What was passed over.
        decimals: Digits after the point that learning rates are rounded to, where the trainer does that.
        epoch_decimals: Digits after the point that epochs are printed with.
        pace: Steps and their epochs in rows without a learning rate, where those with one have no epoch.
        steps_per_epoch: The steps of an epoch, where the log prints them.
        relative: Whether the columns are the learning rates up to a factor that is not logged.
        in_float32: Whether the trainer computed the learning rates in float32.
        averaged: Whether a row, of an epoch, may hold the mean over it, as the ``train_lr`` of DETR's scripts does.
        others: The same rows with the columns of ``"momentum"`` or ``"weight_decay"``, where they are logged.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    step: np.ndarray | None = None
    epoch: np.ndarray | None = None
    iteration: np.ndarray | None = None
    said: tuple[str, ...] = ()
    decimals: int | None = None
    epoch_decimals: int = 0
    pace: tuple[np.ndarray, np.ndarray] | None = None
    steps_per_epoch: int | None = None
    relative: bool = False
    in_float32: bool = False
    averaged: bool = False
    others: Mapping[str, Log] = dataclasses.field(default_factory=dict)

    def by_epoch(self) -> Log:
        """The log, if it counts steps alone, with these as its epochs."""
        steps_alone = self.epoch is None and self.step is not None
        return dataclasses.replace(self, epoch=self.step, step=None) if steps_alone else self

    def without(self, columns: Mapping[str, str]) -> Log:
        """The log without columns that hold no learning rate, each with the reason."""
        said = tuple(f"{name} is passed over: {why}" for name, why in columns.items() if name in self.columns)
        kept = {name: values for name, values in self.columns.items() if name not in columns}
        return dataclasses.replace(self, columns=kept, said=(*self.said, *said)) if kept else self

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))

    def bounds(self, exact: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest value that is printed as each one: [columns, rows].

        Args:
            exact: What is compared is in float64; else in float32, whose roundings are allowed for.
        """
        printed = [text for column in self.columns.values() for text in column]
        digits = max(map(_digits, printed))
        values = np.array([[float(text) for text in column] for column in self.columns.values()])
        magnitude = np.floor(np.log10(np.where(values == 0, 1e-30, np.abs(values))))
        half = 0.5 * 10.0 ** (magnitude - min(digits, MOST_DIGITS) + 1) * (1 + 1e-6)
        half = np.where(values == 0, 1e-12, half)
        if self.decimals is not None:
            half = np.full(values.shape, 0.5 * 10.0**-self.decimals * (1 + 1e-6))
        if self.relative or self.in_float32:
            half = half + _HALF_WAVE * values.max(-1, keepdims=True)
        if not exact or digits > MOST_DIGITS:
            half = half + FLOAT32 * np.abs(values)
        return values - half, values + half


def read_log(path: str | os.PathLike[str]) -> Log:
    """The log at a path: CSV, JSON lines, a trainer's state, TensorBoard's event file, or the lines of `from_lines`.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it holds no rows with a learning rate and a step or an epoch.
    """
    _, stream = opened(Path(path))
    with stream:
        if events.is_events(stream.read(12)):
            name = one_line(str(path), 200)
            return _of_events(name, *events.scalars(stream, name))
    file = File.read(Path(path), largest=LARGEST_LOG)
    text = file.text.lstrip()
    printed, decimals, length = from_lines(text)
    if printed:
        return dataclasses.replace(_log(file.name, printed, decimals), steps_per_epoch=length)
    return _log(file.name, _from_json(file.name, text) if text.startswith(("{", "[")) else _from_csv(text))


def _of_events(name: str, rows: list[dict[str, Any]], said: list[str]) -> Log:
    """Rates that Keras logs, as ``epoch_learning_rate``, count epochs; YOLO's do too, but do not say so.

    TensorFlow 2, whose files end in ``.v2``, computes them in float32.
    """
    log = _log(name, rows)
    log = dataclasses.replace(log, said=(*said, *log.said), in_float32=name.endswith(".v2"))
    by_epoch = all(column.rpartition("/")[2].startswith("epoch_") for column in log.columns)
    return log.by_epoch() if by_epoch else log


def _from_csv(text: str) -> list[dict[str, str]]:
    lines = csv.reader(io.StringIO(text), delimiter="\t" if "\t" in text.split("\n", 1)[0] else ",")
    header = [name.strip() for name in next(lines, [])]
    rows = []
    for cells in lines:
        if any(cell.strip() for cell in cells):
            rows.append({name: cell.strip() for name, cell in zip(header, cells, strict=False)})
    return rows


def _from_json(name: str, text: str) -> list[dict[str, Any]]:
    """Rows with numbers as they are written."""

    def parsed(piece: str) -> Any:
        try:
            return json.loads(piece, parse_float=str, parse_int=str)
        except (ValueError, RecursionError):
            return None

    whole = parsed(text)
    if isinstance(whole, dict) and isinstance(whole.get("log_history"), list):
        rows = whole["log_history"]
    elif isinstance(whole, list):
        rows = whole
    else:
        rows = [parsed(line) for line in text.splitlines()]
    found = [row for row in rows if isinstance(row, dict) and row.get("mode", "train") == "train"]
    if not found:
        raise ValueError(f"{name} is not a log: it has neither rows of JSON nor a log_history")
    return found


def _log(name: str, rows: Sequence[Mapping[str, Any]], decimals: Mapping[str, int] | None = None) -> Log:
    clocks = [clock for clock in (*_STEPS, "iter", "epoch") if any(clock in row for row in rows)]
    names = list(dict.fromkeys(key for row in rows for key in row if isinstance(key, str) and _LR.search(key.lower())))
    names = [key for key in names if any(_is_number(row.get(key)) for row in rows)]
    relative = not names
    if relative:
        found = dict.fromkeys(key for row in rows for key in row if isinstance(key, str) and _RELATIVE.fullmatch(key))
        names = [key for key in found if any(_is_number(row.get(key)) for row in rows)]
    if not names or not clocks:
        lacking = "a learning rate" if not names else f"{', '.join(_STEPS)}, iter or epoch"
        raise ValueError(f"{name}: no column has {lacking}")
    notes = []
    with_lr = [row for row in rows if any(row.get(key) not in (None, "") for key in names)]
    good = [row for row in with_lr if all(_is_number(row.get(key)) for key in [*names, *clocks])]
    if not good:  # columns that are not in all rows: those of the first row
        names = [key for key in names if _is_number(with_lr[0].get(key))]
        clocks = [clock for clock in clocks if _is_number(with_lr[0].get(clock))]
        good = [row for row in with_lr if names and all(_is_number(row.get(key)) for key in [*names, *clocks])]
    if not good or not clocks:
        raise ValueError(f"{name}: no row has a learning rate with its step or epoch")
    if damaged := len(with_lr) - len(good):
        notes.append(f"{damaged} damaged row{'s' * (damaged > 1)} passed over")
    last = {tuple(row[clock] for clock in clocks): k for k, row in enumerate(good)}
    kept = [good[k] for k in sorted(last.values())]
    if repeated := len(good) - len(kept):
        notes.append(f"{repeated} row{'s' * (repeated > 1)} logged again later, after a stop; the last one counts")
    clock = {key: np.array([float(row[key]) for row in kept]) for key in clocks}
    step = next((clock[key] for key in _STEPS if key in clock), None)
    if step is None and "iter" in clock and ("epoch" not in clock or _never_restarts(clock["epoch"], clock["iter"])):
        step = clock["iter"]
    epochs = [row for row in rows if step is not None and "epoch" not in clock and _is_number(row.get("epoch"))]
    pace = [(float(row[key]), float(row["epoch"])) for row in epochs for key in _STEPS if _is_number(row.get(key))]
    if decimals is None:
        decimals = dict.fromkeys(("lr", *_OTHERS), _MMCV_DECIMALS) if any("mode" in row for row in kept) else {}
    log = Log(
        name,
        {key: tuple(str(row[key]) for row in kept) for key in names},
        step,
        clock.get("epoch"),
        clock.get("iter") if step is None else None,
        tuple(notes),
        decimals=decimals.get("lr"),
        epoch_decimals=max(len(str(row["epoch"]).partition(".")[2]) for row in kept) if "epoch" in clock else 0,
        pace=(np.array(pace).T[0], np.array(pace).T[1]) if pace else None,
        relative=relative,
        averaged=names == ["train_lr"] and set(clock) == {"epoch"},
    )
    others = {}
    for hyperparameter, pattern in _OTHERS.items():
        logged = [key for key in kept[0] if isinstance(key, str) and pattern.fullmatch(key.lower())]
        columns = {
            key: tuple(str(row[key]) for row in kept) for key in logged if all(_is_number(r.get(key)) for r in kept)
        }
        if columns:
            digits = decimals.get(hyperparameter)
            others[hyperparameter] = dataclasses.replace(log, columns=columns, decimals=digits, relative=False)
    return dataclasses.replace(log, others=others)


def _never_restarts(epoch: np.ndarray, iteration: np.ndarray) -> bool:
    """Whether iterations go on counting when an epoch ends, as those of an iteration-based runner do."""
    return bool((epoch > epoch.min()).any() and (np.diff(iteration) > 0).all())


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value)) and abs(float(value)) < 1e15
    except (TypeError, ValueError):
        return False


def _digits(text: str) -> int:
    return len(re.sub(r"[eE].*|[^0-9]", "", text).lstrip("0"))
