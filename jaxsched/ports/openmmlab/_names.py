"""Checks the schedule against the name of an MMDetection config: ``1x`` is 12 epochs, ``20e`` 20 epochs, ``90k`` 90000
steps.

An image repeated by RepeatDataset counts as often: ``3x`` may be 12 epochs of a set that is gone through three times.
The name is only ever compared with the numbers; nothing is taken from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(r"(\d+)(x|e|k)")
_EPOCHS = {"x": 12, "e": 1}


def disagreement(stem: str, config: Mapping[str, Any], epochs: int | None, steps: int) -> str | None:
    """The disagreement between the name and the numbers; None if they agree or the name says nothing."""
    for field in re.split("[_-]", stem):
        token = _TOKEN.fullmatch(field)
        if token is None or (token[2] == "k") is not (epochs is None):
            continue
        number, unit = int(token[1]), token[2]
        if epochs is None:
            said, found = f"{1000 * number} iterations", f"{steps}"
            agree = steps == 1000 * number
        else:
            times = repeats(config)
            said = f"{_EPOCHS[unit] * number} epochs"
            found = f"{epochs}" if times == 1 else f"{epochs} x {times} (RepeatDataset)"
            agree = epochs * times == _EPOCHS[unit] * number
        return None if agree else f"the name says {field}, which is {said}; the config trains for {found}"
    return None


def repeats(config: Mapping[str, Any]) -> int:
    """How often RepeatDataset goes through the training set in an epoch."""
    dataset: Any = config.get("train_dataloader") or config.get("data")
    times = 1
    while isinstance(dataset, Mapping):
        if dataset.get("type") == "RepeatDataset" and isinstance(dataset.get("times"), int):
            times *= dataset["times"]
        dataset = dataset.get("train", dataset.get("dataset"))
    return times
