"""The recipe in a config of RT-DETR (its commit 068dfde), D-FINE (4a1f73a), DEIM (a9aa4ad) or DEIMv2 (0fff8d4)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import one_line, short
from jaxsched.ports import shared
from jaxsched.ports.rtdetr._config import merged
from jaxsched.ports.rtdetr._groups import groups
from jaxsched.ports.rtdetr._rates import Rates, rates
from jaxsched.ports.shared import Settings
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import Value, exponential_ramp, sequential

_ASIDE_TEXT = """
    task model criterion postprocessor evaluator use_amp scaler autocast sync_bn find_unused_parameters print_freq
    log_step log_dir output_dir summary_dir checkpoint_freq checkpoint_step seed device resume tuning last_epoch
    num_classes remap_mscoco_category eval_spatial_size use_focal_loss val_dataloader num_workers use_wandb
    project_name exp_name ema_decay ema_warmups
"""
_ASIDE = frozenset(_ASIDE_TEXT.split())
"""Settings of the model, the data and the log, and two that no release reads beside ``ema``."""
_RATES = ("optimizer", "lr_scheduler", "lr_warmup_scheduler", "lrsheduler")
_STAGES = {"base_size", "base_size_repeat", "ema_restart_decay"}
"""Settings of the collate function that D-FINE and DEIM have and RT-DETR has not."""


def recipe(
    config: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    world_size: int = 1,
    update: Mapping[str, Any] | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Recipe:
    """The recipe that the solver of RT-DETR, RT-DETRv2, D-FINE, DEIM or DEIMv2 follows.

    With ``lr`` of a group and ``W`` the ``warmup_duration``: ``lr * min((step + 1) / W, 1)`` times the scheduler, whose
    clock is epochs and begins with the epoch after the one in which the warm-up ends. DEIM's ``lrsheduler`` goes by
    batches instead: ``lr * (t / warmup_iter) ** 2``, ``lr`` up to ``flat_epoch``, then half a cosine to
    ``lr_gamma * lr``, which is reached ``no_aug_epoch`` epochs before the end; ``t = step - 1``, and step 0 has
    ``lr / W``.

    The groups are ``group_0``, ``group_1``, ... in the order of ``optimizer: params``, and ``rest``. Their regular
    expressions are searched in the paths of the parameters, with ``/`` for a dot and ``kernel``, ``scale`` or
    ``embedding`` as well for ``weight``. The average is ``decay * (1 - exp(-n / warmups))`` of ``n`` updates after
    ``start``.

    Args:
        config: The config as a dict, or the path to a YAML file.
        steps_per_epoch: Batches in an epoch, of each process.
        images: Images of the training set, in place of ``steps_per_epoch``.
        world_size: How many processes (GPUs) train.
        update: Changes to the config, as of ``-u``: ``{"optimizer.lr": 1e-4}``.
        root: The folder that the files of ``__include__`` must be in. Default: the outermost folder around the file
            that holds a folder ``configs``, else the folder above the file's own.

    Returns:
        A recipe; ``notes`` lists what is left out.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a setting is not known, missing or out of its range.

    Examples:
        >>> import jaxsched as js
        >>> params = [dict(params="^(?=.*backbone)(?!.*norm).*$", lr=1e-5)]
        >>> config = dict(epoches=72, optimizer=dict(type="AdamW", lr=1e-4, weight_decay=1e-4, params=params))
        >>> config["lr_scheduler"] = dict(type="MultiStepLR", milestones=[60])
        >>> config["lr_warmup_scheduler"] = dict(type="LinearWarmup", warmup_duration=2000)
        >>> recipe = js.ports.rtdetr.recipe(config, steps_per_epoch=7393)
        >>> js.curves(recipe, [0, 999, 1999, 60 * 7393])["group_0"]["lr"].round(9).tolist()
        [4.999999969612645e-09, 4.999999873689376e-06, 9.999999747378752e-06, 9.999999974752427e-07]
    """
    where, content = merged(config, update or {}, root)
    a = Settings(where, {name: value for name, value in content.items() if isinstance(name, str)})
    epochs, notes = _epochs(a), list[str]()
    loader = Settings(a.at("train_dataloader"), a.take("train_dataloader", None) or {})
    batch, each = _batches(loader, shared.as_count("world_size", world_size))
    if steps_per_epoch is None and images is not None and batch is None:
        raise shared.MissingError(where, "it has no batch size", ["steps_per_epoch"])
    if images is not None and steps_per_epoch is None:
        images = -(-shared.as_count("images", images) // world_size)
    drop = loader.flag("drop_last", False)
    nb = shared.epoch_length(where, steps_per_epoch, images, each or 1, drop_last=drop)
    made = rates(a, nb, epochs, notes)
    own = a.section("optimizer")
    rules, settings = groups(own)
    name = own.take("type")
    optimizer, values = _optimizer(own, name, made)
    values.setdefault("lr", made(shared.defaults_of(optimizer)["lr"]))
    by_group = {group: _optimizer(given, name, made)[1] for group, given in settings.items()}
    if settings:
        text = "searched in the paths of the parameters, which must have the names that they have in torch"
        notes.append(f"{own.at('params')}: {text}")
    clip = a.number("clip_max_norm", 0.0, or_none=True) or 0.0
    average = _average(a)
    notes += [*_frozen(where, content), *_stages(a, loader, epochs), *a.rest(aside=_ASIDE, mixed=True)]
    return Recipe(
        optimizer,
        values,
        groups=by_group,
        rules=rules,
        clip_norm=clip if clip > 0 else None,
        ema=average,
        steps=shared.as_count("epochs x steps_per_epoch", epochs * nb),
        steps_per_epoch=nb,
        batch_size=batch,
        notes=tuple(notes),
        origin={
            "lr": f"{where}: {', '.join(name for name in _RATES if name in content)}",
            "weight_decay": f"{where}: optimizer",
            "clip_norm": f"{where}: clip_max_norm",
            "ema": f"{where}: ema",
        },
    )


def _epochs(a: Settings) -> int:
    """``epochs`` of D-FINE since March 2025, ``epoches`` of all others."""
    both: list[int] = [a.count(name, least=1) for name in ("epochs", "epoches") if name in a.values]
    if len(set(both)) > 1:
        raise ValueError(
            f"{a.where}: epochs is {both[0]} and epoches {both[1]}, and releases read one of them; remove one"
        )
    return both[0] if both else a.count("epoches", least=1)


def _optimizer(a: Settings, name: Any, made: Rates) -> tuple[str, dict[str, Any]]:
    """The name of our optimizer and the settings that are given, with the schedule of the lr."""
    ours, values = shared.torch_optimizer(a.at("type"), name, a)
    if "lr" in values:
        values["lr"] = made(shared.within(a.at("lr"), values["lr"], 0.0, float("inf")))
    return ours, values


def _batches(loader: Settings, world_size: int) -> tuple[int | None, int | None]:
    """Images in a batch of all processes together, and of each."""
    total, each = loader.count("total_batch_size", None, least=1), loader.count("batch_size", None, least=1)
    if total is not None and each is not None:
        raise ValueError(f"{loader.where}: total_batch_size and batch_size are both there; remove one")
    if total is None:
        return (None, None) if each is None else (each * world_size, each)
    if total % world_size:
        raise ValueError(f"{loader.at('total_batch_size')} must be divisible by world_size={world_size}, got {total}")
    return total, total // world_size


def _average(a: Settings) -> Value | None:
    """The decay of the average of the parameters."""
    used, given = a.flag("use_ema", False), a.take("ema", None)
    if not used:
        return None
    own = Settings(a.at("ema"), given)
    own.choice("type", ("ModelEMA",))
    decay, start = own.number("decay", 0.9999, low=0.0, high=1.0), own.count("start", 0)
    if "warmups" not in own.values:
        raise ValueError(f"{own.at('warmups')} is missing; add it: it is 2000 in RT-DETR, 1000 in D-FINE and DEIM")
    steps = own.number("warmups", low=0.0)
    own.finish()
    grown: Value = exponential_ramp(decay, steps) if steps else decay
    return sequential([1.0, grown], at=[start]) if start else grown


def _frozen(where: str, content: Mapping[str, Any]) -> list[str]:
    """A caution if the backbone has frozen parameters, which are in no group of torch's optimizer."""
    model = content.get(str(content.get("model")))
    name = model.get("backbone") if isinstance(model, dict) else None
    own = content.get(name) if isinstance(name, str) else None
    given = {**({"freeze_norm": True} if name == "PResNet" else {}), **(own if isinstance(own, dict) else {})}
    freezing = [
        f"{key}: {short(given[key])}"
        for key, harmless in (("freeze_at", -1), ("freeze_norm", False), ("finetune", True))
        if given.get(key, harmless) != harmless
    ]
    if not freezing:
        return []
    return [caution("freeze", f"{where}: {one_line(str(name), 80)}: {', '.join(freezing)}: it has frozen parameters")]


def _stages(a: Settings, loader: Settings, epochs: int) -> list[str]:
    """A caution if D-FINE's or DEIM's second stage begins, which goes back to the best checkpoint of the first."""
    collate = loader.take("collate_fn", None)
    if not isinstance(collate, dict) or not _STAGES & collate.keys():
        return []
    stop = Settings(loader.at("collate_fn"), collate).number("stop_epoch", None)
    if stop is None or stop >= epochs:
        return []
    at = loader.at("collate_fn")
    text = (
        f"{at}: from epoch {stop:g} on D-FINE and DEIM go back to the best checkpoint of the epochs before, with its "
        "optimizer, lr and average, at first and after each epoch that is no better; do so in your loop"
    )
    unused = f"{at}: ema_restart_decay has no effect: ModelEMA keeps the decay that it began with"
    return [caution("left-out", text), *([unused] if "ema_restart_decay" in collate else [])]
