"""What a person sees of a run: a bar that moves with the steps, and a line for each epoch."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from examples.detector.journal import METRICS, PARTS

NARROW = 40  # columns below which a bar says nothing


class Console:
    """Prints to standard output; the bar goes to standard error, and only to a terminal that is wide enough.

    Args:
        steps, epochs: Of the whole run.
        quiet: Print nothing.
    """

    def __init__(self, *, steps: int, epochs: int, quiet: bool = False):
        self.steps, self.epochs, self.quiet = steps, epochs, quiet
        self.bar: tqdm | None = None

    def say(self, text: str) -> None:
        """Print a line, above the bar where there is one."""
        if self.quiet:
            return
        if self.bar is not None:
            self.bar.clear()
        print(text, flush=True)

    def begin(self, done: int) -> None:
        """Show the bar and the table's head, once the step is compiled: before, a bar would predict hours."""
        wide = sys.stderr.isatty() and shutil.get_terminal_size().columns >= NARROW
        self.bar = tqdm(total=self.steps, initial=done, unit="step", disable=self.quiet or not wide, mininterval=0.5,
                        dynamic_ncols=True, leave=False)  # fmt: skip
        names = ("box", "obj", "cls", "P", "R", "mAP50", "mAP50-95", "lr")
        self.say(f"{'epoch':>9}" + "".join(f"{name:>9}" for name in names))

    def step(self, loss: float | None) -> None:
        """One step more, with the last loss that is known."""
        if self.bar is not None:
            if loss is not None:
                self.bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            self.bar.update()

    def epoch(self, row: Mapping[str, Any]) -> None:
        """The line of an epoch, from its row of results.csv; epochs are counted from 1."""
        values = [row[name] for name in (*(f"train/{part}" for part in PARTS), *METRICS)]
        shown = "".join(f"{'':>9}" if value == "" else f"{float(value):>9.4f}" for value in values)
        epoch = f"{int(row['epoch']) + 1}/{self.epochs}"
        self.say(f"{epoch:>9}{shown}{float(row['x/lr1'] if 'x/lr1' in row else row['x/lr0']):>9.2g}")

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
