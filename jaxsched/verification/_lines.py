"""Rows of logs in plain text: of YOLOX's Trainer, DeepSpeed's engine and Darknet."""

from __future__ import annotations

import re

_YOLOX = re.compile(r"\bepoch: (\d+)/\d+, iter: (\d+)/(\d+),[^\n]*?\blr: ([-+.\deE]+)")
_DEEPSPEED = re.compile(r"\bstep=(\d+), skipped=\d+, lr=\[([^\]\n]*)\]")
_DARKNET = re.compile(r"^ *(\d+): [^,\n]*, [^,\n]* avg(?: loss)?, ([.\d]+) rate,", re.MULTILINE)


def from_lines(text: str) -> tuple[list[dict[str, str]], int | None]:
    """The rows of such a log, and the decimals that its rates are rounded to, if they are; none of another log.

    YOLOX prints the lr of the next step after the ``iter``-th iteration of an epoch, DeepSpeed that of each group after
    the ``step``-th update, and Darknet that of the batch just trained, in 6 decimals.

    Examples:
        >>> from_lines("... - epoch: 2/300, iter: 10/925, mem: 9Mb, total_loss: 9.3, lr: 3.494e-05, size: 640, ETA: 1")
        ([{'step': '935', 'lr': '3.494e-05'}], None)
        >>> from_lines("[INFO] step=20, skipped=0, lr=[0.0001, 0.001], mom=[(0.9, 0.999), (0.9, 0.999)]")
        ([{'step': '20', 'lr/0': '0.0001', 'lr/1': '0.001'}], None)
        >>> from_lines(" 12: 512.1, 600.2 avg loss, 0.000013 rate, 1.5 seconds, 768 images, 3.1 hours left")
        ([{'step': '12', 'lr': '0.000013'}], 6)
    """
    rows = []
    for epoch, iteration, length, lr in _YOLOX.findall(text):
        rows.append({"step": str((int(epoch[:18]) - 1) * int(length[:18]) + int(iteration[:18])), "lr": lr})
    for step, lrs in _DEEPSPEED.findall(text):
        values = [lr.strip() for lr in lrs.split(",")]
        rows.append({"step": step} | {f"lr/{i}": lr for i, lr in enumerate(values)})
    if rows:
        return rows, None
    return [{"step": step, "lr": lr} for step, lr in _DARKNET.findall(text)], _DARKNET_DECIMALS


_DARKNET_DECIMALS = 6
