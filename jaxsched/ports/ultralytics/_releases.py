"""What changed from release to release of Ultralytics, and which keys of an args.yaml tell its release."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from jaxsched.checks import short

Version = tuple[int, int, int]


class Auto(NamedTuple):
    """What ``optimizer=auto`` comes to in a run of more than ``many`` updates, and in others.

    Attributes:
        fitted: Which of the two take the lr that is fitted to the number of classes.
    """

    long: str
    short: str
    many: int = 10_000
    fitted: tuple[str, ...] = ()


class Rules(NamedTuple):
    """What one release does.

    Attributes:
        shortest: Iterations that warm-up takes at least.
        optional: ``warmup_epochs: 0`` is no warm-up; else it is the shortest one.
        late: The lr after warm-up is that of the epoch before.
        open_warmup: Warm-up leaves out its last iteration: what it reached before stays.
        drop: What is gathered and not used by the end of an epoch is dropped.
        capped: Accumulation is at most the batches of the run.
        rounded: Accumulation climbs to a rounded number of batches.
        auto: What ``optimizer=auto`` comes to; None: there is no such choice, and the default is SGD.
        warmed: The group whose warm-up begins at ``warmup_bias_lr``.
        muon: MuSGD's two factors in a run of many updates, and in others.
        flat: MuSGD orthogonalizes kernels of three and five axes too.
    """

    shortest: int = 100
    optional: bool = False
    late: bool = True
    open_warmup: bool = False
    drop: bool = True
    capped: bool = False
    rounded: bool = False
    auto: Auto | None = None
    warmed: str = "bias"
    muon: tuple[tuple[float, float], tuple[float, float]] | None = None
    flat: bool = True


_ADAMW = Auto("SGD", "AdamW", fitted=("short",))

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "8.0.0": {},
    "8.0.113": {"auto": Auto("SGD", "NAdam", many=6_000)},
    "8.0.114": {"auto": _ADAMW},
    "8.0.119": {"optional": True},
    "8.1.42": {"late": False},
    "8.2.8": {"drop": False},
    "8.4.0": {
        "auto": Auto("SGD", "MuSGD", fitted=("short",)),
        "warmed": "weight",
        "muon": ((0.5, 0.5), (0.5, 0.5)),
    },
    "8.4.3": {
        "auto": Auto("MuSGD", "MuSGD", fitted=("short",)),
        "warmed": "bias",
        "muon": ((0.5, 0.5), (0.1, 1.0)),
    },
    "8.4.4": {"muon": ((0.1, 1.0), (0.5, 0.5))},
    "8.4.8": {"auto": Auto("MuSGD", "AdamW", fitted=("short",)), "muon": ((0.2, 1.0), (0.2, 1.0))},
    "8.4.103": {"shortest": 0, "open_warmup": True},
    "8.4.108": {"flat": False},
    "8.4.177": {"capped": True},
    "8.4.183": {"rounded": True, "open_warmup": False},
}
"""For each release that changed something what it changed, in `Rules`. Checked against 176 releases up to 8.4.190."""

_LIVED = {
    "line_width show_conf show_labels": ("8.0.100", None),
    "line_thickness hide_labels hide_conf image_weights fl_gamma min_memory": (None, "8.0.100"),
    "fraction profile": ("8.0.110", None),
    "v5loader": (None, "8.0.135"),
    "freeze": ("8.0.154", None),
    "stream_buffer": ("8.0.164", None),
    "boxes": (None, "8.0.218"),
    "show_boxes": ("8.0.218", None),
    "save_frames": ("8.0.219", None),
    "time": ("8.0.228", None),
    "embed": ("8.0.229", None),
    "auto_augment erasing": ("8.0.233", None),
    "crop_fraction": ("8.0.233", "8.3.108"),
    "multi_scale": ("8.0.235", None),
    "bgr": ("8.1.33", None),
    "copy_paste_mode": ("8.3.0", None),
    "label_smoothing": (None, "8.3.38"),
    "save_hybrid": (None, "8.3.105"),
    "cutmix": ("8.3.119", None),
    "compile": ("8.3.196", None),
    "angle rle": ("8.4.0", None),
    "end2end": ("8.4.8", "8.4.142"),
    "cls_pw": ("8.4.37", None),
    "dis distill_model": ("8.4.77", None),
    "quantize": ("8.4.80", None),
    "half int8": (None, "8.4.80"),
    "cls_remap": ("8.4.91", None),
    "dgrad dlam dlog": ("8.4.104", None),
    "channels_last": ("8.4.105", None),
    "keras": (None, "8.4.164"),
}
"""Keys by the release that writes them first, and the one that writes them no more."""
_ALWAYS = {"task", "mode", "nbs", "close_mosaic", "workers", "overlap_mask", "mask_ratio", "vid_stride", "plots"}
"""Keys that every release writes: with these an args.yaml is whole, and a key that is absent tells as much."""


def parse(version: Any) -> Version:
    """A release such as ``"8.3.40"``.

    Raises:
        ValueError: If it is not a release of Ultralytics.
    """
    match = re.fullmatch(r"v?(8)\.(\d{1,3})(?:\.(\d{1,4}))?", str(version))
    if match is None:
        raise ValueError(f"version must be a release of Ultralytics such as '8.3.40', got {short(version)}")
    return int(match[1]), int(match[2]), int(match[3] or 0)


def rules_of(version: str) -> Rules:
    """The rules of a release: all changes up to it."""
    rules = Rules()
    for release, changed in CHANGES.items():
        if parse(release) <= parse(version):
            rules = rules._replace(**changed)
    return rules


def candidates(names: Collection[str]) -> list[str]:
    """The releases that an args.yaml with these keys may be of: of each set of rules the first, the latest last."""
    whole = set(names) >= _ALWAYS
    points = {*CHANGES, *(release for lived in _LIVED.values() for release in lived if release)}
    found: dict[Rules, str] = {}
    for release in sorted(points, key=parse):
        present = [(bool(set(keys.split()) & set(names)), _lives(lived, release)) for keys, lived in _LIVED.items()]
        if all(alive or not there for there, alive in present) and (
            not whole or all(there or not alive for there, alive in present)
        ):
            found.setdefault(rules_of(release), release)
    return list(found.values()) or list(CHANGES)  # keys that no release has together say nothing


def _lives(lived: tuple[str | None, str | None], release: str) -> bool:
    first, end = lived
    return (first is None or parse(first) <= parse(release)) and (end is None or parse(release) < parse(end))
