"""What a run writes down: ``log.csv`` with a row for each step, ``results.csv`` with YOLOv5's columns for each epoch,
and TensorBoard on request."""

from __future__ import annotations

import csv
import math
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from examples.detector.evaluate import Evaluation

LATE = 2  # metrics are read this many steps after they were computed, so that the devices never wait
PARTS = ("box_loss", "obj_loss", "cls_loss")
METRICS = ("metrics/precision", "metrics/recall", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95")
ORDER = ("bias", "weight", "norm")  # YOLOv5's parameter groups: x/lr0, x/lr1, x/lr2; others are in log.csv alone


class Journal:
    """The logs of a run in `folder`.

    Args:
        folder: Where to write.
        start: The step the run starts or resumes at; later rows of an interrupted run are dropped.
        steps_per_epoch: Steps in an epoch.
        rates: For each parameter group its learning rate at each step.
        tensorboard: Also write for TensorBoard.
        quiet: Write nothing.

    Attributes:
        rows: Of log.csv.
        epochs: Rows of results.csv.
    """

    def __init__(
        self,
        folder: Path,
        *,
        start: int,
        steps_per_epoch: int,
        rates: Mapping[str, np.ndarray],
        tensorboard: bool = False,
        quiet: bool = False,
    ):
        self.path, self.results = folder / "log.csv", folder / "results.csv"
        self.steps_per_epoch, self.quiet, self.rates = steps_per_epoch, quiet, rates
        self.rows = kept_rows(self.path, "step", start)
        self.epochs = kept_rows(self.results, "epoch", start // steps_per_epoch)
        self.waiting: deque[tuple[int, Any, float]] = deque()
        self.diverged: str | None = None
        self.board = None
        if tensorboard and not quiet:
            from tensorboardX import SummaryWriter

            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=start)

    def step(self, step: int, metrics: Any, waited: float) -> None:
        """Note a step's metrics, still on the devices, and the share of the step spent waiting for data.

        Raises:
            FloatingPointError: If the loss of a step noted before is not finite.
        """
        self.waiting.append((step, metrics, waited))
        if len(self.waiting) > LATE:
            self.read()
            self.check()

    def read(self) -> None:
        """Read the oldest metrics that wait, into a row."""
        step, metrics, waited = self.waiting.popleft()
        metrics = jax.device_get(metrics)
        loss = float(metrics["loss"])
        row: dict[str, Any] = {"step": step, "epoch": step // self.steps_per_epoch, "train/loss": loss}
        row |= {f"train/{name}": float(value) for name, value in zip(PARTS, metrics["parts"], strict=True)}
        row |= {"waited": round(waited, 4)} | dict.fromkeys((*METRICS, *(f"val/{name}" for name in PARTS)), "")
        for group, values in metrics["hyper"].items():
            row[f"lr/{group}"] = float(values["lr"])
            momentum = values.get("momentum", values.get("betas", (None,))[0])
            row |= {} if momentum is None else {f"momentum/{group}": float(momentum)}
        row |= {f"ratio/{group}": float(value) for group, value in metrics.get("ratio", {}).items()}
        self.rows.append(row)
        self.to_board(row, step)
        if not math.isfinite(loss):
            self.diverged = self.diverged or f"the loss is {loss:g} at step {step} (epoch {row['epoch'] + 1})"

    def check(self) -> None:
        """Raise FloatingPointError if a loss that was read is not finite."""
        if self.diverged:
            raise FloatingPointError(self.diverged)

    def flush(self) -> None:
        """Read all metrics that wait.

        Raises:
            FloatingPointError: If a loss is not finite.
        """
        while self.waiting:
            self.read()
        self.check()

    def epoch(self, evaluation: Evaluation | None) -> dict[str, Any]:
        """End an epoch: a row of results.csv, with the evaluation where there was one."""
        self.flush()
        last = self.rows[-1]
        found = {} if evaluation is None else columns(evaluation)
        last |= found
        self.to_board(found, last["step"])
        of_epoch = [row for row in self.rows[-self.steps_per_epoch :] if int(row["epoch"]) == int(last["epoch"])]
        row = {"epoch": last["epoch"]}
        row |= {f"train/{name}": float(np.mean([float(r[f"train/{name}"]) for r in of_epoch])) for name in PARTS}
        row |= {name: last.get(name, "") for name in (*METRICS, *(f"val/{name}" for name in PARTS))}
        groups = [group for group in ORDER if group in self.rates]
        row |= {f"x/lr{k}": float(self.rates[group][int(last["step"])]) for k, group in enumerate(groups)}
        self.epochs.append(row)
        return row

    def to_board(self, row: Mapping[str, Any], step: int) -> None:
        if self.board:
            for name, value in row.items():
                if isinstance(value, float):
                    self.board.add_scalar(name, value, step)

    def write(self) -> None:
        """Bring the files up to date, each whole or not at all; also with losses that are not finite."""
        while self.waiting:
            self.read()
        if not self.quiet:
            write_rows(self.path, self.rows)
            write_rows(self.results, self.epochs)

    def waited(self) -> float:
        """Share of the run spent waiting for data, without the first step, which compiles."""
        shares = [float(row["waited"]) for row in self.rows[1:]]
        return float(np.mean(shares)) if shares else 0.0

    def close(self) -> None:
        """Write what is left."""
        self.write()
        if self.board:
            self.board.close()


def columns(evaluation: Evaluation) -> dict[str, float]:
    """An evaluation by YOLOv5's column names."""
    values = (evaluation.precision, evaluation.recall, evaluation.map50, evaluation.map)
    found = dict(zip(METRICS, values, strict=True))
    if evaluation.losses is not None:
        found |= {f"val/{name}": value for name, value in zip(PARTS, evaluation.losses, strict=True)}
    return found


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV whose columns are those of all rows."""
    if not rows:
        return
    working = path.with_name(f".{path.name}.writing")
    with working.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(k for row in rows for k in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
    working.replace(path)


def kept_rows(path: Path, key: str, end: int) -> list[dict[str, Any]]:
    """The rows of a CSV whose `key` is below `end`.

    Raises:
        ValueError: If the file is damaged.
    """
    if not end or not path.is_file():
        return []
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = [row for row in reader if int(row[key]) < end]
        if key not in (reader.fieldnames or ()):
            raise ValueError(f"it has no column {key}")
        if [int(row[key]) for row in rows] != list(range(end - len(rows), end)):
            raise ValueError(f"rows are missing before {key} {end}")
        if any(None in (*row, *row.values()) for row in rows):
            raise ValueError("a row has not as many values as the first line has names")
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"{path} is damaged ({error}). Move it away; the run then goes on with a new one.") from None
    return rows
