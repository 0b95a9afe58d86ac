"""YOLOv5's releases and forks: what each does otherwise, and which of them a run's files can be of.

Read from the behaviour of the tags v3.0 to v7.0 and of the forks. A file carries no version; its keys date it.
"""

from __future__ import annotations

from collections.abc import Collection

from jaxsched.checks import short
from jaxsched.ports.shared import Loop

_V3 = Loop(shortest_warmup=1000, cosine=True, line_ends_early=True, at_multiples=True, clip_norm=None)
_V6_0 = _V3._replace(at_multiples=False)
_TODAY = Loop()

RELEASES: dict[str, Loop] = {
    "3.0": _V3,
    "3.1": _V3,
    "4.0": _V3,
    "5.0": _V3,
    "6.0": _V6_0,
    "6.1": _V6_0._replace(cosine=False, line_ends_early=False),
    "6.2": _TODAY,
    "7.0": _TODAY,
}
"""By release, oldest first; the last is what YOLOv5 still does."""

FORKS: dict[str, Loop] = {
    "yolov5-face": _V3,
    "yolov5_obb": _V6_0,
    "yolor": _V3,
    "yolov7": _V3,
    "yolov9": _TODAY,
}
"""Forks, each under the name of its repository."""

VERSIONS = RELEASES | FORKS

_OF_FORKS = {
    "landmark": "yolov5-face",
    "theta": "yolov5_obb",
    "paste_in": "yolov7",
    "loss_ota": "yolov7",
    "dfl": "yolov9",
}
"""Settings that only a fork's hyp has."""
_WHOLE = frozenset({"hsv_h", "translate", "scale", "mosaic"})
"""A hyp with these is one as the repository keeps them, of which it matters what it lacks."""


def release(version: str) -> str:
    """The release or fork that a user named: ``"v6.1"`` is ``"6.1"``.

    Raises:
        ValueError: If there is none of that name.
    """
    for name in (version, str(version).removeprefix("v")):
        if name in VERSIONS:
            return name
    raise ValueError(f"version must be one of {', '.join(VERSIONS)}, got {short(version)}")


def candidates(hyp: Collection[str], opt: Collection[str]) -> list[str]:
    """The releases and forks that a run can be of, oldest first, by the keys of its hyp and of its opt.yaml."""
    forks = [fork for key, fork in _OF_FORKS.items() if key in hyp]
    if forks:
        return forks[:1]
    since, until = "3.1", "7.0"
    if "lrf" not in hyp and "warmup_epochs" not in hyp:
        since = until = "3.0"
    elif "copy_paste" in hyp:
        since = "6.0"
    elif set(hyp) >= _WHOLE:
        until = "5.0"
    if "seed" in opt:
        since = "6.2"
    elif "cos_lr" in opt:
        since = "6.1"
        until = "6.1" if len(opt) > 20 else until  # a whole opt.yaml has a seed from 6.2 on
    elif "linear_lr" in opt:
        since, until = max(since, "5.0"), min(until, "6.0")
    elif "adam" in opt:
        until = min(until, "6.0" if len(opt) <= 20 else "4.0")
    names = [name for name in RELEASES if since <= name <= until]
    return names or [since]
