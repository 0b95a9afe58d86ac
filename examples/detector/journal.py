"""What a run writes down: a CSV row for each step, a progress bar, and TensorBoard on request."""

from __future__ import annotations

import csv
from collections import deque
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

LATE = 2  # steps by which numbers are read after they were asked for, so that the devices never wait


class Journal:
    """The log of a run in `folder`; goes on at step `start` by dropping what an interrupted run wrote after it."""

    def __init__(self, folder: Path, *, start: int, steps: int, steps_per_epoch: int, tensorboard: bool, quiet: bool):
        self.path = folder / "log.csv"
        self.steps_per_epoch, self.quiet = steps_per_epoch, quiet
        self.rows = kept_rows(self.path, start)
        self.waiting: deque[tuple[int, Any, float]] = deque()
        self.bar = tqdm(total=steps, initial=start, unit="batch", disable=quiet, mininterval=0.5, dynamic_ncols=True)
        self.board = None
        if tensorboard and not quiet:
            from tensorboardX import SummaryWriter

            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=start)

    def step(self, step: int, metrics: Any, waited: float) -> None:
        """Note a step's metrics, still on the devices, and the share of the step spent waiting for data."""
        self.waiting.append((step, metrics, waited))
        if len(self.waiting) > LATE:
            self.read()

    def read(self) -> None:
        """Fetch the oldest metrics that wait, and show them."""
        step, metrics, waited = self.waiting.popleft()
        metrics = jax.device_get(metrics)
        box, obj, cls = metrics["parts"].tolist()
        row = {"step": step, "epoch": step // self.steps_per_epoch, "loss": float(metrics["loss"])}
        row |= {"box": box, "obj": obj, "cls": cls, "waited": round(waited, 4), "map50": "", "map": ""}
        for group, values in metrics["hyper"].items():
            row[f"lr/{group}"] = float(values["lr"])
            momentum = values.get("momentum", values.get("betas", (None,))[0])
            row |= {} if momentum is None else {f"momentum/{group}": float(momentum)}
        row |= {f"ratio/{group}": float(value) for group, value in metrics.get("ratio", {}).items()}
        self.rows.append(row)
        rates = " ".join(f"{group} {values['lr']:.2g}" for group, values in metrics["hyper"].items())
        self.bar.update()
        self.bar.set_description(f"epoch {row['epoch']}", refresh=False)
        self.bar.set_postfix_str(f"loss {sum(metrics['parts']):.3f}, lr: {rates}", refresh=False)
        if self.board:
            for name, value in row.items():
                if isinstance(value, float):
                    self.board.add_scalar(name, value, step)

    def evaluated(self, map50: float, map_: float) -> None:
        """Note what the network is worth after the last step."""
        self.flush()
        self.rows[-1] |= {"map50": map50, "map": map_}
        if self.board:
            self.board.add_scalar("map50", map50, self.rows[-1]["step"])
            self.board.add_scalar("map", map_, self.rows[-1]["step"])

    def flush(self) -> None:
        """Read all that waits."""
        while self.waiting:
            self.read()

    def write(self) -> None:
        """Bring the file up to date, whole or not at all."""
        self.flush()
        if self.quiet or not self.rows:
            return
        working = self.path.with_suffix(".writing")
        with working.open("w", newline="") as file:
            writer = csv.DictWriter(
                file, fieldnames=list(dict.fromkeys(k for row in self.rows for k in row)), restval=""
            )
            writer.writeheader()
            writer.writerows(self.rows)
        working.replace(self.path)

    def waited(self) -> float:
        """Share of the run spent waiting for data, in the steps noted so far (the first compiles, and is left out)."""
        shares = [float(row["waited"]) for row in self.rows[1:]]
        return float(np.mean(shares)) if shares else 0.0

    def close(self) -> None:
        self.write()
        self.bar.close()
        if self.board:
            self.board.close()


def kept_rows(path: Path, start: int) -> list[dict[str, Any]]:
    """The rows of a log from before step `start`."""
    if not start or not path.is_file():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if int(row["step"]) < start]
