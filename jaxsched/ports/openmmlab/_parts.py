"""The parts of a config that make a recipe: length, optimizer, schedulers and hooks.

One function for each generation of OpenMMLab.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxsched import optimizers
from jaxsched.checks import short
from jaxsched.groups import Match
from jaxsched.numerics import MAX_STEP
from jaxsched.optimizers.internal import definition_of
from jaxsched.ports import shared
from jaxsched.ports.openmmlab import _ema, _hooks, _mmyolo, _paramwise, _policies
from jaxsched.ports.openmmlab import mmengine as schedulers_of
from jaxsched.ports.openmmlab._constructors import YOLO, YOLO_GROUPS, groups
from jaxsched.ports.openmmlab._context import Curve, Run
from jaxsched.ports.openmmlab._paramwise import REST, Groups
from jaxsched.ports.openmmlab._settings import Settings, bare
from jaxsched.recipe import caution
from jaxsched.schedules import Schedule

Config = Mapping[str, Any]


class ConfigParts(NamedTuple):
    """The parts of a recipe, from either generation of configs.

    Attributes:
        every: Batches per update.
        drops: Whether what is gathered at the end of the run is dropped.
        group_lr: The lr of groups that have a curve of their own.
        scales_decay: Whether the weight decay depends on the images in a batch.
    """

    optimizer: Settings
    grouping: Groups
    lr: Curve
    momentum: Curve | None
    weight_decay: Curve | None
    clip_norm: float | None
    clip_value: float | None
    every: int
    drops: bool
    ema: Schedule | None
    group_lr: Mapping[str, Curve] = {}
    scales_decay: bool = False


def is_new(config: Config) -> bool:
    if config.get("optim_wrapper") is not None:
        return True
    if config.get("optimizer") is not None:
        return False
    raise ValueError("the config has neither optim_wrapper nor optimizer: it is not one to train with")


def with_one_optimizer(config: Config, name: str | None, notes: list[str]) -> Config:
    """The config as if it had only the optimizer of this name, where it has several, as a GAN does.

    Raises:
        MissingError: If there are several and none is named.
        ValueError: If there is no such optimizer.
    """
    where = "optim_wrapper" if config.get("optim_wrapper") is not None else "optimizer"
    if where == "optimizer" and config.get("optimizer") is None and config.get("optimizers") is not None:
        where = "optimizers"
    found = config.get(where)
    own = "optimizer" if where == "optim_wrapper" else "type"
    several = {}
    if isinstance(found, Mapping) and own not in found:
        several = {key: value for key, value in found.items() if isinstance(value, Mapping) and own in value}
    if not several:
        if name is not None:
            raise ValueError(f"{where}: there is one optimizer; do not give optimizer=")
        return config
    listed = ", ".join(map(repr, several))
    if name is None:
        raise shared.MissingError(
            where, f"it has several optimizers, {listed}, each with a recipe of its own", ["optimizer"]
        )
    if name not in several:
        raise ValueError(f"{where}: there is no optimizer {name!r}; there are {listed}")
    beside = set(found or ()) - set(several) - {"type", "constructor"}
    if beside:
        raise ValueError(f"{where}: {', '.join(sorted(map(repr, beside)))} beside several optimizers is not known")
    notes.append(f"{where}: the recipe of {name!r} of {listed}; a step is an iteration, in which the model may skip it")
    result = {**config, ("optimizer" if where == "optimizers" else where): several[name]}
    if isinstance(hooks := config.get("custom_hooks"), list | tuple):
        result["custom_hooks"] = [hook for hook in hooks if not _hooks.averages_another(hook, name)]
    lr = config.get("lr_config")
    if isinstance(lr, Mapping) and isinstance(tops := lr.get("max_lr"), Mapping):
        if name not in tops:
            raise ValueError(f"lr_config: max_lr has no value for {name!r}; add one")
        result["lr_config"] = {**lr, "max_lr": tops[name]}
    schedulers = config.get("param_scheduler")
    if isinstance(schedulers, Mapping) and "type" not in schedulers:
        result["param_scheduler"] = schedulers.get(name)
    return result


_BY_EPOCH = ("EpochBasedTrainLoop", "EpochBasedRunner", "EpochBasedRunnerAmp", "MultiLoaderEpochBasedTrainLoop")
_BY_STEP = ("IterBasedTrainLoop", "IterBasedRunner", "IterBasedRunnerAmp", "DynamicIterBasedRunner")
"""Loops of mmengine, mmcv, apex, MMAction2 and MMGeneration; others that say what they count are read with a note."""


def length(config: Config, steps_per_epoch: int, notes: list[str] | None = None) -> Run:
    """The length of the run that a config describes."""
    new = is_new(config)
    where = "train_cfg" if new else "runner"
    loop = config.get(where)
    if not new and (loop is None or (isinstance(loop, Mapping) and not {"max_epochs", "max_iters"} & set(loop))):
        for given, length in (("total_epochs", "max_epochs"), ("total_iters", "max_iters")):
            if given in config:
                loop = {**(loop or {}), length: config[given]}
    if loop is None:
        raise ValueError(f"the config has no {where}: it is not one to train with")
    settings = Settings(where, loop)
    # mmengine's train_cfg may name no type, and says by_epoch instead
    by_epoch = settings.flag("by_epoch", "max_iters" not in settings.values)
    kind = settings.name("type", None)
    if kind in (*_BY_EPOCH, *_BY_STEP):
        by_epoch = kind in _BY_EPOCH
    elif kind is not None:
        words = [counts for text, counts in (("EpochBased", True), ("IterBased", False)) if text in str(kind)]
        if len(words) != 1:
            known = ", ".join(_BY_EPOCH[:1] + _BY_STEP[:1] if new else _BY_EPOCH[1:2] + _BY_STEP[1:2])
            raise ValueError(f"{where}: type {kind!r} is not known; known are {known}")
        by_epoch = words[0]
        if notes is not None:
            as_what = "epochs" if by_epoch else "iterations"
            notes.append(caution("unknown-loop", f"{where}: {kind} is read as a loop that counts {as_what}"))
    if by_epoch:
        epochs = settings.count("max_epochs", least=1)
        run = Run(epochs * steps_per_epoch, steps_per_epoch, epochs)
    else:
        run = Run(settings.count("max_iters", least=1), steps_per_epoch, None)
    settings.check_spelling()
    if run.steps > MAX_STEP:
        raise ValueError(f"{where}: a run of {run.steps} steps is too long: steps are int32, up to {MAX_STEP}")
    return run


_GATHERING = ("GradientCumulativeOptimizerHook", "GradientCumulativeFp16OptimizerHook")
_OPTIMIZER_HOOKS = ("OptimizerHook", "Fp16OptimizerHook", "DistOptimizerHook", *_GATHERING)


def mmcv(config: Config, run: Run, depthwise: Match | None, batch_size: int | None, notes: list[str]) -> ConfigParts:
    del batch_size
    optimizer = Settings("optimizer", config["optimizer"])
    paramwise, constructor = optimizer.take("paramwise_cfg", None), optimizer.name("constructor", None)
    options = optimizer.take("paramwise_options", None)
    if isinstance(options, Mapping) and options and set(options) <= _paramwise.NAMES:  # as mmcv 0.x calls it
        paramwise, options = options, None
        notes.append("optimizer: paramwise_options is read as paramwise_cfg, whose name it was in mmcv 0.x")
    hook = config.get("optimizer_config")
    clip_norm, every, drops = None, 1, False
    if hook is not None:
        settings = Settings("optimizer_config", hook)
        kind = settings.name("type", "OptimizerHook")
        clip = settings.take("grad_clip", None)
        if clip is not None:
            clip_norm = _norm(_clipping("optimizer_config: grad_clip", clip))
        if kind in _GATHERING:
            every = settings.count("cumulative_iters", 1, least=1)
        elif "update_interval" in settings.values:  # each N batches, counted over the run
            every = settings.count("update_interval", least=1)
            drops = "use_fp16" in settings.values  # of Swin's code; MMSelfSup 0.11 makes a last update of what is left
        aside = ("loss_scale", "coalesce", "bucket_size_mb", "distributed", "detect_anomalous_params", "use_fp16")
        set_aside(settings, aside, notes)
        if settings.take("frozen_layers_cfg", None):
            notes.append(
                caution("unread-hook", "optimizer_config: frozen_layers_cfg freezes layers for a while: left out")
            )
        if kind not in _OPTIMIZER_HOOKS:
            raise ValueError(f"optimizer_config: type {kind!r} is not known")
        settings.finish()
    if config.get("fp16") is not None:
        notes.append("fp16: mixed precision is not part of a recipe")
    averaging = ("EMAHook", "ExpMomentumEMAHook", "LinearMomentumEMAHook", _hooks.OF_A_NETWORK)
    ema = _average(config, averaging, _ema.mmcv_hook, notes)
    momentum = config.get("momentum_config")
    return ConfigParts(
        optimizer=optimizer,
        grouping=groups(
            paramwise,
            generation=1,
            optimizer=optimizer,
            constructor=constructor,
            depthwise=depthwise,
            hyperparameters=_hyperparameters_of(optimizer),
            options=options,
            model=config.get("model"),
        ),
        lr=_policies.curve(config.get("lr_config"), run),
        momentum=None if momentum is None else _policies.curve(momentum, run, "momentum"),
        weight_decay=None,
        clip_norm=clip_norm,
        clip_value=None,
        every=every,
        drops=drops,
        ema=ema,
    )


_OF_THE_OTHER = ("optimizer_config", "lr_config", "momentum_config")
"""Settings of mmcv 1.x that mmengine ignores. So is a top-level ``optimizer`` that differs from ``optim_wrapper``'s."""
_OF_OTHERS = ("ema_config", "lr_scheduler", "swa_")
"""Prefixes of settings of other trainers that would change a hyperparameter or an average."""


def mmengine(
    config: Config, run: Run, depthwise: Match | None, batch_size: int | None, notes: list[str]
) -> ConfigParts:
    left = [name for name in _OF_THE_OTHER if config.get(name) is not None]
    wrapper, own = config["optim_wrapper"], config.get("optimizer")
    if isinstance(own, Mapping) and isinstance(wrapper, Mapping) and own != wrapper.get("optimizer"):
        left.append("optimizer (optim_wrapper has another)")
    others = [name for name, value in config.items() if str(name).startswith(_OF_OTHERS) and value is not None]
    if others:
        notes.append(caution("left-out", f"settings that mmengine does not read: {', '.join(map(str, others))}"))
    if left:
        notes.append(
            caution("other-generation", f"settings of mmcv 1.x, which mmengine does not read: {', '.join(left)}")
        )
    settings = Settings("optim_wrapper", config["optim_wrapper"])
    kind = settings.name("type", "OptimWrapper")
    if kind not in ("OptimWrapper", "AmpOptimWrapper", "ApexOptimWrapper", "DeepSpeedOptimWrapper"):
        raise ValueError(f"optim_wrapper: type {kind!r} is not known")
    if kind == "DeepSpeedOptimWrapper":
        _check_deepspeed(config.get("strategy"), notes)
    elif kind != "OptimWrapper":
        notes.append(f"optim_wrapper: {kind}: mixed precision is not part of a recipe")
    optimizer = Settings("optim_wrapper: optimizer", settings.take("optimizer"))
    clip_norm = clip_value = None
    clip = settings.take("clip_grad", None)
    if clip:
        by = _clipping("optim_wrapper: clip_grad", clip)
        if by.choice("type", ("norm", "value"), "norm") == "norm":
            clip_norm = _norm(by)
        else:
            clip_value = by.number("clip_value")
            by.finish(["clip_value"])
    if (modules := settings.take("modules", None)) is not None:  # of MMagic
        notes.append(f"optim_wrapper: only the parameters of these modules are trained: {short(modules)}")
    every = settings.count("accumulative_counts", 1, least=1)
    paramwise, constructor = settings.take("paramwise_cfg", None), settings.name("constructor", None)
    if modules is not None and constructor == "MultiOptimWrapperConstructor":
        constructor = None  # which it becomes for one optimizer
    set_aside(settings, ("loss_scale", "dtype", "use_fsdp", "opt_level", "loss_scaler", "cast_model_type"), notes)
    settings.finish()
    ema = _average(config, ("EMAHook",), lambda name, hook: _ema.mmengine_hook(hook, run.steps_per_epoch), notes)
    schedulers = config.get("param_scheduler")
    reports_before = _reports_before(config["train_cfg"], run)
    by_group = schedulers_of.by_group(schedulers, YOLO_GROUPS) if constructor in YOLO else {}
    schedulers = by_group.get(REST, schedulers)

    def curve(entries: Any, what: str, notes: list[str]) -> Curve:
        return schedulers_of.curve(entries, run, what, reports_before, notes, config.get("default_scope"))

    curves: dict[str, Any] = {
        what: curve(schedulers, what, notes)
        for what in ("lr", "momentum", "weight_decay")
        if what == "lr" or schedulers_of.moves(schedulers, what)
    }
    group_lr: Mapping[str, Curve] = {group: curve(entries, "lr", []) for group, entries in by_group.items()}
    own = _hooks.scheduler_hook(config)
    if own is not None:
        curves["lr"], curves["momentum"], group_lr = _mmyolo.curves(*own, run, constructor, paramwise)
    return ConfigParts(
        optimizer=optimizer,
        grouping=groups(
            paramwise,
            generation=2,
            optimizer=optimizer,
            constructor=constructor,
            depthwise=depthwise,
            hyperparameters=_hyperparameters_of(optimizer),
            model=config.get("model"),
            batch_size=batch_size,
            images_on_a_device=optimizer.count("batch_size_per_gpu", None, least=1) if constructor in YOLO else None,
        ),
        lr=curves["lr"],
        momentum=curves.get("momentum"),
        weight_decay=curves.get("weight_decay"),
        clip_norm=clip_norm,
        clip_value=clip_value,
        every=every,
        drops=False,
        ema=ema,
        group_lr=group_lr,
        scales_decay=constructor in YOLO,
    )


_OWN_OF_DEEPSPEED = ("gradient_clipping", "gradient_accumulation_steps", "optimizer", "scheduler", "config")


def _check_deepspeed(strategy: Any, notes: list[str]) -> None:
    """That DeepSpeed only shards and rounds: its own clipping or schedule would be left out."""
    found = [
        name for name in _OWN_OF_DEEPSPEED if isinstance(strategy, Mapping) and strategy.get(name) not in (None, 1)
    ]
    if found:
        raise ValueError(
            f"strategy: {found[0]} of DeepSpeed is not read: remove it, and add what it does to the recipe"
        )
    notes.append("optim_wrapper: DeepSpeed's sharding and mixed precision are not part of a recipe")


def _hyperparameters_of(optimizer: Settings) -> list[str]:
    """The arguments of an optimizer that a group can set; unknown names are an error elsewhere."""
    kind = bare(optimizer.values.get("type"))
    definition = definition_of(getattr(optimizers, kind.lower(), None)) if isinstance(kind, str) else None
    return [] if definition is None else list(definition.arguments)


def _average(
    config: Config, known: tuple[str, ...], read: Callable[[str, Settings], Schedule], notes: list[str]
) -> Schedule | None:
    """The average of the weights that a hook keeps; notes on all other hooks."""
    ema, first = None, ""
    for hook in _hooks.custom_hooks(config):
        name, settings = hook
        if name not in known:
            notes.append(_hooks.left_out(hook))
            continue
        if first:
            raise ValueError(
                f"{first} and {settings.where} both average the weights: a recipe has one average, remove one"
            )
        first, ema = settings.where, read(name, settings)
        settings.finish()
    return ema


def _reports_before(loop: Config, run: Run) -> Callable[[int], int]:
    """How many times mmengine has validated, and so reported a metric, before the end of an epoch (from 1)."""
    last = run.epochs or 0
    every, begin = (shared.as_count(f"train_cfg: {name}", loop.get(name, 1)) for name in ("val_interval", "val_begin"))

    def before(epoch: int) -> int:
        regular = max(min(epoch - 1, last) // every - (begin - 1) // every, 0)
        return regular + int(begin <= last < epoch and last % every != 0)

    return before


def _clipping(where: str, clip: Any) -> Settings:
    if not isinstance(clip, Mapping):
        raise TypeError(f"{where} must be a dict such as dict(max_norm=35, norm_type=2), got {short(clip)}")
    return Settings(where, clip)


def _norm(settings: Settings) -> float:
    limit = settings.number("max_norm")
    kind = settings.take("norm_type", 2)
    if kind != 2:
        raise ValueError(
            f"{settings.where}: norm_type must be 2, the only norm that a recipe clips by, got {short(kind)}"
        )
    settings.take("error_if_nonfinite", None)
    settings.take("foreach", None)
    settings.finish()
    return limit


def set_aside(settings: Settings, names: tuple[str, ...], notes: list[str]) -> None:
    found = [name for name in names if settings.take(name, None) is not None]
    if found:
        notes.append(f"{settings.where}: not part of a recipe: {', '.join(found)}")
