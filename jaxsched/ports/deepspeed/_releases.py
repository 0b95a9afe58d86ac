"""What differs between releases of DeepSpeed, as its files do not say theirs."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from jaxsched.checks import short
from jaxsched.ports.deepspeed._schedulers import LRRangeTest, OneCycle, Scheduler, WarmupLR
from jaxsched.ports.shared import open_version
from jaxsched.schedules import Schedule, piecewise

LATEST = "0.19.8"


@dataclasses.dataclass(frozen=True)
class Rules:
    """The rules of a release; the defaults are those of 0.19.8.

    Attributes:
        sets_first_lr: A scheduler of warm-up sets the lr of update 0, which else is the optimizer's.
        peak_of_optimizer: The optimizer's lr stands for a ``warmup_max_lr`` of WarmupLR that is left out; else 0.001.
        clips: ``gradient_clipping`` is 1.0 if left out; else gradients are not clipped.
        has_stairs: The stair counts of OneCycle act.
    """

    sets_first_lr: bool = True
    peak_of_optimizer: bool = True
    clips: bool = True
    has_stairs: bool = True

    def lr(self, scheduler: Scheduler, base: float) -> Schedule:
        """By updates, from the optimizer's lr."""
        if isinstance(scheduler, WarmupLR) and scheduler.warmup_max_lr is None and not self.peak_of_optimizer:
            scheduler = dataclasses.replace(scheduler, warmup_max_lr=0.001)
        schedule = self._plain(scheduler)(base)
        if self.sets_first_lr or isinstance(scheduler, OneCycle | LRRangeTest):
            return schedule
        return piecewise([base, schedule], at=[1])

    def momentum(self, scheduler: Scheduler) -> Schedule | None:
        return self._plain(scheduler).momentum

    def _plain(self, scheduler: Scheduler) -> Scheduler:
        if isinstance(scheduler, OneCycle) and not self.has_stairs:
            return dataclasses.replace(scheduler, cycle_first_stair_count=0, cycle_second_stair_count=0)
        return scheduler

    def differ(self, scheduler: Scheduler | None, clips: bool) -> str:
        """How a run by these rules differs from one by those of 0.19.8, in words; empty where it does not."""
        texts = []
        if not self.clips and not clips:
            texts.append("gradients are not clipped")
        if isinstance(scheduler, OneCycle) and self._plain(scheduler) != scheduler:
            texts.append("the stair counts have no effect")
        if isinstance(scheduler, WarmupLR) and scheduler.warmup_max_lr is None and not self.peak_of_optimizer:
            texts.append("warmup_max_lr is 0.001")
        if scheduler and not isinstance(scheduler, OneCycle | LRRangeTest) and not self.sets_first_lr:
            texts.append("update 0 has the optimizer's lr")
        return ", ".join(texts)


_FROM = {
    (0, 0): Rules(False, False, False, False),
    (0, 15, 3): Rules(True, False, False, False),
    (0, 17, 2): Rules(True, True, False, False),
    (0, 19, 3): Rules(),
}
"""The rules by the release that brought them."""
_LAST_WITH = ("0.15.2", "0.17.1", "0.19.2")


def rules_of(version: Any) -> Rules:
    """The rules of a release such as ``"0.15.2"``; those of the latest for None.

    Raises:
        ValueError: If it is not a version.
    """
    if version is None:
        return Rules()
    if not isinstance(version, str) or not re.fullmatch(r"\d{1,3}(\.\d{1,4}){1,3}", version):
        raise ValueError(f'version must be a release of DeepSpeed such as "{LATEST}", got {short(version)}')
    numbers = tuple(map(int, version.split(".")))
    return _FROM[max(begin for begin in _FROM if begin <= numbers)]


def open_release(where: str, scheduler: Scheduler | None, clips: bool) -> list[str]:
    """A caution if a run by an earlier release would have other numbers; ``clips``: the file says the clipping."""
    others = {name: rules_of(name).differ(scheduler, clips) for name in _LAST_WITH}
    return open_version(where, LATEST, others)
