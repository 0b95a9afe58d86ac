"""The version and the length of an epoch, from the log of a run."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from jaxsched.ports import shared
from jaxsched.ports.yolov5._recipe import loop_of, read_run
from jaxsched.ports.yolov5._versions import VERSIONS, known


def solve(source: Any, observed: shared.Observed, **said: Any) -> Iterator[shared.Solution]:
    """The arguments with which `recipe` gives the learning rates of a log, the likeliest first."""
    given = {name: said.get(name) for name in ("epochs", "batch_size", "optimizer", "cos_lr", "version")}
    run = read_run(source, **given)
    # The keys may not be all there: any version with the options that are asked for may have made the log.
    others = [] if given["version"] else [name for name in VERSIONS if name not in run.possible]
    tried: dict[shared.Loop, list[str]] = {}
    for version in (*reversed(run.possible), *others):
        if not run.asked <= set(VERSIONS[version].options) or not set(VERSIONS[version].fixed) <= set(run.hyp) | {
            "lrf"
        }:
            continue
        tried.setdefault(loop_of(run, version, 1), []).append(version)
    for alike in tried.values():
        number = run.numbers(alike[0])[0]
        lengths = shared.lengths_that_fit(
            functools.partial(loop_of, run, alike[0]),
            observed,
            [number["lr0"]],
            [0.0, number["warmup_bias_lr"]],
        )
        if said.get("steps_per_epoch"):
            lengths = lengths[lengths == said["steps_per_epoch"]]
        if len(lengths):
            likely = [name for name in alike if name in run.possible] or alike
            version = f"version {' or '.join(reversed(likely))}"
            for length, text in shared.ends(lengths.tolist()):
                yield shared.Solution({"steps_per_epoch": length, "version": known(likely[0])}, (text, version))
