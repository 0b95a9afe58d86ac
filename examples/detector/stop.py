"""When a run ends before its last epoch."""

from __future__ import annotations

import math
import signal
import threading
from typing import Any

import jax
from jax.experimental import multihost_utils


class EarlyStopping:
    """YOLOv5's rule: stop after `patience` epochs without a strictly better fitness; 0 for never."""

    def __init__(self, patience: int, best: float = -1.0, best_epoch: int = 0, epoch: int = 0):
        self.patience, self.best, self.best_epoch, self.epoch = patience or math.inf, best, best_epoch, epoch

    def __call__(self, epoch: int, fitness: float) -> bool:
        """Note the fitness of an epoch; whether to stop."""
        self.epoch = epoch
        if fitness > self.best:
            self.best, self.best_epoch = fitness, epoch
        return self.stops

    @property
    def stops(self) -> bool:
        return self.epoch - self.best_epoch >= self.patience

    def progress(self) -> dict[str, Any]:
        """What a checkpoint keeps: the arguments to continue with."""
        return {"best": self.best, "best_epoch": self.best_epoch, "epoch": self.epoch}


class Termination:
    """Whether the run was asked to end (SIGTERM), by a scheduler or a person. A context: the signal is noted within."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Termination:
        # jax.distributed has a handler of its own, and Python can handle signals in the main thread only.
        self.handles = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
        if self.handles:
            self.before = signal.signal(signal.SIGTERM, self.note)
        return self

    def __exit__(self, *_: Any) -> None:
        if self.handles:
            signal.signal(signal.SIGTERM, self.before)

    def note(self, *_: Any) -> None:
        self.requested = True

    def reached(self, step: int) -> bool:
        """Whether to end after `step`; all processes of a run agree on the step."""
        if jax.process_count() == 1:
            return self.requested
        return multihost_utils.reached_preemption_sync_point(step)
