"""What a config says, in its own words: how long it trains, with what optimizer, schedulers and hooks.

One function for each generation of OpenMMLab.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxsched.groups import Match
from jaxsched.numerics import MAX_STEP
from jaxsched.ports import shared
from jaxsched.ports.openmmlab import _ema, _policies
from jaxsched.ports.openmmlab import mmengine as schedulers_of
from jaxsched.ports.openmmlab._paramwise import Groups, groups
from jaxsched.ports.openmmlab._policies import Curve, Run
from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.schedules import Schedule

Config = Mapping[str, Any]


class Parts(NamedTuple):
    """What makes a recipe, of either generation."""

    optimizer: Settings
    grouping: Groups
    lr: Curve
    momentum: Curve | None
    clip_norm: float | None
    clip_value: float | None
    every: int
    """Batches to an update."""
    ema: Schedule | None


def is_new(config: Config) -> bool:
    if config.get("optim_wrapper") is not None:
        return True
    if config.get("optimizer") is not None:
        return False
    raise ValueError("the config has neither optim_wrapper nor optimizer: it is not one to train with")


def length(config: Config, steps_per_epoch: int) -> Run:
    """How long a config trains."""
    new = is_new(config)
    where = "train_cfg" if new else "runner"
    loop = config.get(where)
    if loop is None and not new and "total_epochs" in config:
        loop = {"type": "EpochBasedRunner", "max_epochs": config["total_epochs"]}
    if loop is None:
        raise ValueError(f"the config has no {where}: it is not one to train with")
    settings = Settings(where, loop)
    kinds = ("EpochBasedTrainLoop", "IterBasedTrainLoop") if new else ("EpochBasedRunner", "IterBasedRunner")
    # mmengine's train_cfg may name no type, and says by_epoch instead
    usual = kinds[0] if settings.flag("by_epoch", "max_iters" not in settings.values) else kinds[1]
    kind = settings.choice("type", kinds, usual)
    if kind == kinds[0]:
        epochs = settings.count("max_epochs", least=1)
        run = Run(epochs * steps_per_epoch, steps_per_epoch, epochs)
    else:
        run = Run(settings.count("max_iters", least=1), steps_per_epoch, None)
    if run.steps > MAX_STEP:
        raise ValueError(f"{where}: a run of {run.steps} steps is too long: steps are int32, up to {MAX_STEP}")
    return run


def mmcv(config: Config, run: Run, depthwise: Match | None, notes: list[str]) -> Parts:
    optimizer = Settings("optimizer", config["optimizer"])
    paramwise, constructor = optimizer.take("paramwise_cfg", None), optimizer.take("constructor", None)
    hook = config.get("optimizer_config")
    clip_norm, every = None, 1
    if hook is not None:
        settings = Settings("optimizer_config", hook)
        kind = settings.take("type", "OptimizerHook")
        clip = settings.take("grad_clip", None)
        if clip is not None:
            clip_norm = _norm(Settings("optimizer_config: grad_clip", clip))
        if kind in ("GradientCumulativeOptimizerHook", "GradientCumulativeFp16OptimizerHook"):
            every = settings.count("cumulative_iters", 1, least=1)
        aside = ("loss_scale", "coalesce", "bucket_size_mb", "distributed", "detect_anomalous_params")
        set_aside(settings, aside, notes)
        if kind not in _OPTIMIZER_HOOKS:
            raise ValueError(f"optimizer_config: type {kind!r} is not known")
        settings.finish()
    if config.get("fp16") is not None:
        notes.append("fp16: mixed precision is not part of a recipe")
    ema = None
    for name, settings in _hooks(config):
        if name in ("EMAHook", "ExpMomentumEMAHook", "LinearMomentumEMAHook"):
            ema = _ema.mmcv_hook(name, settings)
            settings.finish()
        else:
            notes.append(f"custom_hooks: {name} is not part of a recipe")
    momentum = config.get("momentum_config")
    return Parts(
        optimizer=optimizer,
        grouping=groups(
            paramwise,
            generation=1,
            decays="weight_decay" in optimizer.values,
            constructor=constructor,
            depthwise=depthwise,
        ),
        lr=_policies.curve(config.get("lr_config"), run),
        momentum=None if momentum is None else _policies.curve(momentum, run, "momentum"),
        clip_norm=clip_norm,
        clip_value=None,
        every=every,
        ema=ema,
    )


_OPTIMIZER_HOOKS = ("OptimizerHook", "Fp16OptimizerHook", "GradientCumulativeOptimizerHook") + (
    "GradientCumulativeFp16OptimizerHook",
)


def mmengine(config: Config, run: Run, depthwise: Match | None, notes: list[str]) -> Parts:
    settings = Settings("optim_wrapper", config["optim_wrapper"])
    kind = settings.take("type", "OptimWrapper")
    if kind not in ("OptimWrapper", "AmpOptimWrapper", "ApexOptimWrapper"):
        raise ValueError(f"optim_wrapper: type {kind!r} is not known")
    if kind != "OptimWrapper":
        notes.append(f"optim_wrapper: {kind}: mixed precision is not part of a recipe")
    optimizer = Settings("optim_wrapper: optimizer", settings.take("optimizer"))
    clip_norm = clip_value = None
    clip = settings.take("clip_grad", None)
    if clip:
        by = Settings("optim_wrapper: clip_grad", clip)
        if by.choice("type", ("norm", "value"), "norm") == "norm":
            clip_norm = _norm(by)
        else:
            clip_value = by.number("clip_value")
            by.finish(["clip_value"])
    every = settings.count("accumulative_counts", 1, least=1)
    paramwise, constructor = settings.take("paramwise_cfg", None), settings.take("constructor", None)
    set_aside(settings, ("loss_scale", "dtype", "use_fsdp", "opt_level", "loss_scaler", "cast_model_type"), notes)
    settings.finish()
    ema = None
    for name, hook in _hooks(config):
        if name == "EMAHook":
            ema = _ema.mmengine_hook(hook, run.steps_per_epoch)
            hook.finish()
        else:
            notes.append(f"custom_hooks: {name} is not part of a recipe")
    schedulers = config.get("param_scheduler")
    reports_before = _reports_before(config["train_cfg"], run)
    return Parts(
        optimizer=optimizer,
        grouping=groups(
            paramwise,
            generation=2,
            decays="weight_decay" in optimizer.values,
            constructor=constructor,
            depthwise=depthwise,
        ),
        lr=schedulers_of.curve(schedulers, run, "lr", reports_before, notes),
        momentum=schedulers_of.curve(schedulers, run, "momentum", reports_before, notes)
        if schedulers_of.moves_momentum(schedulers)
        else None,
        clip_norm=clip_norm,
        clip_value=clip_value,
        every=every,
        ema=ema,
    )


def _reports_before(loop: Config, run: Run) -> Callable[[int], int]:
    """How many times mmengine has validated, and so reported a metric, before the end of an epoch (from 1)."""
    last = run.epochs or 0
    every, begin = (shared.as_count(f"train_cfg: {name}", loop.get(name, 1)) for name in ("val_interval", "val_begin"))

    def before(epoch: int) -> int:
        regular = max(min(epoch - 1, last) // every - (begin - 1) // every, 0)
        return regular + int(begin <= last < epoch and last % every != 0)

    return before


def _norm(settings: Settings) -> float:
    limit = settings.number("max_norm")
    if settings.number("norm_type", 2) != 2:
        raise ValueError(f"{settings.where}: norm_type must be 2, got {settings.values}")
    settings.take("error_if_nonfinite", None)
    settings.take("foreach", None)
    settings.finish()
    return limit


def set_aside(settings: Settings, names: tuple[str, ...], notes: list[str]) -> None:
    found = [name for name in names if settings.take(name, None) is not None]
    if found:
        notes.append(f"{settings.where}: not part of a recipe: {', '.join(found)}")


def _hooks(config: Config) -> list[tuple[str, Settings]]:
    """The custom hooks by name. Only those that average touch a recipe, so what others say need not be readable."""
    hooks = config.get("custom_hooks") or []
    found = []
    for i, hook in enumerate(hooks if isinstance(hooks, list | tuple) else []):
        name = hook.get("type") if isinstance(hook, Mapping) else None
        if not isinstance(name, str):
            found.append((f"[{i}] (without a type)", Settings(f"custom_hooks[{i}]", {})))
            continue
        name = name.rpartition(".")[2]
        values = hook if "EMA" in name else {}
        settings = Settings(f"custom_hooks[{i}]", values)
        settings.take("type", None)
        settings.take("priority", None)
        found.append((name, settings))
    return found
