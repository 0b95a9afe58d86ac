"""The training loop of YOLOv5, its forks and Ultralytics; a release is a few numbers and switches of it."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxsched.recipe import Accumulation, Recipe
from jaxsched.schedules import Schedule, cosine, delayed, linear, per_epoch, piecewise, value_at, warmup

MOST_BATCHES = 4096
"""Batches to an update, at most: each number of them on the way is a comparison at every step."""
MOST_COMPARED = 2**14
"""Steps at which two releases are compared; of a longer run, so many at equal distances."""


class Loop(NamedTuple):
    """What the training loop of a release does.

    Attributes:
        shortest_warmup: Iterations that warm-up takes at least.
        cosine: Whether lr falls along half a cosine where the run does not say; else along a line.
        line_ends_early: Whether the line reaches its end in the last epoch (over ``epochs - 1``); else one later.
        one_epoch_late: Whether lr after warm-up is that of the epoch before, as the scheduler steps at its end.
        at_multiples: Whether an update is due at each multiple of the number of batches; else so many batches after
            the last one.
        drops: Whether what is gathered at the end of an epoch is dropped.
        clip_norm: The norm at which all gradients together are clipped; None: they are not.
    """

    shortest_warmup: int = 100
    cosine: bool = False
    line_ends_early: bool = False
    one_epoch_late: bool = True
    at_multiples: bool = False
    drops: bool = True
    clip_norm: float | None = 10.0

    def decay(self, peak: float, final: float, epochs: int, cos: bool) -> Schedule:
        """The lr of each epoch, from ``peak`` towards ``final``."""
        if cos:
            return cosine(peak, epochs, final)
        if self.line_ends_early and epochs == 1:
            raise ValueError("a line over epochs - 1 needs at least 2 epochs")
        return linear(peak, final, epochs - self.line_ends_early)

    def lr(self, by_epoch: Schedule, start: float, warmup_steps: int, steps_per_epoch: int, epochs: int) -> Schedule:
        """The lr of each step: warm-up from ``start`` to that of the *current* epoch, then that of its epoch.

        One epoch late, the epoch in which warm-up ends keeps the value it reached, and the next repeats it.
        """
        on_time = per_epoch(by_epoch, steps_per_epoch)
        warm = warmup(on_time, warmup_steps, start) if warmup_steps else on_time
        if not self.one_epoch_late:
            return warm
        late = per_epoch(delayed(by_epoch, by=1), steps_per_epoch)
        if not warmup_steps:
            return late
        turn = warmup_steps // steps_per_epoch + 1
        return warm if turn >= epochs else piecewise([warm, late], at=[turn * steps_per_epoch])

    def accumulation(self, warmup_steps: int, batches: float, steps: int) -> Accumulation | None:
        """Batches to an update: from 1 at first to ``batches`` at the end of warm-up, rounded, halves to even.

        Args:
            warmup_steps: Iterations of warm-up; 0: none.
            batches: The nominal batch divided by the batch, or what a release makes of it.
            steps: Steps of the run, which more batches than that never make an update of.

        Raises:
            ValueError: If there are more than `MOST_BATCHES`.
        """
        most = min(max(round(batches), 1), steps)
        if most > MOST_BATCHES:
            raise ValueError(f"the nominal batch must be at most {MOST_BATCHES} batches, got {batches:g}")
        if most == 1:
            return None

        def every(step: int) -> int:
            return int(np.interp(step, [0, warmup_steps], [1, batches]).round())

        span = range(warmup_steps + 1)
        at = [bisect.bisect_left(span, k, key=every) for k in range(2, most + 1)] if warmup_steps else []
        stairs = piecewise(list(range(1, most + 1)), at) if at else most
        return Accumulation(stairs, drop_at_epoch_end=self.drops, at_multiples=self.at_multiples)


def compared(recipe: Recipe, others: Mapping[str, Recipe]) -> dict[str, str]:
    """How the runs of other releases differ from one: ``{"6.1": "lr differs at 1,049 of 5,000 steps, ..."}``.

    Those that do not differ, or as another does, are left out.
    """
    steps = recipe.steps or 0
    looked = min(steps, MOST_COMPARED)
    at = np.linspace(0, steps - 1, looked).astype(np.int64)
    padded = np.pad(at, (0, MOST_COMPARED - looked), mode="edge")  # one shape, so that one compilation serves all

    @functools.cache
    def values(lr: Schedule) -> np.ndarray:
        return np.asarray(value_at(lr, padded))[:looked]

    base, found = _rates(recipe), {}
    for name, other in others.items():
        own = _rates(other)
        pairs = [[rates.get(group, rates[""]) for rates in (base, own)] for group in {**base, **own}]
        differs = np.zeros(looked, bool)
        for a, b in pairs:
            if a != b:  # many releases differ in updates alone
                differs |= ~np.isclose(values(a), values(b), rtol=1e-5, atol=0.0)
        parts = []
        if count := int(differs.sum()):
            parts.append(f"lr differs at {count:,} of {looked:,} steps{'' if looked == steps else ' looked at'}")
        if recipe.accumulate != other.accumulate:
            parts.append("updates come at other steps")
        if recipe.clip_norm != other.clip_norm:
            parts.append("gradients are clipped" if other.clip_norm else "gradients are not clipped")
        if recipe.optimizer != other.optimizer:
            parts.append(f"the optimizer is {other.optimizer}")
        if parts and (text := ", ".join(parts)) not in found.values():
            found[name] = text
    return found


def _rates(recipe: Recipe) -> Mapping[str, Any]:
    groups = {group: (own or {}).get("lr") for group, own in recipe.groups.items()}
    base = recipe.hyperparameters["lr"]
    return {"": base, **{group: base if lr is None else lr for group, lr in groups.items()}}
