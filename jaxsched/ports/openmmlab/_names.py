"""Checks the schedule against the name of a config: ``1x`` is 12 epochs, ``20e`` 20 epochs, ``90k`` 90000 steps.

An image repeated by RepeatDataset may count as often: ``3x`` may be 12 epochs of a set gone through three times.
The name is only ever compared with the numbers; nothing is taken from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TOKEN = re.compile(r"(\d+)(x|e|k)")
_EPOCHS = {"x": 12, "e": 1}
_ROUNDED = 1e-3
"""Share of the iterations by which a name may be off: StyleGAN2's 800k are 800002."""


def disagreement(stem: str, config: Mapping[str, Any], epochs: int | None, steps: int) -> str | None:
    """The disagreement between the name and the numbers; None if a part of the name agrees, or it says nothing."""
    times = repeats(config)
    first = None
    for number, unit in _claims(stem):
        if (unit == "k") is not (epochs is None):
            continue
        if epochs is None:
            said, agrees = f"{1000 * number} iterations", abs(steps - 1000 * number) <= _ROUNDED * steps
        else:
            said, agrees = f"{_EPOCHS[unit] * number} epochs", _EPOCHS[unit] * number in (epochs, epochs * times)
        if agrees:
            return None
        first = first or f"the name says {number}{unit}, which is {said}"
    if first is None:
        return None
    repeated = "" if epochs is None or times == 1 else f" x {times} (RepeatDataset)"
    found = f"{steps if epochs is None else epochs}{repeated}"
    return f"{first}; the config trains for {found}"


def _claims(stem: str) -> Iterator[tuple[int, str]]:
    """The lengths in a name.

    ``1x`` is one at the end or before COCO's or LVIS's name; elsewhere it may be a width, or be of another data set.
    ``coco-20e`` is what the weights were trained for before.
    """
    fields = stem.split("_")
    for field, following in zip(fields, [*fields[1:], ""], strict=True):
        parts = field.split("-")
        for part in parts[:1] if parts[0].startswith("coco") else parts:
            token = _TOKEN.fullmatch(part)
            if token and (token[2] != "x" or (part is parts[-1] and re.match("coco|lvis|$", following))):
                yield int(token[1]), token[2]


def repeats(config: Mapping[str, Any]) -> int:
    """How often RepeatDataset goes through the training set in an epoch."""
    dataset: Any = config.get("train_dataloader") or config.get("data")
    times = 1
    while isinstance(dataset, Mapping):
        if dataset.get("type") == "RepeatDataset" and isinstance(dataset.get("times"), int):
            times *= dataset["times"]
        dataset = dataset.get("train", dataset.get("dataset"))
    return times
