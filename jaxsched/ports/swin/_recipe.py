"""The recipe that Swin-Transformer's main.py, and SimMIM's fine-tuning with LAYER_DECAY, follow from a YAML config."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
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
"""Settings of TRAIN that a run saves, and that are seldom written by hand. A setting that a saved config lacks did not
exist in its release, and its rates have been multiplied."""
_BATCH_SIZE, _LR_SIZE = 128, 512
"""DATA.BATCH_SIZE where a config says nothing, and the batch that BASE_LR is meant for."""
_SAME_IN_FORKS = ("ACCUMULATION_STEPS", "CLIP_GRAD", "LAYER_DECAY", "LR_SCHEDULER", "OPTIMIZER")
"""Settings of TRAIN whose defaults code after Swin-Transformer leaves as they are; FocalNet has others of the rest."""
_NO_DECAY: Mapping[str, tuple[str, ...]] = {
    "swin": ("absolute_pos_embed", "relative_position_bias_table"),
    "swinv2": ("absolute_pos_embed", "relative_position_bias_table", "cpb_mlp", "logit_scale"),
    "swin_moe": (
        *("absolute_pos_embed", "relative_position_bias_table", "cpb_mlp", "fc1_bias", "fc2_bias"),
        *("temperature", "cosine_projector", "sim_matrix"),
    ),
    "swin_mlp": ("absolute_pos_embed", "relative_position_bias_table"),
    "vit": ("pos_embed", "cls_token"),
}
"""MODEL.TYPE of Swin-Transformer and (``vit``) of SimMIM: names of parameters without decay."""


def recipe(
    cfg: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    batch_size: int | None = None,
    world_size: int = 1,
) -> Recipe:
    """The recipe that Swin-Transformer's ``main.py`` follows, or with LAYER_DECAY SimMIM's ``main_simmim_ft.py``.

    BASE_LR, WARMUP_LR and MIN_LR are multiplied by the images of an update over 512. In the ``config.json`` that a run
    saves they have been multiplied, and are taken as they are. The schedule counts updates and is one update late.
    Parameters of one axis, biases and those that the model names (position tables; in Swin V2 also ``cpb_mlp`` and
    ``logit_scale``) are in the group ``no_decay``, others in ``decay``. The batches of an epoch that ACCUMULATION_STEPS
    does not divide make no update.

    With LAYER_DECAY there is a pair of groups for each layer, ``layer_0_no_decay`` and so on: patches and tokens are
    layer 0, each block is a layer, the head is the last one, and the peak of a layer is ``LAYER_DECAY ** (last -
    layer)`` of the head's. WARMUP_LR and MIN_LR are the same for all. Layers are found by the names that the original
    has, such as ``layers/0/blocks/1/attn``.

    Up to 2022 the clock of the cosine ran during warm-up, as with ``WARMUP_PREFIX: False``; the dumped config of such a
    run lacks this setting and is read so. Of any other config without it a note says what it would have been.

    Other repositories started from this code and have other defaults: of their models (MODEL.TYPE) all lengths, rates
    and the batch must be in the file.

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
        ValueError: If a setting of TRAIN is not known or out of its range, LAYER_DECAY is there for a model whose
            layers are not known, or a setting is missing of which other repositories have another default.

    Examples:
        >>> import jaxsched as js
        >>> cfg = dict(DATA=dict(BATCH_SIZE=128), TRAIN=dict(EPOCHS=300, BASE_LR=5e-4))
        >>> recipe = js.ports.swin.recipe(cfg, steps_per_epoch=1251, world_size=8)
        >>> [round(float(lr), 7) for lr in js.curves(recipe, [0, 20 * 1251 + 1, 300 * 1251 - 1])["decay"]["lr"]]
        [1e-06, 0.001, 1e-05]
    """
    where, given = _merged(cfg)
    model = given.get("MODEL") or {}
    kind = str(_get(model, "TYPE") or "swin")
    notes: list[str] = []
    defaults, batch_default, unlike = DEFAULTS, {"BATCH_SIZE": _BATCH_SIZE}, ""
    if kind not in _NO_DECAY:
        defaults, batch_default = {name: DEFAULTS[name] for name in _SAME_IN_FORKS}, {}
        unlike = f" (of MODEL.TYPE {short(kind)}, whose defaults are not known)"
        text = f"{where}: MODEL.TYPE {short(kind)} is not of Swin-Transformer, whose rules are taken"
        notes.append(caution("other-model", f"{text}; check them against the code that trained it"))
    a = shared.YacsSettings(f"{where}: TRAIN{unlike}", given.get("TRAIN") or {}, defaults)
    dumped = a.values.keys() >= _DUMPED
    if batch_size is None:
        data = shared.YacsSettings(f"{where}: DATA{unlike}", given.get("DATA") or {}, batch_default)
        images_of_process = data.count("BATCH_SIZE", least=1)
    else:
        images_of_process = shared.as_count("batch_size", batch_size)
    batch = images_of_process * shared.as_count("world_size", world_size)
    nb = shared.epoch_length(where, steps_per_epoch, images, batch, drop_last=True)
    every = a.count("ACCUMULATION_STEPS", least=0) or 1
    if every > nb:
        raise ValueError(f"{a.at('ACCUMULATION_STEPS')} must be at most the {nb} batches of an epoch, got {every}")
    if dumped:
        notes.append(f"{where} is saved by a run: its rates have been multiplied by the batch over {_LR_SIZE}")
    scale = 1.0 if dumped else batch * every / _LR_SIZE
    rates = {name: a.number(name, low=0.0) * scale for name in ("BASE_LR", "WARMUP_LR", "MIN_LR")}
    epochs, decay = a.count("EPOCHS", least=1), a.number("WEIGHT_DECAY", low=0.0)
    schedule = _schedule(
        where, a, rates, epochs, nb // every, (epochs * nb - 1) // every, dumped or kind == "vit", notes
    )
    optimizer, options = _optimizer(a.section("OPTIMIZER", {}), notes)
    clip = a.number("CLIP_GRAD", low=0.0, or_none=True)
    names = _NO_DECAY.get(kind, _NO_DECAY["swin"])
    stays = Condition("any", (ndim(1), role("norm", "norm_bias", "bias"), *map(contains, names)))

    def lr(scale: float) -> Schedule:
        return after_updates(schedule(scale), every, nb)

    rules, groups = _groups(a, kind, model, every, stays, decay, lr, notes)
    return Recipe(
        optimizer=optimizer,
        hyperparameters={"lr": lr(1.0), "weight_decay": 0.0, **options},
        groups=groups,
        rules=rules,
        clip_norm=clip,
        accumulate=_accumulation(every, nb),
        steps=epochs * nb,
        steps_per_epoch=nb,
        batch_size=batch,
        notes=(*notes, *a.rest(aside=_ASIDE)),
        origin={
            "lr": f"{where}: TRAIN.BASE_LR" + ("" if dumped else f" x {batch * every} / {_LR_SIZE}"),
            **{
                f"{group}.weight_decay": f"{where}: TRAIN.WEIGHT_DECAY"
                for group, own in groups.items()
                if "weight_decay" in own
            },
        },
    )


def _groups(
    a: shared.YacsSettings,
    kind: str,
    model: Any,
    every: int,
    stays: Condition,
    decay: float,
    lr: Callable[[float], Schedule],
    notes: list[str],
) -> tuple[tuple[Rule, ...], dict[str, dict[str, Any]]]:
    """Parameters without and with decay; with LAYER_DECAY a pair of groups for each layer."""
    rate = a.number("LAYER_DECAY", low=0.0)
    own = {"no_decay": {}, "decay": {"weight_decay": decay}}
    if rate == 1.0:
        return (Rule(stays, "no_decay", optional=True), Rule("**", "decay", optional=True)), own
    at = f"{a.at('LAYER_DECAY')} {rate:g}"
    if every > 1:
        raise ValueError(
            f"{at}: main_simmim_ft.py accumulates by other rules than main.py; set ACCUMULATION_STEPS to 1"
        )
    layers = _layers(f"{at}: MODEL", kind, model)
    notes += [
        "LAYER_DECAY is read as main_simmim_ft.py does; main.py and pre-training ignore it",
        f"layer decay expects names such as {layers.block}",
    ]
    rules, groups = [], {}
    for rule, layer, part in layers.rules([("no_decay", stays), ("decay", Condition("all", ()))]):
        rules.append(rule)
        groups[rule.group] = {"lr": lr(rate ** (layers.top - layer)), **own[part]}
    return tuple(rules), groups


def _layers(where: str, kind: str, model: Any) -> shared.Layers:
    section = shared.YacsSettings(f"{where}.{kind.upper()}", _get(model, kind.upper()) or {})
    if kind == "vit":
        return shared.vit_layers(section.count("DEPTH", 12, least=1))
    if kind not in ("swin", "swinv2"):
        raise ValueError(
            f"{where}: TYPE must be swin, swinv2 or vit, got {short(kind)}; write groups with js.layer_decay"
        )
    return shared.swin_layers(section.counts("DEPTHS", [2, 2, 6, 2]))


def _schedule(
    where: str,
    a: shared.YacsSettings,
    rates: Mapping[str, float],
    epochs: int,
    updates: int,
    most: int,
    early: bool,
    notes: list[str],
) -> Callable[[float], Schedule]:
    """The lr by the number of an update, of a layer whose peak is multiplied by a scale.

    ``updates`` are those of an epoch, ``most`` is the last number, and ``early`` says that a config without
    WARMUP_PREFIX is of a release without it.
    """
    s = a.section("LR_SCHEDULER", {})
    start, floor = rates["WARMUP_LR"], rates["MIN_LR"]
    length, warm = epochs * updates, int(a.number("WARMUP_EPOCHS", low=0.0) * updates)
    says, prefix = "WARMUP_PREFIX" in s.values, s.flag("WARMUP_PREFIX")
    name = s.choice("NAME", ("cosine", "linear", "step", "multistep"))
    decay_epochs, rate = s.number("DECAY_EPOCHS", low=0.0), s.number("DECAY_RATE", low=0.0)
    gamma, at = s.number("GAMMA", low=0.0), s.counts("MULTISTEPS", least=0)
    s.finish()
    if warm >= length:
        raise ValueError(f"{a.at('WARMUP_EPOCHS')} must be below EPOCHS ({epochs}), got {warm / updates:g}")
    if name == "cosine" and not says and early:
        prefix = False
    elif name == "cosine" and not says and warm:
        text = f"{where} has no TRAIN.LR_SCHEDULER.WARMUP_PREFIX, read as True, which it is since 2022; before"
        notes.append(caution("version-open", f"{text}, the cosine's clock ran during warm-up; set it"))
    # A line falls on where batches that make no update are counted beyond the end.
    beyond = max(most, length) - warm
    if name == "linear" and 0.99 * beyond > length - warm:
        raise ValueError(f"{a.at('ACCUMULATION_STEPS')}: the line goes below 0 in the last epochs")
    if name == "multistep" and (not at or warm > min(at) * updates):
        raise ValueError(f"{s.at('MULTISTEPS')} must follow WARMUP_EPOCHS, got {short(at)}")
    follows = name == "linear" or (name == "cosine" and prefix)  # whether the schedule begins when warm-up ends

    def after_warmup(peak: float) -> Schedule:
        if name == "cosine":
            return cosine(peak, length - warm if prefix else length, floor)
        if name == "linear":
            return linear(peak, peak - 0.99 * peak * beyond / (length - warm), beyond)
        if name == "step":
            return step_decay(peak, every=max(int(decay_epochs * updates), 1), factor=rate)
        return multi_step(peak, at=[epoch * updates for epoch in at], factor=gamma)

    def schedule(scale: float) -> Schedule:
        peak = rates["BASE_LR"] * scale
        if not warm:
            return after_warmup(peak)
        parts = [linear(start, peak, warm), after_warmup(peak)]
        return sequential(parts, at=[warm]) if follows else piecewise(parts, at=[warm])

    return schedule


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
        return isinstance(train.get("OPTIMIZER", {}), dict)
    return str(_get(model, "TYPE")).startswith("swin") and any(str(name).startswith("SWIN") for name in model or ())
