"""The recipe that ``main.py`` of DETR and of Deformable DETR follows, from its arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Condition, Rule, contains
from jaxsched.ports import shared
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import per_epoch, step_decay

_DETR: Mapping[str, Any] = {
    "lr": 1e-4,
    "lr_backbone": 1e-5,
    "batch_size": 2,
    "weight_decay": 1e-4,
    "epochs": 300,
    "lr_drop": 200,
    "clip_max_norm": 0.1,
    "lr_backbone_names": ["backbone"],
    "lr_linear_proj_names": [],
    "lr_linear_proj_mult": 1.0,
    "sgd": False,
    "world_size": 1,
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "detr": _DETR,
    "deformable_detr": {
        **_DETR,
        "lr": 2e-4,
        "lr_backbone": 2e-5,
        "epochs": 50,
        "lr_drop": 40,
        "lr_backbone_names": ["backbone.0"],
        "lr_linear_proj_names": ["reference_points", "sampling_offsets"],
        "lr_linear_proj_mult": 0.1,
    },
}
"""The arguments that a recipe is made of, by project; names that are not of DETR say what its code has fixed."""
_OWN = ("lr_backbone_names", "lr_linear_proj_names", "lr_linear_proj_mult", "sgd")
"""Arguments of Deformable DETR alone."""
_ASIDE_TEXT = """
    frozen_weights backbone dilation position_embedding position_embedding_scale num_feature_levels enc_layers
    dec_layers dim_feedforward hidden_dim dropout nheads num_queries pre_norm dec_n_points enc_n_points masks
    no_aux_loss aux_loss set_cost_class set_cost_bbox set_cost_giou mask_loss_coef dice_loss_coef cls_loss_coef
    bbox_loss_coef giou_loss_coef eos_coef focal_alpha dataset_file coco_path coco_panoptic_path remove_difficult
    output_dir device seed resume start_epoch eval num_workers dist_url cache_mode num_classes with_box_refine
    two_stage lr_drop_epochs rank gpu distributed dist_backend
"""
_ASIDE = frozenset(_ASIDE_TEXT.split())
"""Arguments of the model, the loss and the data, and ``lr_drop_epochs``, which nothing reads."""
_FLAGS_TEXT = "sgd masks eval dilation pre_norm no_aux_loss remove_difficult with_box_refine two_stage cache_mode"
_FLAGS = tuple(_FLAGS_TEXT.split())
_ORIGINS = {"backbone": "lr_backbone", "other": "lr"}


def settings(words: Sequence[str]) -> Mapping[str, Any]:
    """The arguments that a command line gives."""
    found: dict[str, Any] = shared.parse_words(words, (*_DETR, *_ASIDE), _FLAGS)
    return {
        name: [value] if name.endswith("_names") and isinstance(value, str) else value for name, value in found.items()
    }


def recipe(
    args: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    project: str = "detr",
    world_size: int | None = None,
) -> Recipe:
    """The recipe that ``main.py`` of DETR follows.

    AdamW at a constant lr, times 0.1 after each ``lr_drop`` epochs. The backbone (the group ``backbone``) has the lr
    ``lr_backbone``; in Deformable DETR the parameters that predict points (``points``) that of the others (``other``)
    times ``lr_linear_proj_mult``. All have the same weight decay. A last batch that is smaller is dropped. With a
    ``lr_backbone`` of 0 the backbone is frozen: it does not count in the norm that is clipped.

    Args:
        args: The arguments by name, or the path to a YAML or JSON file of them.
        steps_per_epoch: Batches in an epoch of one process.
        images: Images of the training set, in place of ``steps_per_epoch``.
        project: Whose defaults these are: detr or deformable_detr.
        world_size: How many processes train, in place of that of the arguments.

    Returns:
        A recipe; ``notes`` lists the arguments that are not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is out of its range, or an argument not known.

    Examples:
        >>> import jaxsched as js
        >>> recipe = js.ports.detr.recipe(dict(lr=2e-4, epochs=3, lr_drop=2), steps_per_epoch=10)
        >>> js.curves(recipe, [0, 19, 20])["backbone"]["lr"].round(9)
        array([1.e-05, 1.e-05, 1.e-06], dtype=float32)
    """
    if project not in DEFAULTS:
        raise ValueError(f"project must be one of {', '.join(DEFAULTS)}, got {short(project)}")
    where, values = shared.read(args)
    own = [name for name in _OWN if name in values]
    if own and project == "detr":
        raise ValueError(f"{where}: {own[0]} is not an argument of DETR; give project='deformable_detr'")
    a = shared.Settings(where, values, DEFAULTS[project])
    processes = a.count("world_size", least=1)
    processes = processes if world_size is None else shared.as_count("world_size", world_size)
    size, epochs, drop = a.count("batch_size", least=1), a.count("epochs", least=1), a.count("lr_drop", least=1)
    if images is not None and steps_per_epoch is None:  # each process has its share, rounded up
        images = -(-shared.as_count("images", images) // processes)
    nb = shared.epoch_length(where, steps_per_epoch, images, size, drop_last=True)
    lr, rates = a.number("lr", low=0.0), {"backbone": a.number("lr_backbone", low=0.0)}
    rates |= {"points": lr * a.number("lr_linear_proj_mult", low=0.0), "other": lr}
    rules = [
        Rule(Condition("any", tuple(contains(name.replace(".", "/")) for name in names)), group, optional=True)
        for group, key in (("backbone", "lr_backbone_names"), ("points", "lr_linear_proj_names"))
        if (names := _names(a, key))
    ]
    rules.append(Rule("**", "other", optional=True))
    decay, clip, is_sgd = a.number("weight_decay", low=0.0), a.number("clip_max_norm"), a.flag("sgd")
    groups: dict[str, Mapping[str, Any] | None] = {
        rule.group: {"lr": per_epoch(step_decay(rates[rule.group], drop), nb)} for rule in rules
    }
    if not rates["backbone"] and "backbone" in groups:
        groups["backbone"] = None
    notes = a.rest(aside=_ASIDE)
    if values.get("frozen_weights") is not None:
        text = f"{a.at('frozen_weights')}: only the mask head is trained; freeze the other parameters by recipe.replace"
        notes.append(caution("left-out", text))
    return Recipe(
        "sgd" if is_sgd else "adamw",
        {"weight_decay": decay, **({"momentum": 0.9} if is_sgd else {})},
        groups=groups,
        rules=tuple(rules),
        clip_norm=clip if clip > 0 else None,
        steps=shared.as_count("epochs x steps_per_epoch", epochs * nb),
        steps_per_epoch=nb,
        batch_size=size * processes,
        notes=tuple(notes),
        origin={f"{name}.lr": f"{where}: {key}" for name, key in _ORIGINS.items() if groups.get(name)},
    )


def _names(a: shared.Settings, key: str) -> list[str]:
    names = a.take(key)
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        raise TypeError(f"{a.at(key)} must be a list of names, got {short(names)}")
    return list(names)
