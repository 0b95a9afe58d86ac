"""MMYOLO 0.6.0's hooks that move the learning rate in place of schedulers: YOLOv5's and PP-YOLOE's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxsched.ports.openmmlab._constructors import YOLO
from jaxsched.ports.openmmlab._context import Curve, Run
from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.ports.shared import Loop, cosine_and_back
from jaxsched.schedules import Schedule, constant, cosine, linear, sequential


def curves(
    name: str, settings: Settings, run: Run, constructor: Any, paramwise: Any
) -> tuple[Curve, Curve | None, Mapping[str, Curve]]:
    """The lr of most groups, the momentum if it moves, and the lr of groups that differ."""
    if run.epochs is None:
        raise ValueError(f"{settings.where}: {name} needs a loop that counts epochs")
    if name == "PPYOLOEParamSchedulerHook":
        result: tuple[Curve, Curve | None, Mapping[str, Curve]] = _ppyoloe(settings, run), None, {}
    elif name == "YOLOv5ParamSchedulerHook":
        if constructor not in YOLO and paramwise:
            raise ValueError(
                f"{settings.where}: {name} warms up the third group in its own way, which with paramwise_cfg is any "
                f"parameter: use the constructor {YOLO[0]!r}"
            )
        lr, momentum, bias_lr = _yolov5(settings, run)
        result = lr, momentum, {"bias": bias_lr} if constructor in YOLO else {}
    else:
        raise ValueError(
            f"{settings.where}: {name} is not known: read without it, "
            "options={'default_hooks.param_scheduler': None} (--option default_hooks.param_scheduler=None), and "
            "give the recipe's lr yourself"
        )
    settings.finish()
    return result


def _ppyoloe(settings: Settings, run: Run) -> Curve:
    """A line from ``start_factor`` to the base, whole at ``i = warm-up``; then half a cosine over ``total_epochs``."""
    start, ratio = settings.number("start_factor", 0.0), settings.number("min_lr_ratio", 0.0)
    warm = max(
        round(settings.number("warmup_epochs", 5) * run.steps_per_epoch), settings.count("warmup_min_iter", 1000)
    )
    left = settings.count("total_epochs", 360) * run.steps_per_epoch - warm
    if left <= 0:
        raise ValueError(f"{settings.where}: the warm-up of {warm} iterations is longer than total_epochs")

    def curve(base: float) -> Schedule:
        floor = base * ratio
        falling = cosine(base, left, floor) if run.steps <= warm + left else cosine_and_back(base, base, left, floor)
        return sequential([linear(start * base, base, warm), falling], at=[warm]) if warm else falling

    return curve


def _yolov5(settings: Settings, run: Run) -> tuple[Curve, Curve, Curve]:
    """YOLOv5's loop: a warm-up of each iteration, then the decay, one epoch late."""
    by_cosine = settings.choice("scheduler_type", ("linear", "cosine"), "linear") == "cosine"
    factor, epochs = settings.number("lr_factor", 0.01), settings.count("max_epochs", 300, least=1)
    warmup_epochs, bias_start = settings.number("warmup_epochs", 3), settings.number("warmup_bias_lr", 0.1)
    start_momentum = settings.number("warmup_momentum", 0.8)
    warm = max(round(warmup_epochs * run.steps_per_epoch), settings.count("warmup_mim_iter", 1000))
    if (run.epochs or 1) > epochs:
        raise ValueError(f"{settings.where}: max_epochs={epochs} is less than the {run.epochs} epochs of the run")
    loop = Loop(
        epochs,
        run.steps_per_epoch,
        batch_size=1,
        curve="cosine" if by_cosine else "line",
        floor=factor,
        warmup_steps=warm,
        late=True,
    )

    def lr(start: float) -> Curve:
        return lambda base: loop.lr(base, start)

    def momentum(base: float) -> Schedule:
        return linear(start_momentum, base, warm) if warm else constant(base)

    return lr(0.0), momentum, lr(bias_start)
