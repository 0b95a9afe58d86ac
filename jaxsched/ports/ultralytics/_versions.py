"""Ultralytics' releases: what changed in the training loop, when, and by which arguments a file is dated.

Found by comparing the packages from 8.0.100 to 8.4.190 release by release (behaviour only). An ``args.yaml`` carries no
version, but a run's holds every argument that its release knew.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from jaxsched.checks import short
from jaxsched.ports.shared import Loop

Version = tuple[int, ...]
OLDEST, NEWEST = (8, 0, 100), (8, 4, 190)
"""The releases that were looked at; a later one is taken as the newest."""


class Release(NamedTuple):
    """What a release does.

    Attributes:
        loop: Its training loop.
        caps_warmup: Whether warm-up leaves at least one epoch, and takes none where ``warmup_epochs`` is 0.
        skips_warmup: Whether there is no warm-up where ``warmup_epochs`` is 0; else it takes the shortest.
        rounds_batches: Whether warm-up climbs to the rounded number of batches to an update.
        warms_down: The group that warms up from ``warmup_bias_lr``.
        auto: What ``optimizer=auto`` comes to in long and in short runs.
        auto_after: Updates after which a run is long.
        has_musgd: Whether its MuSGD is the one of `jaxsched.optimizers.musgd`.
    """

    loop: Loop = Loop()
    caps_warmup: bool = False
    skips_warmup: bool = False
    rounds_batches: bool = False
    warms_down: str = "bias"
    auto: tuple[str, str] | None = None
    auto_after: int = 10_000
    has_musgd: bool = False


_CHANGES: tuple[tuple[Version, dict[str, object]], ...] = (
    ((8, 0, 113), dict(auto=("SGD", "NAdam"), auto_after=6_000)),
    ((8, 0, 114), dict(auto=("SGD", "AdamW"), auto_after=10_000)),
    ((8, 0, 162), dict(skips_warmup=True)),
    ((8, 1, 42), dict(loop=Loop(one_epoch_late=False))),
    ((8, 2, 7), dict(loop=Loop(one_epoch_late=False, drops=False))),
    ((8, 4, 0), dict(auto=("SGD", "MuSGD"), warms_down="weight")),
    ((8, 4, 3), dict(auto=("MuSGD", "MuSGD"), warms_down="bias")),
    ((8, 4, 8), dict(auto=("MuSGD", "AdamW"), has_musgd=True)),
    ((8, 4, 103), dict(loop=Loop(shortest_warmup=0, one_epoch_late=False, drops=False), caps_warmup=True)),
    ((8, 4, 183), dict(rounds_batches=True)),
)
"""What changed in the release named, against the one before."""

_ARGUMENTS: dict[str, tuple[Version | None, Version | None]] = {
    "fraction": ((8, 0, 110), None),
    "v5loader": (None, (8, 0, 134)),
    "freeze": ((8, 0, 154), None),
    "stream_buffer": ((8, 0, 164), None),
    "boxes": (None, (8, 0, 217)),
    "show_boxes": ((8, 0, 218), None),
    "save_frames": ((8, 0, 219), None),
    "time": ((8, 0, 228), None),
    "embed": ((8, 0, 229), None),
    "auto_augment": ((8, 0, 233), None),
    "erasing": ((8, 0, 233), None),
    "crop_fraction": ((8, 0, 233), (8, 3, 107)),
    "multi_scale": ((8, 0, 235), None),
    "bgr": ((8, 1, 33), None),
    "copy_paste_mode": ((8, 2, 104), None),
    "label_smoothing": (None, (8, 3, 37)),
    "save_hybrid": (None, (8, 3, 104)),
    "cutmix": ((8, 3, 119), None),
    "compile": ((8, 3, 196), None),
    "angle": ((8, 4, 0), None),
    "rle": ((8, 4, 0), None),
    "end2end": ((8, 4, 8), (8, 4, 141)),
    "cls_pw": ((8, 4, 37), None),
    "distill_model": ((8, 4, 77), None),
    "quantize": ((8, 4, 80), None),
    "half": (None, (8, 4, 79)),
    "cls_remap": ((8, 4, 91), None),
    "dlog": ((8, 4, 104), None),
    "channels_last": ((8, 4, 105), None),
    "keras": (None, (8, 4, 163)),
}
"""The first and the last release that knew an argument; None: all from the oldest, all to the newest."""
_WHOLE = 60
"""A file with so many arguments is one that a run wrote: what it lacks, its release did not know."""


def parse(version: str) -> Version:
    """``"8.3.40"`` as numbers.

    Raises:
        ValueError: If it is no release of Ultralytics, or one before 8.0.100.
    """
    match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", str(version)[:40])
    found = tuple(map(int, match.groups())) if match else ()
    if not found or found < OLDEST:
        raise ValueError(f"version must be a release from {written(OLDEST)} on, such as 8.3.40, got {short(version)}")
    return found


def written(version: Version) -> str:
    return ".".join(map(str, version))


def release(version: Version) -> Release:
    """What a release does."""
    made = Release()
    for since, changes in _CHANGES:
        if version >= since:
            made = made._replace(**changes)  # type: ignore[arg-type]
    return made


def span(arguments: Collection[str]) -> tuple[Version, Version]:
    """The oldest and the newest release that a file with these arguments can be of; all where none had all of them."""
    low, high = OLDEST, NEWEST
    whole = len(arguments) >= _WHOLE
    for name, (first, last) in _ARGUMENTS.items():
        if name in arguments:
            low, high = max(low, first or low), min(high, last or high)
        elif whole and first and not last:
            high = min(high, _before(first))
        elif whole and last and not first:
            low = max(low, _after(last))
    return (low, high) if low <= high else (OLDEST, NEWEST)


def distinct(low: Version, high: Version) -> list[Version]:
    """Of the releases from ``low`` to ``high`` the newest of each kind, the newest first."""
    turns = [since for since, _ in _CHANGES if low < since <= high]
    return [high, *(_before(since) for since in reversed(turns))]


def _before(version: Version) -> Version:
    """A version just before; where a minor release begins, the last of the one before is not known by number."""
    *front, patch = version
    if patch:
        return (*front, patch - 1)
    return (front[0], front[1] - 1, 999)


def _after(version: Version) -> Version:
    *front, patch = version
    return (*front, patch + 1)
