"""The release, the length of an epoch and the classes, from the log of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxsched.ports import shared
from jaxsched.ports.ultralytics._args import read_args
from jaxsched.ports.ultralytics._choice import fitted_lr
from jaxsched.ports.ultralytics._recipe import BOOST, loop_of
from jaxsched.ports.ultralytics._releases import CHANGES, Rules, rules_of

MOST_CLASSES = 20_000
"""Classes, at most, that are tried."""
_MOST_WAYS = 1000
"""Solutions after which no more are counted: they decide nothing."""
_MUON: dict[str, Any] = {"outputs": "last", "boosted": "**/cv3/**"}
"""What MuSGD needs to know of a model, which does not change the learning rates."""


def solve(source: Any, observed: shared.Observed, **said: Any) -> Iterator[shared.Solution]:
    """The arguments with which `recipe` gives the learning rates of a log, the likeliest first."""
    over = {
        "epochs": said.get("epochs"),
        "batch": said.get("batch_size"),
        "optimizer": said.get("optimizer"),
        "cos_lr": said.get("cos_lr"),
    }
    where, a, possible, _ = read_args(source, over, said.get("version"))
    releases = [*reversed(possible), *([] if said.get("version") else reversed(list(CHANGES)))]
    seen: dict[Any, str] = {}
    found: list[tuple[str, shared.Solution]] = []
    for release in releases:
        rules = rules_of(release)
        kind = (loop_of(where, a, rules, 1000), loop_of(where, a, rules, 1), rules.auto, rules.warmed)
        if kind in seen:
            continue
        seen[kind] = release
        found += [(release, solution) for solution in _of_release(where, a, release, rules, observed, said)]
    for release, solution in found:
        alike = [r for r, other in found if other.options["steps_per_epoch"] == solution.options["steps_per_epoch"]]
        likely = [r for r in alike if r in possible] or alike
        told = f"release of the rules of {_listed(likely)}"
        yield shared.Solution({**solution.options, "version": release}, (*solution.said, told))


def _listed(releases: list[str]) -> str:
    ordered = sorted(set(releases), key=lambda release: tuple(map(int, release.split("."))))
    return ordered[0] if len(ordered) == 1 else f"{', '.join(ordered[:-1])} or {ordered[-1]}"


def _of_release(
    where: str, a: dict[str, Any], release: str, rules: Rules, observed: shared.Observed, said: dict[str, Any]
) -> Iterator[shared.Solution]:
    def loop(lengths: Any) -> shared.Loop:
        return loop_of(where, a, rules, lengths)

    def allowed(lengths: np.ndarray) -> np.ndarray:
        wanted = said.get("steps_per_epoch")
        return lengths if wanted is None else lengths[lengths == wanted]

    if a["optimizer"] != "auto" or rules.auto is None:
        peaks = [a["lr0"], BOOST * a["lr0"]] if a["optimizer"] == "MuSGD" else [a["lr0"]]
        lengths = allowed(shared.lengths_that_fit(loop, observed, peaks, [0.0, a["warmup_bias_lr"]]))
        for length, text in shared.ends(lengths.tolist()) if len(lengths) else []:
            options = {"steps_per_epoch": length} | (_MUON if a["optimizer"] == "MuSGD" else {})
            yield shared.Solution(options, (text,))
        return
    for long in (True, False):
        name = rules.auto.long if long else rules.auto.short
        part = "long" if long else "short"
        if part in rules.auto.fitted:
            yield from _fitted(loop, a, rules, observed, said, name, long)
            continue
        peak = 0.001 if name == "NAdam" else 0.01
        peaks = [peak, BOOST * peak] if name == "MuSGD" else [peak]
        lengths = allowed(shared.lengths_that_fit(loop, observed, peaks, [0.0]))
        lengths = np.array([nb for nb in lengths.tolist() if _images(a, nb, long, rules.auto.many)], int)
        if len(lengths):
            options = {"steps_per_epoch": int(lengths[0]), "images": _images(a, int(lengths[0]), long, rules.auto.many)}
            options |= _MUON if name == "MuSGD" else {}
            texts = (shared.told(lengths.tolist()), f"optimizer=auto came to {name} with lr {peak}")
            yield shared.Solution(options, texts)


def _fitted(
    loop: Any, a: dict[str, Any], rules: Rules, observed: shared.Observed, said: dict[str, Any], name: str, long: bool
) -> Iterator[shared.Solution]:
    lengths, low, high = shared.peaks_that_fit(loop, _unboosted(observed) if name == "MuSGD" else observed)
    assert rules.auto
    options, ways, last = None, 0, ""
    with np.errstate(divide="ignore"):  # where all is open least is 0
        near = np.rint(0.01 / ((low + high) / 2))[:, None] - 4 + np.arange(-1, 2)
    peaks = np.round(0.01 / (4 + np.maximum(near, 1)), 6)
    likely = ((peaks >= low[:, None]) & (peaks <= high[:, None])).any(1) | (high > 1.001 * low)
    lengths, low, high = lengths[likely], low[likely], high[likely]
    for nb, least, most in zip(lengths.tolist(), low.tolist(), high.tolist(), strict=True):
        if ways > _MOST_WAYS:
            break
        if (said.get("steps_per_epoch") or nb) != nb or not _images(a, nb, long, rules.auto.many):
            continue
        fewest = max(math.floor(0.01 / (most + 1e-6)) - 4, 1) if most > 0 else 1
        for classes in range(fewest, min(math.ceil(0.01 / max(least - 1e-6, 1e-7)) - 3, MOST_CLASSES)):
            if least <= fitted_lr(classes) <= most and (said.get("classes") or classes) == classes:
                ways += 1
                last = f"{nb} with {classes} classes"
                if options is None:
                    images = _images(a, nb, long, rules.auto.many)
                    options = {"steps_per_epoch": nb, "images": images, "classes": classes}
                    options |= _MUON if name == "MuSGD" else {}
    if options is None:
        return
    first = f"steps per epoch {options['steps_per_epoch']}, {options['classes']} classes"
    first += " (no others fit)" if ways == 1 else f" (also {ways - 1:,} others fit, such as {last})"
    yield shared.Solution(options, (first, f"optimizer=auto came to {name} with lr {fitted_lr(options['classes'])}"))


def _unboosted(observed: shared.Observed) -> shared.Observed:
    """The log with the columns of the groups that MuSGD trains at a multiple of the lr divided by it."""
    last = (observed.low[:, -1:] + observed.high[:, -1:]) / 2
    factor = np.where(last > (1 + BOOST) / 2 * last.min(), BOOST, 1)
    return observed._replace(low=observed.low / factor, high=observed.high / factor)


def _images(a: dict[str, Any], steps_per_epoch: int, long: bool, many: int) -> int | None:
    """A number of images with which the run has epochs of that length, and more than ``many`` updates or not."""
    batch = a["batch"]
    images = steps_per_epoch * batch if long else (steps_per_epoch - 1) * batch + 1
    updates = math.ceil(images / max(batch, a["nbs"])) * a["epochs"]
    return images if (updates > many) == long else None
