"""The recipe that Swin-Transformer's main.py, and SimMIM's fine-tuning with LAYER_DECAY, follow from a YAML config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Condition, contains, ndim, role
from jaxsched.ports import shared
from jaxsched.ports.swin._config import merged
from jaxsched.ports.swin._groups import NO_DECAY, groups
from jaxsched.ports.swin._rates import rate
from jaxsched.ports.swin._shapes import after_updates, from_epoch_start
from jaxsched.recipe import Accumulation, Recipe, caution
from jaxsched.schedules import Schedule

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
    where, given = merged(cfg)
    sections = shared.YacsSettings(where, given)
    model, train, data = (sections.take(name, None) or {} for name in ("MODEL", "TRAIN", "DATA"))
    sections.check_spelling({"TRAIN": DEFAULTS, "DATA": ("BATCH_SIZE",)})
    named = shared.YacsSettings(f"{where}: MODEL", model)
    kind = str(named.take("TYPE", None) or "swin")
    named.check_spelling()
    notes: list[str] = []
    defaults, batch_default, unlike = DEFAULTS, {"BATCH_SIZE": _BATCH_SIZE}, ""
    if kind not in NO_DECAY:
        defaults, batch_default = {name: DEFAULTS[name] for name in _SAME_IN_FORKS}, {}
        unlike = f" (of MODEL.TYPE {short(kind)}, whose defaults are not known)"
        text = f"{where}: MODEL.TYPE {short(kind)} is not of Swin-Transformer, whose rules are taken"
        notes.append(caution("other-model", f"{text}; check them against the code that trained it"))
    a = shared.YacsSettings(f"{where}: TRAIN{unlike}", train, defaults)
    dumped = a.values.keys() >= _DUMPED
    if batch_size is None:
        loading = shared.YacsSettings(f"{where}: DATA{unlike}", data, batch_default)
        images_of_process = loading.count("BATCH_SIZE", least=1)
        loading.check_spelling()
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
    schedule = rate(where, a, rates, epochs, nb // every, (epochs * nb - 1) // every, dumped or kind == "vit", notes)
    optimizer, options = _optimizer(a.section("OPTIMIZER", {}), notes)
    clip = a.positive("CLIP_GRAD", or_none=True)
    names = NO_DECAY.get(kind, NO_DECAY["swin"])
    stays = Condition("any", (ndim(1), role("norm", "norm_bias", "bias"), *map(contains, names)))

    def lr(scale: float) -> Schedule:
        return after_updates(schedule(scale), every, nb)

    rules, own = groups(a, kind, model, every, stays, decay, lr, notes)
    return Recipe(
        optimizer=optimizer,
        hyperparameters={"lr": lr(1.0), "weight_decay": 0.0, **options},
        groups=own,
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
                for group, values in own.items()
                if "weight_decay" in values
            },
        },
    )


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
