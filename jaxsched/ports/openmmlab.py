"""OpenMMLab's training configs, as of MMDetection 2 (mmcv 1.7.2) and 3 (mmengine 0.10.7), parsed and never executed."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsched import optimizers
from jaxsched.groups import Match
from jaxsched.ports import _fields, _mm_ema, _mm_names, _mmcv_policies, _mmengine_schedulers
from jaxsched.ports._mm_paramwise import Groups, Multiples, groups
from jaxsched.ports._mm_settings import Settings
from jaxsched.ports._mmconfig import read_config
from jaxsched.ports._mmconfig_values import require
from jaxsched.ports._mmcv_policies import Curve, Run
from jaxsched.recipe import Accumulate, Recipe
from jaxsched.schedules import piecewise

Config = Mapping[str, Any]


def read(
    path: str | os.PathLike[str],
    *,
    steps_per_epoch: int,
    packages: Mapping[str, str | os.PathLike[str]] | None = None,
    batch_size: int | None = None,
    depthwise: Match | None = None,
    root: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Recipe:
    """The recipe of a config file of MMDetection, or of another OpenMMLab package of its time.

    The file and those that it inherits from are parsed and evaluated as data: nothing in them runs. Strings, lists,
    ``package::path`` and ``with read_base():`` inherit; names, arithmetic, comprehensions and ``.update()`` are
    followed. What cannot be known without running the file is an error only where the recipe needs it.

    Args:
        path: A ``.py`` config.
        steps_per_epoch: Batches in an epoch of the training set, RepeatDataset included.
        packages: For each package that is inherited from (``mmpretrain::...``) its folder.
        batch_size: As `recipe`.
        depthwise: As `recipe`.
        root: Bases must lie in this folder or one of ``packages``. Default: the outermost folder around ``path`` that
        holds
            a folder ``_base_``, else the folder of ``path``.
        environment: Values for ``{{$NAME:default}}``; the process's own environment is not looked at.

    Returns:
        A recipe, as from `recipe`. A name such as ``..._2x_coco.py`` that disagrees with the numbers in the file is
        warned of and noted.

    Raises:
        ValueError: (ConfigError, with ``file`` and ``line``) If the file cannot be read; and as `recipe`.
    """
    config = read_config(path, packages=packages, root=root, environment=environment)
    try:
        result = recipe(config, steps_per_epoch=steps_per_epoch, batch_size=batch_size, depthwise=depthwise)
    except (TypeError, ValueError) as error:
        if hasattr(error, "file"):
            raise
        raise type(error)(f"{path}: {error}") from None
    counts_epochs = _run(config, steps_per_epoch).epochs
    wrong = _mm_names.disagreement(Path(path).stem, config, counts_epochs, result.steps or 0)
    if wrong:
        warnings.warn(f"{path}: {wrong}", stacklevel=2)
        result = result.replace(notes=(*result.notes, wrong))
    return result


def recipe(
    config: Config,
    *,
    steps_per_epoch: int,
    batch_size: int | None = None,
    depthwise: Match | None = None,
) -> Recipe:
    """The recipe in a config that is already a dict (mmengine's ``Config.to_dict()``, say).

    Which generation it is of, is seen from what is there: ``optim_wrapper``, ``param_scheduler`` and ``train_cfg``, or
    ``optimizer``, ``lr_config``, ``momentum_config`` and ``runner``. With ``i`` the iteration, ``e`` the epoch and
    ``b`` the base value of a group:

    - mmcv 1.x: a policy of ``e`` (or ``i``) times a warm-up of ``i``; whole at ``i = warmup_iters``.
    - mmengine: schedulers that change one number in turn, in windows that nothing restores after; a linear warm-up is
      whole one step earlier, and milestones count from their window's ``begin``.

    A quirk of a config is kept: a milestone at or beyond the ``end`` of its scheduler never comes. Groups: one for each
    custom key (or set of keys that say the same), ``norm``, ``bias`` and so on where ``paramwise_cfg`` names them, and
    ``weight`` for all else. With custom keys, compare the groups with your parameters.

    Args:
        config: The merged config.
        steps_per_epoch: Batches in an epoch, > 0.
        batch_size: Images in a batch, over all devices. If given, the learning rates are scaled by
            ``batch_size / auto_scale_lr.base_batch_size``, as ``--auto-scale-lr`` does (absolute floors are not).
            Needed where the config itself enables that.
        depthwise: Which parameters belong to depthwise convolutions, such as ``"**/depthwise/**"``; needed for
            ``dwconv_decay_mult``.

    Returns:
        A recipe; what the config holds beside it is listed in ``notes``.

    Raises:
        TypeError: If a setting has the wrong type.
        ValueError: If a setting is missing, not known, contradictory or out of its range; it names the setting.

    Example:
        >>> import jaxsched as js
        >>> config = dict(
        ...     optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001),
        ...     lr_config=dict(policy="step", step=[8, 11], warmup="linear", warmup_iters=500, warmup_ratio=0.001),
        ...     runner=dict(type="EpochBasedRunner", max_epochs=12))
        >>> recipe = js.ports.openmmlab.recipe(config, steps_per_epoch=7330)
        >>> js.curves(recipe, [0, 500, 8 * 7330, 11 * 7330])["weight"]["lr"].round(6).tolist()
        [1.9999999494757503e-05, 0.019999999552965164, 0.0020000000949949026, 0.00019999999494757503]
    """
    steps_per_epoch = _fields.as_count("steps_per_epoch", steps_per_epoch)
    run = _run(config, steps_per_epoch)
    notes: list[str] = []
    if _is_new(config):
        parts = _mmengine(config, run, depthwise, notes)
    else:
        parts = _mmcv(config, run, depthwise, notes)
    return _recipe(config, run, batch_size, notes, **parts)


def _is_new(config: Config) -> bool:
    if config.get("optim_wrapper") is not None:
        return True
    if config.get("optimizer") is not None:
        return False
    raise ValueError("the config has neither optim_wrapper nor optimizer: it is not one to train with")


def _run(config: Config, steps_per_epoch: int) -> Run:
    """How long a config trains."""
    new = _is_new(config)
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
        return Run(epochs * steps_per_epoch, steps_per_epoch, epochs)
    return Run(settings.count("max_iters", least=1), steps_per_epoch, None)


def _mmcv(config: Config, run: Run, depthwise: Match | None, notes: list[str]) -> dict[str, Any]:
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
        _set_aside(settings, aside, notes)
        if kind not in _OPTIMIZER_HOOKS:
            raise ValueError(f"optimizer_config: type {kind!r} is not known")
        settings.finish()
    if config.get("fp16") is not None:
        notes.append("fp16: mixed precision is not part of a recipe")
    ema = None
    for name, settings in _hooks(config):
        if name in ("EMAHook", "ExpMomentumEMAHook", "LinearMomentumEMAHook"):
            ema = _mm_ema.mmcv_hook(name, settings)
            settings.finish()
        else:
            notes.append(f"custom_hooks: {name} is not part of a recipe")
    momentum = config.get("momentum_config")
    return {
        "optimizer": optimizer,
        "grouping": groups(
            paramwise,
            generation=1,
            decays="weight_decay" in optimizer.values,
            constructor=constructor,
            depthwise=depthwise,
        ),
        "lr": _mmcv_policies.curve(require(config.get("lr_config"), "lr_config"), run),
        "momentum": None if momentum is None else _mmcv_policies.curve(momentum, run, "momentum"),
        "clip_norm": clip_norm,
        "clip_value": None,
        "every": every,
        "ema": ema,
    }


_OPTIMIZER_HOOKS = ("OptimizerHook", "Fp16OptimizerHook", "GradientCumulativeOptimizerHook") + (
    "GradientCumulativeFp16OptimizerHook",
)


def _mmengine(config: Config, run: Run, depthwise: Match | None, notes: list[str]) -> dict[str, Any]:
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
    _set_aside(settings, ("loss_scale", "dtype", "use_fsdp", "opt_level", "loss_scaler", "cast_model_type"), notes)
    settings.finish()
    ema = None
    for name, hook in _hooks(config):
        if name == "EMAHook":
            ema = _mm_ema.mmengine_hook(hook, run.steps_per_epoch)
            hook.finish()
        else:
            notes.append(f"custom_hooks: {name} is not part of a recipe")
    schedulers = require(config.get("param_scheduler"), "param_scheduler")
    validated = _validated(config["train_cfg"], run)
    return {
        "optimizer": optimizer,
        "grouping": groups(
            paramwise,
            generation=2,
            decays="weight_decay" in optimizer.values,
            constructor=constructor,
            depthwise=depthwise,
        ),
        "lr": _mmengine_schedulers.curve(schedulers, run, "lr", validated, notes),
        "momentum": _mmengine_schedulers.curve(schedulers, run, "momentum", validated, notes)
        if _mmengine_schedulers.moves_momentum(schedulers)
        else None,
        "clip_norm": clip_norm,
        "clip_value": clip_value,
        "every": every,
        "ema": ema,
    }


def _validated(loop: Config, run: Run) -> list[int]:
    """The epochs (from 1) after which mmengine validates, which is when a metric is reported."""
    if run.epochs is None:
        return []
    every, begin = (_fields.as_count(f"train_cfg: {name}", loop.get(name, 1)) for name in ("val_interval", "val_begin"))
    return [e for e in range(begin, run.epochs + 1) if e % every == 0 or e == run.epochs]


def _norm(settings: Settings) -> float:
    limit = settings.number("max_norm")
    if settings.number("norm_type", 2) != 2:
        raise ValueError(f"{settings.where}: norm_type must be 2, got {settings.values}")
    settings.take("error_if_nonfinite", None)
    settings.take("foreach", None)
    settings.finish()
    return limit


def _set_aside(settings: Settings, names: tuple[str, ...], notes: list[str]) -> None:
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


def _recipe(
    config: Config,
    run: Run,
    batch_size: int | None,
    notes: list[str],
    *,
    optimizer: Settings,
    grouping: Groups,
    lr: Curve,
    momentum: Curve | None,
    clip_norm: float | None,
    clip_value: float | None,
    every: int,
    ema: Any,
) -> Recipe:
    name, arguments = _optimizer(optimizer, notes)
    base = arguments.pop("lr")
    scale, why = _scale(config, batch_size)
    hyperparameters = {**arguments, "lr": lr(base * scale)}
    if momentum is not None:
        hyperparameters |= _moved(momentum, arguments, name)
    overrides = {
        group: _override(multiples, base * scale, arguments, lr, momentum, name)
        for group, multiples in grouping.multiples.items()
    }
    notes += grouping.notes
    if why:
        notes.append(why)
    accumulate = None
    if every > 1:
        rest = run.steps % every
        # at the very end an update is made of what is left
        gathered = piecewise([every, rest], at=[run.steps - 1]) if rest and run.steps > every else every
        accumulate = Accumulate(gathered, mean=True)
        if ema is not None:
            notes.append("the average moves with each update; the original also moves it at the batches between")
    where = "param_scheduler" if _is_new(config) else "lr_config"
    return Recipe(
        optimizer=name,
        hyperparameters=hyperparameters,
        groups=overrides,
        rules=grouping.rules,
        clip_norm=clip_norm,
        clip_value=clip_value,
        accumulate=accumulate,
        ema=ema,
        steps=run.steps,
        steps_per_epoch=run.steps_per_epoch,
        batch_size=batch_size,
        notes=tuple(notes),
        origin={"lr": f"{optimizer.where}: lr {base!r}{f' x {scale!r}' if scale != 1 else ''}; {where}"},
    )


def _optimizer(settings: Settings, notes: list[str]) -> tuple[str, dict[str, Any]]:
    """The optimizer by torch's name, and its arguments by torch's names."""
    kind = settings.take("type")
    name = kind.rpartition(".")[2].lower() if isinstance(kind, str) else ""
    make = getattr(optimizers, name, None)
    if not name or not inspect.isfunction(make) or "lr" not in inspect.signature(make).parameters:
        raise ValueError(f"{settings.where}: type {kind!r} is not an optimizer of jaxsched.optimizers")
    known = [p for p in inspect.signature(make).parameters if p not in ("groups", "rules")]
    _set_aside(settings, ("foreach", "fused", "capturable", "differentiable"), notes)
    arguments: dict[str, Any] = {"lr": settings.number("lr")}
    for argument in list(settings.values):
        if argument not in known:
            continue
        value = settings.take(argument)
        arguments[argument] = tuple(value) if isinstance(value, list) else value
    settings.finish(known)
    return name, arguments


def _scale(config: Config, batch_size: int | None) -> tuple[float, str | None]:
    auto = config.get("auto_scale_lr") or {}
    enabled, base = (auto.get("enable"), auto.get("base_batch_size")) if isinstance(auto, Mapping) else (None, None)
    if batch_size is None:
        if enabled is True:
            raise ValueError("auto_scale_lr is enabled: pass batch_size=, the images in a batch over all devices")
        return 1.0, None
    batch_size = _fields.as_count("batch_size", batch_size)
    if base is None:
        raise ValueError("the config has no auto_scale_lr.base_batch_size to scale by: leave batch_size= out")
    base = _fields.as_count("auto_scale_lr: base_batch_size", base)
    scale = batch_size / base
    return scale, f"auto_scale_lr: learning rates x {batch_size} / {base} = {scale:g}"


def _moved(momentum: Curve, arguments: Mapping[str, Any], optimizer: str) -> dict[str, Any]:
    """The momentum that a schedule moves: ``momentum``, or the first of the betas."""
    defaults = {p.name: p.default for p in inspect.signature(getattr(optimizers, optimizer)).parameters.values()}
    if "momentum" in defaults:
        return {"momentum": momentum(arguments.get("momentum", defaults["momentum"]))}
    if "betas" not in defaults:
        raise ValueError(f"a momentum schedule needs an optimizer with momentum or betas, not {optimizer}")
    first, *others = arguments.get("betas", defaults["betas"])
    return {"betas": (momentum(first), *others)}


def _override(
    multiples: Multiples, base: float, arguments: Mapping[str, Any], lr: Curve, momentum: Curve | None, optimizer: str
) -> dict[str, Any]:
    other = dict(multiples.other)
    result: dict[str, Any] = {}
    own = other.pop("lr", base * multiples.lr)
    if own != base:
        result["lr"] = lr(own)
    if multiples.decay != 1 and "weight_decay" not in other:
        result["weight_decay"] = arguments["weight_decay"] * multiples.decay
    if momentum is not None and ("momentum" in other or "betas" in other):
        other |= _moved(momentum, {**arguments, **other}, optimizer)
    return {**result, **other}
