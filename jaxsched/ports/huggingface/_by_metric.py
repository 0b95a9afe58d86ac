"""The schedules of transformers that follow a metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxsched.checks import number, short
from jaxsched.metric import greedy, plateau
from jaxsched.schedules import Schedule

OfLr = Callable[..., Schedule]
"""From a group's base lr, and as ``default`` the optimizer's own, to the schedule."""


def reduce_lr_on_plateau(
    mode: str = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: str = "rel",
    cooldown: int = 0,
    min_lr: float = 0,
    eps: float = 1e-8,
) -> OfLr:
    modes = _modes(mode, threshold_mode)
    return lambda lr, default=None: plateau(
        lr,
        factor,
        patience,
        threshold=threshold,
        cooldown=cooldown,
        floor=_of_one_group("min_lr", min_lr),
        least_change=eps,
        **modes,
    )


def greedy_lr(
    mode: str = "min",
    factor: float = 0.95,
    patience: int = 10,
    threshold: float = 1e-6,
    threshold_mode: str = "abs",
    cooldown: int = 0,
    warmup: int = 0,
    min_lr: float = 1e-3,
    max_lr: float = 1.0,
    eps: float = 1e-8,
    verbose: bool = False,
    smooth: bool = False,
    window_size: int = 50,
    reset_start: int = 500,
) -> OfLr:
    del verbose
    modes = _modes(mode, threshold_mode)
    return lambda lr, default=None: greedy(
        lr,
        factor,
        patience,
        threshold=threshold,
        cooldown=cooldown,
        warmup=warmup,
        floor=_of_one_group("min_lr", min_lr),
        ceiling=_of_one_group("max_lr", max_lr),
        least_change=eps,
        window=window_size if smooth else None,
        restart=reset_start,
        **modes,
    )


def _modes(mode: str, threshold_mode: str) -> dict[str, bool]:
    for name, value, allowed in (("mode", mode, ("min", "max")), ("threshold_mode", threshold_mode, ("rel", "abs"))):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {short(value)}")
    return {"relative": threshold_mode == "rel", "maximize": mode == "max"}


def _of_one_group(name: str, value: Any) -> float:
    if isinstance(value, list | tuple):
        raise TypeError(
            f"{name} must be one number, got {short(value)}; call get_scheduler for each group with its own"
        )
    return number(name, value)
