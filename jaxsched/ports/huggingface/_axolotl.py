"""axolotl's YAML files: its own names, defaults and schedules, in those of TrainingArguments (axolotl of 2026)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared
from jaxsched.ports.shared import phases, shifted
from jaxsched.schedules import Schedule, linear, quotient, sequential

MARK = "micro_batch_size"
"""The setting that every file of axolotl has, and no other."""
NAMES: Mapping[str, str] = {
    MARK: "per_device_train_batch_size",
    "num_epochs": "num_train_epochs",
    "optimizer": "optim",
    "lr_scheduler": "lr_scheduler_type",
    "adam_eps": "adam_epsilon",
}
_DEFAULTS: Mapping[str, Any] = {"lr_scheduler": "cosine", "num_epochs": 1.0}
_DEFAULT_RATIO, _DEFAULT_MOST = 0.03, 100
"""Warm-up where the file has none: this share of the run, and at most so many updates."""
SCHEDULES = ("rex", "one_cycle")
"""Schedules that the Trainer does not have."""
_LEAST = "cosine_min_lr_ratio"
_REFUSED = ("cosine_constant_lr_ratio", "lr_quadratic_warmup", "relora", "relora_steps", "jagged_restart_steps")
"""Settings that make another schedule of the named one."""


def translated(where: str, given: Mapping[str, Any], world_size: int) -> dict[str, Any]:
    """The settings by the names of TrainingArguments, with axolotl's defaults. One that is left empty is not set.

    Raises:
        ValueError: If a setting changes the schedule in a way that is not ported.
    """
    written = {**_DEFAULTS, **{name: value for name, value in given.items() if value is not None}}
    for name in _REFUSED:
        if value := written.pop(name, None):
            raise ValueError(f"{where}: {name}={short(value)} is not ported; leave it out and change the recipe")
    total = written.pop("batch_size", None)  # of an update; axolotl divides it
    if total is not None and "gradient_accumulation_steps" not in written:
        each = shared.as_count(f"{where}: {MARK}", written[MARK]) * world_size
        written["gradient_accumulation_steps"] = max(shared.as_count(f"{where}: batch_size", total) // each, 1)
    ratio = written.pop(_LEAST, None)
    if ratio and written["lr_scheduler"] == "cosine":
        written |= {"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": ratio}}
    if ratio and written["lr_scheduler"] == "rex":
        written["lr_scheduler_kwargs"] = {**(written.get("lr_scheduler_kwargs") or {}), _LEAST: ratio}
    return {NAMES.get(name, name): value for name, value in written.items()}


def warmup(a: shared.Settings, updates: int) -> int:
    """Updates of warm-up: a ratio is rounded down, which the Trainer rounds up; 1 update is taken for 2."""
    steps, ratio = a.number("warmup_steps", None, low=0.0), a.number("warmup_ratio", None, low=0.0, high=1.0)
    if steps is None and ratio is None:
        return min(int(_DEFAULT_RATIO * updates), _DEFAULT_MOST)
    if steps is None:
        steps = int(ratio * updates)
    if 0 < steps < 1:
        return math.ceil(updates * steps)
    return 2 if steps == 1 else int(steps)


def schedule(kind: str, kwargs: shared.Settings, warmup: int, updates: int, lr: float) -> tuple[Schedule, Any]:
    """The lr by the number of an update, and the momentum (or the first beta) if the schedule moves it.

    - rex: from 0 to the lr in the warm-up, then ``lr * (r + (1 - r) * z / (0.1 + 0.9 z))``, where ``z`` falls from 1 to
      0 at the end of the run and ``r`` is cosine_min_lr_ratio; one update ahead: the first update is not at 0.
    - one_cycle: torch's OneCycleLR, whose rise is the warm-up.

    Raises:
        ValueError: If an argument of lr_scheduler_kwargs is not known or out of its range.
    """
    if kind == "rex":
        ratio = kwargs.number(_LEAST, 0.0, low=0.0, high=1.0)
        kwargs.finish()
        steps = updates - warmup
        if steps <= 0:
            raise ValueError(f"{kwargs.where}: rex has {updates} updates, of which {warmup} are warm-up")
        falls = lr * ratio + lr * (1 - ratio) * quotient(linear(1.0, 0.0, steps), linear(1.0, 0.1, steps))
        whole = sequential([linear(0.0, lr, warmup), falls], at=[warmup]) if warmup else falls
        return shifted(whole, 1), None
    peak_at = kwargs.number("pct_start", warmup / updates, low=0.0, high=1.0) * updates - 1
    shape = kwargs.choice("anneal_strategy", ("cos", "linear"), "cos")
    start = lr / kwargs.positive("div_factor", 25.0)
    end = start / kwargs.positive("final_div_factor", 1e4)
    cycles = kwargs.flag("cycle_momentum", True)
    low, high = kwargs.number("base_momentum", 0.85, low=0.0), kwargs.number("max_momentum", 0.95, low=0.0, high=1.0)
    kwargs.finish()
    if peak_at == 0 or peak_at >= updates - 1:
        raise ValueError(
            f"{kwargs.where}: one_cycle has {updates} updates, and its peak would be at update {peak_at:g}"
        )
    ends = [peak_at, updates - 1]
    momentum = phases([high, low, high], ends, shape) if cycles else None
    return phases([start, lr, end], ends, shape), momentum
