"""The lr of torchvision's reference scripts at each step."""

from __future__ import annotations

from collections.abc import Sequence

from jaxsched.checks import short
from jaxsched.ports import shared
from jaxsched.ports.torchvision._scripts import SCHEDULERS
from jaxsched.schedules import (
    Schedule,
    constant,
    cosine,
    exponential,
    linear,
    multi_step,
    per_epoch,
    polynomial,
    sequential,
    step_decay,
    warmup,
)

_DETECTION_WARMUP = 1000
"""Steps of the first epoch, at most, in which detection raises the lr from a thousandth."""
_POWER = 0.9


def classification(a: shared.Settings, lr: float, epochs: int, warm: int, nb: int) -> Schedule:
    """A scheduler that steps once in an epoch, after a warm-up of some epochs."""
    kind = a.text("lr_scheduler").lower()
    every, gamma, floor = a.count("lr_step_size", least=1), a.number("lr_gamma", low=0.0), a.number("lr_min", low=0.0)
    if kind == "steplr":
        falls = step_decay(lr, every, gamma)
    elif kind == "exponentiallr":
        falls = exponential(lr, gamma)
    elif kind == "cosineannealinglr":
        falls = cosine(lr, _left(a, epochs, warm), floor)
    else:
        raise _unknown(a, "classification", kind)
    return per_epoch(_warmed(a, lr, warm, falls), nb)


def detection(a: shared.Settings, lr: float, epochs: int, warm: int, nb: int) -> Schedule:
    """A scheduler that steps once in an epoch, and a warm-up within the first epoch."""
    del warm
    kind, gamma, at = a.text("lr_scheduler").lower(), a.number("lr_gamma", low=0.0), a.counts("lr_steps", least=0)
    if kind == "multisteplr":
        falls = _stairs(lr, at, gamma)
    elif kind == "cosineannealinglr":
        falls = cosine(lr, epochs)
    else:
        raise _unknown(a, "detection", kind)
    by_step = per_epoch(falls, nb)
    if nb == 1:  # LinearLR over 0 steps multiplies once, and never raises the lr again
        return 0.001 * by_step
    return warmup(by_step, min(_DETECTION_WARMUP, nb - 1), start=0.001 * by_step)


def segmentation(a: shared.Settings, lr: float, epochs: int, warm: int, nb: int) -> Schedule:
    """A polynomial that falls at each step, after a warm-up of some epochs."""
    return _warmed(a, lr, warm * nb, polynomial(lr, 0.0, _left(a, epochs, warm) * nb, _POWER))


def video_classification(a: shared.Settings, lr: float, epochs: int, warm: int, nb: int) -> Schedule:
    """A staircase after a warm-up of some epochs, during which it does not fall."""
    del epochs
    gamma, at = a.number("lr_gamma", low=0.0), [(m - warm) * nb for m in a.counts("lr_milestones", least=0)]
    return _warmed(a, lr, warm * nb, _stairs(lr, at, gamma))


LRS = {
    "classification": classification,
    "detection": detection,
    "segmentation": segmentation,
    "video_classification": video_classification,
}


def _stairs(lr: float, at: Sequence[int], gamma: float) -> Schedule:
    """MultiStepLR: the stairs up to 0 have been taken at the start."""
    start = lr * gamma ** sum(step <= 0 for step in at)
    later = sorted(step for step in at if step > 0)
    return multi_step(start, later, gamma) if later else constant(start)


def _left(a: shared.Settings, epochs: int, warm: int) -> int:
    if warm >= epochs:
        raise ValueError(f"{a.at('lr_warmup_epochs')} must be below epochs ({epochs}), got {warm}")
    return epochs - warm


def _warmed(a: shared.Settings, lr: float, warm: int, falls: Schedule) -> Schedule:
    """``falls`` after a warm-up, with its clock restarted, as SequentialLR does."""
    start, method = a.number("lr_warmup_decay", low=0.0, high=1.0), a.text("lr_warmup_method").lower()
    if not warm:
        return falls
    if method not in ("linear", "constant"):
        raise ValueError(f"{a.at('lr_warmup_method')} must be linear or constant, got {short(method)}")
    rises = linear(lr * start, lr, warm) if method == "linear" else constant(lr * start)
    return sequential([rises, falls], at=[warm])


def _unknown(a: shared.Settings, script: str, kind: str) -> ValueError:
    return ValueError(f"{a.at('lr_scheduler')} must be one of {', '.join(SCHEDULERS[script])}, got {short(kind)}")
