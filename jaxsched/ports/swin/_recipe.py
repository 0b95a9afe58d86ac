"""The recipe that Swin-Transformer's main.py follows, from a YAML config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Condition, Rule, contains, ndim, role
from jaxsched.ports import shared
from jaxsched.ports.swin._shapes import after_updates, from_epoch_start
from jaxsched.recipe import Accumulation, Recipe, caution
from jaxsched.schedules import Schedule, cosine, linear, multi_step, piecewise, sequential, step_decay

DEFAULTS: Mapping[str, Any] = {
    "EPOCHS": 300,
    "WARMUP_EPOCHS": 20,
    "WEIGHT_DECAY": 0.05,
    "BASE_LR": 5e-4,
    "WARMUP_LR": 5e-7,
    "MIN_LR": 5e-6,
    "CLIP_GRAD": 5.0,
    "ACCUMULATION_STEPS": 1,
    "LAYER_DECAY": 1.0,
    "LR_SCHEDULER": {
        "NAME": "cosine",
        "DECAY_EPOCHS": 30,
        "DECAY_RATE": 0.1,
        "WARMUP_PREFIX": True,
        "GAMMA": 0.1,
        "MULTISTEPS": [],
    },
    "OPTIMIZER": {"NAME": "adamw", "EPS": 1e-8, "BETAS": (0.9, 0.999), "MOMENTUM": 0.9},
}
"""What TRAIN has where a config says nothing."""
_ASIDE = ("START_EPOCH", "AUTO_RESUME", "USE_CHECKPOINT", "MOE", "CHECKPOINT")
_DUMPED = {"AUTO_RESUME", "START_EPOCH", "USE_CHECKPOINT"}
"""Settings of TRAIN that the config of a run has, and one that is written by hand seldom: what a run's config lacks,
its release lacks."""
_BATCH_SIZE, _LR_SIZE = 128, 512
"""DATA.BATCH_SIZE where a config says nothing, and the batch that BASE_LR is meant for."""
_NO_DECAY = ("absolute_pos_embed", "relative_position_bias_table")
_NO_DECAY_V2 = ("cpb_mlp", "logit_scale")
"""Names of parameters without decay; the latter in Swin V2."""


def recipe(
    cfg: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    batch_size: int | None = None,
    world_size: int = 1,
) -> Recipe:
    """The recipe that Swin-Transformer's ``main.py`` follows.

    BASE_LR, WARMUP_LR and MIN_LR are multiplied by the images of an update over 512. The schedule counts updates and
    is one update late. Parameters of one axis, biases and those that the model names (position tables; in Swin V2 also
    ``cpb_mlp`` and ``logit_scale``) are in the group ``no_decay``, others in ``decay``. What ACCUMULATION_STEPS leave
    of an epoch is dropped.

    Up to 2022 the clock of the cosine ran during warm-up, as with ``WARMUP_PREFIX: False``; the dumped config of such a
    run lacks this setting and is read so. Of any other config without it a note says what it would have been.

    Args:
        cfg: The config as a dict, or the path to a YAML file; files under BASE beside or below it are read first.
        steps_per_epoch: Batches in an epoch, > 0.
        images: Images of the training set, in place of ``steps_per_epoch``; a last batch that is smaller is dropped.
        batch_size: Images in a batch of one process, in place of DATA.BATCH_SIZE (``--batch-size``).
        world_size: How many processes train.

    Returns:
        A recipe; ``notes`` lists the settings of TRAIN that are not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a setting of TRAIN is not known or out of its range, or LAYER_DECAY is not 1.

    Examples:
        >>> import jaxsched as js
        >>> cfg = dict(DATA=dict(BATCH_SIZE=128), TRAIN=dict(EPOCHS=300, BASE_LR=5e-4))
        >>> recipe = js.ports.swin.recipe(cfg, steps_per_epoch=1251, world_size=8)
        >>> [round(float(lr), 7) for lr in js.curves(recipe, [0, 20 * 1251 + 1, 300 * 1251 - 1])["decay"]["lr"]]
        [1e-06, 0.001, 1e-05]
    """
    where, given = _merged(cfg)
    data, model = given.get("DATA") or {}, given.get("MODEL") or {}
    a = shared.Settings(f"{where}: TRAIN", given.get("TRAIN") or {}, DEFAULTS)
    dumped = a.values.keys() >= _DUMPED
    images_of_process = shared.Settings(f"{where}: DATA", data).count("BATCH_SIZE", _BATCH_SIZE, least=1)
    if batch_size is not None:
        images_of_process = shared.as_count("batch_size", batch_size)
    batch = images_of_process * shared.as_count("world_size", world_size)
    nb = shared.epoch_length(where, steps_per_epoch, images, batch, drop_last=True)
    every = a.count("ACCUMULATION_STEPS", least=0) or 1
    if every > nb:
        raise ValueError(f"{a.at('ACCUMULATION_STEPS')} must be at most the {nb} batches of an epoch, got {every}")
    notes: list[str] = []
    rates = {name: a.number(name, low=0.0) * batch * every / _LR_SIZE for name in ("BASE_LR", "WARMUP_LR", "MIN_LR")}
    epochs, decay = a.count("EPOCHS", least=1), a.number("WEIGHT_DECAY", low=0.0)
    schedule = _schedule(where, a, rates, epochs, nb // every, (epochs * nb - 1) // every, dumped, notes)
    optimizer, options = _optimizer(a.section("OPTIMIZER", {}), notes)
    if (layers := a.number("LAYER_DECAY", low=0.0)) != 1.0:
        raise ValueError(f"{a.at('LAYER_DECAY')} {layers:g} needs the layers of the model; write groups with js.Recipe")
    clip = a.number("CLIP_GRAD", low=0.0, or_none=True)
    names = (*_NO_DECAY, *(_NO_DECAY_V2 if "v2" in str(_get(model, "TYPE")) else ()))
    stays = Condition("any", (ndim(1), role("norm", "norm_bias", "bias"), *map(contains, names)))
    return Recipe(
        optimizer=optimizer,
        hyperparameters={"lr": after_updates(schedule, every, nb), "weight_decay": 0.0, **options},
        groups={"decay": {"weight_decay": decay}, "no_decay": {}},
        rules=(Rule(stays, "no_decay", optional=True), Rule("**", "decay", optional=True)),
        clip_norm=clip,
        accumulate=_accumulation(every, nb),
        steps=epochs * nb,
        steps_per_epoch=nb,
        batch_size=batch,
        notes=(*notes, *a.rest(aside=_ASIDE)),
        origin={
            "lr": f"{where}: TRAIN.BASE_LR x {batch * every} / {_LR_SIZE}",
            "decay.weight_decay": f"{where}: TRAIN.WEIGHT_DECAY",
        },
    )


def _schedule(
    where: str,
    a: shared.Settings,
    rates: Mapping[str, float],
    epochs: int,
    updates: int,
    most: int,
    dumped: bool,
    notes: list[str],
) -> Schedule:
    """The lr by the number of an update; ``updates`` are those of an epoch, ``most`` the last number."""
    s = a.section("LR_SCHEDULER", {})
    peak, start, floor = rates["BASE_LR"], rates["WARMUP_LR"], rates["MIN_LR"]
    length, warm = epochs * updates, int(a.number("WARMUP_EPOCHS", low=0.0) * updates)
    says, prefix = "WARMUP_PREFIX" in s.values, s.flag("WARMUP_PREFIX")
    name = s.choice("NAME", ("cosine", "linear", "step", "multistep"))
    decay_epochs, rate = s.number("DECAY_EPOCHS", low=0.0), s.number("DECAY_RATE", low=0.0)
    gamma, at = s.number("GAMMA", low=0.0), s.counts("MULTISTEPS", least=0)
    s.finish()
    if warm >= length:
        raise ValueError(f"{a.at('WARMUP_EPOCHS')} must be below EPOCHS ({epochs}), got {warm / updates:g}")
    follows = False  # whether the schedule begins when warm-up ends
    if name == "cosine":
        if not says and dumped:
            prefix = False
        elif not says and warm:
            text = f"{where} has no TRAIN.LR_SCHEDULER.WARMUP_PREFIX, read as True, which it is since 2022; before"
            notes.append(caution("version-open", f"{text}, the cosine's clock ran during warm-up; set it"))
        after: Schedule = cosine(peak, length - warm if prefix else length, floor)
        follows = prefix
    elif name == "linear":
        # It falls on where batches that make no update are counted beyond the end.
        beyond = max(most, length) - warm
        end = peak - 0.99 * peak * beyond / (length - warm)
        if end < 0:
            raise ValueError(f"{a.at('ACCUMULATION_STEPS')}: the line goes below 0 in the last epochs")
        after, follows = linear(peak, end, beyond), True
    elif name == "step":
        after = step_decay(peak, every=max(int(decay_epochs * updates), 1), factor=rate)
    else:
        if not at or warm > min(at) * updates:
            raise ValueError(f"{s.at('MULTISTEPS')} must follow WARMUP_EPOCHS, got {short(at)}")
        after = multi_step(peak, at=[epoch * updates for epoch in at], factor=gamma)
    if not warm:
        return after
    parts = [linear(start, peak, warm), after]
    return sequential(parts, at=[warm]) if follows else piecewise(parts, at=[warm])


def _accumulation(every: int, nb: int) -> Accumulation | None:
    if every == 1:
        return None
    return Accumulation(from_epoch_start(every, nb) if nb % every else every, mean=True, drop_at_epoch_end=True)


def _optimizer(o: shared.Settings, notes: list[str]) -> tuple[str, dict[str, Any]]:
    name = str(o.take("NAME")).lower()
    eps, momentum, betas = o.number("EPS", low=0.0), o.number("MOMENTUM", low=0.0), o.numbers("BETAS")
    o.finish()
    if name == "sgd":
        return "sgd", {"momentum": momentum, "nesterov": True}
    ours = {"adamw": "adamw", "fused_adam": "adamw", "fused_lamb": "lamb"}
    if name not in ours:
        raise ValueError(f"{o.at('NAME')} must be one of sgd, {', '.join(ours)}, got {short(name)}")
    if len(betas) != 2:
        raise ValueError(f"{o.at('BETAS')} must be two numbers, got {short(betas)}")
    notes += [f"{name} is apex's; here it is {ours[name]}"] if name != "adamw" else []
    return ours[name], {"betas": tuple(shared.as_beta(o.at("BETAS"), beta) for beta in betas), "eps": eps}


def _merged(cfg: Any) -> tuple[str, dict[str, Any]]:
    """What to call the config in errors, and its sections over those of the files under BASE."""
    if isinstance(cfg, Mapping):
        return "cfg", dict(cfg)
    file = cfg if isinstance(cfg, shared.File) else shared.File.read(cfg)
    return file.name, _with_bases(file, shared.Files(file.path.resolve().parent, (".yaml", ".yml")))


def _with_bases(file: shared.File, files: shared.Files) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    with files.following(file):
        bases = file.content.get("BASE") or []
        for name in bases if isinstance(bases, list) else [bases]:
            merged = _over(merged, _with_bases(files.base(name, file), files)) if name else merged
    return _over(merged, file.content)


def _over(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    both = [name for name in own if isinstance(own[name], dict) and isinstance(base.get(name), dict)]
    return {**base, **own, **{name: _over(base[name], own[name]) for name in both}}


def _get(section: Any, name: str) -> Any:
    return section.get(name) if isinstance(section, Mapping) else None


def fits(file: shared.File) -> bool:
    """Whether a file is such a config: by the settings of TRAIN that no other system has, or by its model alone."""
    train, model = file.mapping.get("TRAIN"), file.mapping.get("MODEL")
    names = {"BASE_LR", "WARMUP_EPOCHS", "LR_SCHEDULER", "OPTIMIZER", "EPOCHS", "MIN_LR"}
    if isinstance(train, dict) and not names.isdisjoint(train):
        return True
    return str(_get(model, "TYPE")).startswith("swin") and any(str(name).startswith("SWIN") for name in model or ())
