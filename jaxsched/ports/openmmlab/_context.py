"""A run, and what a policy of mmcv knows of it and of its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.schedules import Schedule

Curve = Callable[[float], Schedule]
"""From a group's base value to its schedule."""


class Run(NamedTuple):
    """The length of a run, and whether it counts epochs.

    Attributes:
        epochs: None where the run counts iterations.
    """

    steps: int
    steps_per_epoch: int
    epochs: int | None


class Warmup(NamedTuple):
    steps: float
    ratio: float
    shape: str


class Context(NamedTuple):
    """What a policy knows.

    Attributes:
        what: ``lr`` or ``momentum``: the settings are ``min_lr`` or ``min_momentum`` and so on.
    """

    settings: Settings
    run: Run
    by_epoch: bool
    what: str
    warm: Warmup | None

    @property
    def length(self) -> int:
        return self.run.epochs if self.by_epoch and self.run.epochs is not None else self.run.steps

    @property
    def warm_steps(self) -> int:
        """The length of the warm-up, for a policy that needs a whole one."""
        steps = self.warm.steps if self.warm else 0
        if steps != int(steps):
            raise ValueError(f"{self.settings.where}: warmup_iters must come to whole iterations, got {steps!r}")
        return int(steps)

    def target(self) -> Callable[[float], float]:
        return self.settings.target(f"min_{self.what}", f"min_{self.what}_ratio")
