"""Rows of logs in plain text: of YOLOX's Trainer, and of DeepSpeed's engine."""

from __future__ import annotations

import re

_YOLOX = re.compile(r"\bepoch: (\d+)/\d+, iter: (\d+)/(\d+),[^\n]*?\blr: ([-+.\deE]+)")
_DEEPSPEED = re.compile(r"\bstep=(\d+), skipped=\d+, lr=\[([^\]\n]*)\]")


def from_lines(text: str) -> list[dict[str, str]]:
    """The rows of such a log; none if it is another.

    Both print the lr that the next step has: YOLOX after the ``iter``-th iteration of an epoch, DeepSpeed after the
    ``step``-th update, of each group.

    Examples:
        >>> from_lines("... - epoch: 2/300, iter: 10/925, mem: 9Mb, total_loss: 9.3, lr: 3.494e-05, size: 640, ETA: 1")
        [{'step': '935', 'lr': '3.494e-05'}]
        >>> from_lines("[INFO] step=20, skipped=0, lr=[0.0001, 0.001], mom=[(0.9, 0.999), (0.9, 0.999)]")
        [{'step': '20', 'lr/0': '0.0001', 'lr/1': '0.001'}]
    """
    rows = []
    for epoch, iteration, length, lr in _YOLOX.findall(text):
        rows.append({"step": str((int(epoch[:18]) - 1) * int(length[:18]) + int(iteration[:18])), "lr": lr})
    for step, lrs in _DEEPSPEED.findall(text):
        values = [lr.strip() for lr in lrs.split(",")]
        rows.append({"step": step} | {f"lr/{i}": lr for i, lr in enumerate(values)})
    return rows
