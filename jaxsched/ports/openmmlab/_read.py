"""OpenMMLab's training configs, as of MMDetection 2 (mmcv 1.7.2) and 3 (mmengine 0.10.7), parsed and never executed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsched import optimizers
from jaxsched.checks import one_line, short
from jaxsched.groups import Match
from jaxsched.optimizers.internal import LAYOUT, definition_of
from jaxsched.ports import shared
from jaxsched.ports.openmmlab import _names, _parts
from jaxsched.ports.openmmlab._context import Curve, Run
from jaxsched.ports.openmmlab._options import with_options
from jaxsched.ports.openmmlab._paramwise import Multipliers
from jaxsched.ports.openmmlab._parts import Config, ConfigParts, set_aside
from jaxsched.ports.openmmlab._settings import Settings, bare, misspelt_sections
from jaxsched.ports.openmmlab.config import read_config, require
from jaxsched.recipe import Accumulation, Recipe, caution
from jaxsched.schedules import Schedule, constant, piecewise


def read(
    path: shared.File | str | os.PathLike[str],
    *,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    packages: Mapping[str, str | os.PathLike[str]] | None = None,
    batch_size: int | None = None,
    depthwise: Match | None = None,
    root: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    optimizer: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe of a config file of MMDetection, or of another OpenMMLab package of its time.

    The file and those that it inherits from are parsed and evaluated as data: nothing in them runs. Strings, lists,
    ``package::path`` and ``with read_base():`` inherit; names, arithmetic, comprehensions and ``.update()`` are
    followed. What cannot be known without running the file is an error only where the recipe needs it.

    Args:
        path: A ``.py`` config.
        steps_per_epoch: Batches in an epoch of the training set, RepeatDataset included.
        images: Images of the training set, with ``batch_size`` in place of ``steps_per_epoch``.
        packages: For each package that is inherited from (``mmpretrain::...``) its folder.
        batch_size: Images in a batch, over all devices; what it does to the learning rates is said at `recipe`.
        depthwise: Which parameters belong to depthwise convolutions, as a glob or condition.
        root: The folder that bases must be in, if not in one of ``packages``. Default: the outermost folder around
            ``path`` that holds a folder ``_base_``, else the folder of ``path``.
        environment: Values for ``{{$NAME:default}}``; the process's own environment is not looked at.
        optimizer: The optimizer, or which of several, such as ``"generator"``.
        options: Changes to the config, as of ``--cfg-options``: ``{"optim_wrapper.optimizer.lr": 0.01}``.

    Returns:
        A recipe, as from `recipe`. A name such as ``..._2x_coco.py`` that disagrees with the numbers in the file is
        warned of and noted.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it cannot be read without running it; and as `recipe`.

    Examples:
        >>> import pathlib, tempfile, jaxsched as js
        >>> path = pathlib.Path(tempfile.mkdtemp(), "config.py")
        >>> _ = path.write_text('''
        ... optimizer = dict(type="SGD", lr=0.02, momentum=0.9)
        ... lr_config = dict(policy="step", step=[8, 11])
        ... runner = dict(type="EpochBasedRunner", max_epochs=12)
        ... ''')
        >>> recipe = js.ports.openmmlab.read(path, steps_per_epoch=100)
        >>> recipe.steps, recipe.hyperparameters["momentum"]
        (1200, 0.9)
    """
    file = path if isinstance(path, shared.File) else None
    path = path.path if isinstance(path, shared.File) else path
    notes: list[str] = []
    text = file.text if file else None
    config = read_config(path, packages=packages, root=root, environment=environment, text=text, notes=notes)
    if steps_per_epoch is None and images is not None and batch_size is None:
        raise shared.MissingError(str(path), "images alone do not say how long an epoch is", ["batch_size"])
    steps_per_epoch = shared.epoch_length(str(path), steps_per_epoch, images, batch_size or 1)
    try:
        config = with_options(config, options or {})
        result = recipe(
            config, steps_per_epoch=steps_per_epoch, batch_size=batch_size, depthwise=depthwise, optimizer=optimizer
        )
        counts_epochs = _parts.length(_parts.with_one_optimizer(config, optimizer, []), steps_per_epoch).epochs
    except shared.SourceError:
        raise
    except shared.MissingError as error:
        raise shared.MissingError(f"{path}: {error.where}", error.why, error.names, error.joined) from None
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{path}: {one_line(str(error), 500)}") from None
    wrong = _names.disagreement(Path(path).stem, config, counts_epochs, result.steps or 0)
    if wrong:
        warnings.warn(f"{path}: {wrong}", stacklevel=2)
        notes.append(wrong)
    return result.replace(notes=(*result.notes, *dict.fromkeys(notes)))


def recipe(
    config: Config,
    *,
    steps_per_epoch: int,
    batch_size: int | None = None,
    depthwise: Match | None = None,
    optimizer: str | None = None,
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
            Needed where the config itself enables that. Left out, the rates stay, and the recipe's
            ``nominal_batch_size`` is what the config was written for: `lint` compares it with the ``batch_size`` of
            ``recipe.replace(batch_size=...)``.
        depthwise: Which parameters belong to depthwise convolutions, such as ``"**/depthwise/**"``; needed for
            ``dwconv_decay_mult``.
        optimizer: The optimizer, or which of several, such as ``"generator"``.

    Returns:
        A recipe; what the config holds beside it is listed in ``notes``.

    Raises:
        TypeError: If a setting has the wrong type.
        ValueError: If a setting is missing, not known, contradictory or out of its range; it names the setting.

    Examples:
        >>> import jaxsched as js
        >>> config = dict(
        ...     optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001),
        ...     lr_config=dict(policy="step", step=[8, 11], warmup="linear", warmup_iters=500, warmup_ratio=0.001),
        ...     runner=dict(type="EpochBasedRunner", max_epochs=12))
        >>> recipe = js.ports.openmmlab.recipe(config, steps_per_epoch=7330)
        >>> js.curves(recipe, [0, 500, 8 * 7330, 11 * 7330])["weight"]["lr"].round(6).tolist()
        [1.9999999494757503e-05, 0.019999999552965164, 0.0020000000949949026, 0.00019999999494757503]
    """
    steps_per_epoch = shared.as_count("steps_per_epoch", steps_per_epoch)
    notes: list[str] = []
    config = _parts.with_one_optimizer(config, optimizer, notes)
    notes += misspelt_sections(config, _parts.is_new(config))
    run = _parts.length(config, steps_per_epoch, notes)
    read_parts = _parts.mmengine if _parts.is_new(config) else _parts.mmcv
    try:
        result = _recipe(config, run, batch_size, read_parts(config, run, depthwise, batch_size, notes), notes)
        result.build()  # checks what only the optimizer knows of
    except OverflowError:
        raise ValueError("the config leads to numbers beyond what a float can hold") from None
    return result


def _recipe(config: Config, run: Run, batch_size: int | None, parts: ConfigParts, notes: list[str]) -> Recipe:
    name, arguments = _optimizer(parts.optimizer, notes)
    base = arguments.pop("lr")
    scale, nominal, why = _scale(config, batch_size, parts.scales_decay)
    hyperparameters = {**arguments, "lr": parts.lr(base * scale)}
    if parts.momentum is not None:
        hyperparameters |= _moved(parts.momentum, arguments, name)
    if parts.weight_decay is not None:
        hyperparameters["weight_decay"] = parts.weight_decay(arguments.get("weight_decay", 0.0))
    overrides = {
        group: _override(multipliers, base * scale, arguments, parts, name, parts.group_lr.get(group))
        for group, multipliers in parts.grouping.multipliers.items()
    }
    notes += parts.grouping.notes
    if why:
        notes.append(why)
    accumulate = None
    if (every := parts.every) > 1:
        rest = run.steps % every
        # at the very end an update is made of what is left
        flushed = rest and not parts.drops
        gathered = piecewise([every, rest], at=[run.steps - 1]) if flushed else every
        accumulate = Accumulation(gathered, mean=True)
        if parts.ema is not None:
            notes.append("the average moves with each update; the original also moves it at the batches between")
    where = "param_scheduler" if _parts.is_new(config) else "lr_config"
    lr = hyperparameters["lr"]
    if isinstance(lr, Schedule) and lr.maker is constant and _asks_for_more(config.get(where)):
        why = "its changes lie after the end of the run, or of their window"
        if run.epochs is None:
            why = "its changes are counted in epochs (by_epoch), of which a run by iteration has none"
        notes.append(caution("never-acts", f"{where}: lr stays at {base * scale!r} to the end: {why}"))
    return Recipe(
        optimizer=name,
        hyperparameters=hyperparameters,
        groups=overrides,
        rules=parts.grouping.rules,
        clip_norm=parts.clip_norm,
        clip_value=parts.clip_value,
        accumulate=accumulate,
        ema=parts.ema,
        steps=run.steps,
        steps_per_epoch=run.steps_per_epoch,
        batch_size=batch_size,
        nominal_batch_size=nominal,
        notes=tuple(notes),
        origin={"lr": f"{parts.optimizer.where}: lr {base!r}{f' x {scale!r}' if scale != 1 else ''}; {where}"},
    )


def _asks_for_more(schedulers: Any) -> bool:
    """Whether a ``param_scheduler`` or ``lr_config`` means to change the learning rate."""
    entries = schedulers if isinstance(schedulers, list | tuple) else [schedulers]
    kinds = [
        str(one.get("type", one.get("policy"))) for one in entries if isinstance(one, Mapping) and one.get("gamma") != 1
    ]
    return any(kind.endswith("LR") or not kind[:1].isupper() for kind in kinds if kind.lower() not in ("fixed", "none"))


_WITHOUT_USUAL_LR = ("lars",)
"""Optimizers whose original has no default for lr."""


def _optimizer(settings: Settings, notes: list[str]) -> tuple[str, dict[str, Any]]:
    """The optimizer by torch's name, and its arguments by torch's names."""
    kind = settings.take("type")
    name = bare(kind).lower() if isinstance(kind, str) else ""
    definition = definition_of(getattr(optimizers, name, None))
    if definition is None:
        place = settings.where.replace(": ", ".")
        raise ValueError(
            f"{settings.where}: type {short(kind)} is not an optimizer of jaxsched.optimizers: read with one that is, "
            f"options={{'{place}.type': 'AdamW'}} (--option {place}.type=AdamW), and build yours of optax's with "
            "js.optimizers.grouped"
        )
    known = [argument for argument in definition.arguments if argument not in LAYOUT]
    set_aside(settings, ("foreach", "fused", "capturable", "differentiable"), notes)
    usual = definition.arguments["lr"].default
    given = "lr" in settings.values
    needed = name in _WITHOUT_USUAL_LR
    arguments: dict[str, Any] = {"lr": settings.number("lr") if needed else settings.number("lr", usual)}
    if not given:
        notes.append(caution("no-lr", f"{settings.where}: lr is not set: it is torch's default, {usual!r}"))
    for argument in list(settings.values):
        if argument not in known:
            continue
        value = settings.take(argument)
        arguments[argument] = tuple(value) if isinstance(value, list) else value
    settings.finish(known)
    return name, arguments


def _scale(config: Config, batch_size: int | None, otherwise_used: bool) -> tuple[float, int | None, str | None]:
    """The factor on lr by auto_scale_lr, the batch size that the result is meant for, and a note."""
    auto = config.get("auto_scale_lr") or {}
    enabled, base = (auto.get("enable"), auto.get("base_batch_size")) if isinstance(auto, Mapping) else (None, None)
    if base is not None and not isinstance(base, shared.Unknown):
        base = shared.as_count("auto_scale_lr: base_batch_size", base)
    if batch_size is None:
        if enabled is True:
            why = "it is enabled, and scales by the images in a batch over all devices"
            raise shared.MissingError("auto_scale_lr", why, ["batch_size"])
        return 1.0, base if isinstance(base, int) else None, None
    batch_size = shared.as_count("batch_size", batch_size)
    if base is None and otherwise_used:
        return 1.0, batch_size, None
    if base is None:
        raise ValueError("the config has no auto_scale_lr.base_batch_size to scale by: do not give batch_size=")
    scale = batch_size / require(base, "auto_scale_lr: base_batch_size")
    return scale, batch_size, f"auto_scale_lr: learning rates x {batch_size} / {base} = {scale:g}"


def _moved(momentum: Curve, arguments: Mapping[str, Any], optimizer: str) -> dict[str, Any]:
    """The hyperparameter that a momentum schedule sets: ``momentum``, or the first beta."""
    definition = definition_of(getattr(optimizers, optimizer))
    defaults = {} if definition is None else {name: own.default for name, own in definition.arguments.items()}
    if "momentum" in defaults:
        return {"momentum": momentum(arguments.get("momentum", defaults["momentum"]))}
    if "betas" not in defaults:
        raise ValueError(f"a momentum schedule needs an optimizer with momentum or betas, not {optimizer}")
    first, *others = arguments.get("betas", defaults["betas"])
    return {"betas": (momentum(first), *others)}


def _override(
    multipliers: Multipliers,
    base: float,
    arguments: Mapping[str, Any],
    parts: ConfigParts,
    optimizer: str,
    lr: Curve | None = None,
) -> dict[str, Any]:
    """The hyperparameters that a group overrides."""
    other = dict(multipliers.other)
    result: dict[str, Any] = {}
    own = other.pop("lr", base * multipliers.lr)
    if own != base or lr is not None:
        result["lr"] = (lr or parts.lr)(own)
    if multipliers.decay != 1 and "weight_decay" not in other:
        decay = arguments.get("weight_decay", 0.0) * multipliers.decay
        result["weight_decay"] = decay if parts.weight_decay is None else parts.weight_decay(decay)
    elif parts.weight_decay is not None and "weight_decay" in other:
        other["weight_decay"] = parts.weight_decay(other["weight_decay"])
    if parts.momentum is not None and ("momentum" in other or "betas" in other):
        other |= _moved(parts.momentum, {**arguments, **other}, optimizer)
    return {**result, **other}
