"""The recipe that a script of torchvision's ``references`` follows, from its arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Condition, Rule, contains, glob, role
from jaxsched.ports import shared
from jaxsched.ports.torchvision._lrs import LRS
from jaxsched.ports.torchvision._scripts import ASIDE, DEFAULTS, script_of
from jaxsched.ports.torchvision._shapes import averaging
from jaxsched.recipe import Recipe
from jaxsched.schedules import Schedule

_EMBEDDINGS = ("class_token", "position_embedding", "relative_position_bias_table")
_AUXILIARY = "aux_classifier"
_RA_BATCH = 256
"""Repeated augmentation takes so many images at a time."""


def recipe(
    args: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    script: str | None = None,
    world_size: int | None = None,
) -> Recipe:
    """The recipe that one of torchvision's reference scripts follows.

    - classification: the lr changes once in an epoch. With ``model_ema`` the parameters are averaged at each
      ``model_ema_steps``-th batch of an epoch with the decay ``1 - min(1, (1 - model_ema_decay) * batch_size *
      world_size * model_ema_steps / epochs)``; up to the first batch after the warm-up they are copied.
    - detection: the lr changes once in an epoch; in the first epoch it rises from a thousandth over ``min(1000,
      batches - 1)`` batches.
    - segmentation: the lr falls at each step as ``(1 - t) ** 0.9``; ``aux_classifier`` has ten times the lr.
    - video_classification: the lr is ``lr * world_size``; it falls at the milestones.

    Weight decay differs by group where the arguments say so: ``bias`` (all biases, those of norms too), ``embedding``
    (``class_token``, ``position_embedding``, ``relative_position_bias_table``), ``norm``, and ``other``.

    Args:
        args: The arguments by name, or the path to a YAML or JSON file of them.
        steps_per_epoch: Batches in an epoch of one process.
        images: Images (or clips) of the training set, in place of ``steps_per_epoch``.
        script: Whose arguments these are: classification, detection, segmentation or video_classification. Found from
            the arguments if only one script has them, or from the name of the model.
        world_size: How many processes train, in place of that of the arguments.

    Returns:
        A recipe; ``notes`` lists the arguments that are not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is out of its range, an argument not known, or several scripts have these arguments.

    Examples:
        >>> import jaxsched as js
        >>> args = dict(lr=0.5, epochs=10, lr_scheduler="cosineannealinglr", lr_warmup_epochs=2)
        >>> recipe = js.ports.torchvision.recipe(args, steps_per_epoch=100)
        >>> js.curves(recipe, [0, 199, 200, 600])["all"]["lr"].round(4).tolist()
        [0.004999999888241291, 0.004999999888241291, 0.5, 0.25]
    """
    where, values = shared.read(args)
    script = script_of(where, values, script)
    is_counted = world_size is not None or (isinstance(values, Mapping) and "world_size" in values)
    a = shared.Settings(where, values, DEFAULTS[script])
    processes = a.count("world_size", least=1)
    processes = processes if world_size is None else shared.as_count("world_size", world_size)
    size, epochs = a.count("batch_size", least=1), a.count("epochs", least=1)
    is_classified = script == "classification"
    # The script repeats augmentation only if several processes train
    is_whole = is_classified and a.flag("ra_sampler") and a.flag("distributed", processes > 1)
    if images is not None and steps_per_epoch is None:
        images = shared.as_count("images", images)
        # Each process has its share, rounded up
        images = images // _RA_BATCH * _RA_BATCH // processes if is_whole else -(-images // processes)
    nb = shared.epoch_length(where, steps_per_epoch, images, size, drop_last=script in ("detection", "segmentation"))
    notes = []
    rate = a.number("lr", low=0.0)
    if script == "video_classification":
        rate *= processes
        if not is_counted:
            notes.append("the script multiplies lr by world_size, which is not given: 1")
    warm = a.count("lr_warmup_epochs") if "lr_warmup_epochs" in a.defaults else 0
    lr = LRS[script](a, rate, epochs, warm, nb)
    optimizer, options = _optimizer(a, script)
    rules, groups = _groups(a)
    if script == "segmentation" and a.flag("aux_loss"):
        rules = (Rule(contains(_AUXILIARY), _AUXILIARY, optional=True), Rule("**", "other", optional=True))
        groups = {_AUXILIARY: {"lr": 10.0 * lr}}
    is_clipped = is_classified and a.values.get("clip_grad_norm") is not None
    return Recipe(
        optimizer,
        {"lr": lr, **options},
        groups=groups,
        rules=rules,
        clip_norm=a.positive("clip_grad_norm") if is_clipped else None,
        ema=_average(a, nb, size * processes, epochs, warm) if is_classified else None,
        steps=shared.as_count("epochs x steps_per_epoch", epochs * nb),
        steps_per_epoch=nb,
        batch_size=size * processes,
        notes=(*a.rest(aside=ASIDE[script]), *notes),
        origin={"lr": f"{where}: lr and {'lr_scheduler' if 'lr_scheduler' in a.defaults else 'its schedule'}"},
    )


def _optimizer(a: shared.Settings, script: str) -> tuple[str, dict[str, Any]]:
    momentum, decay = a.number("momentum", low=0.0), a.number("weight_decay", low=0.0)
    name = a.text("opt").lower() if "opt" in a.defaults else "sgd"
    if name.startswith("sgd"):
        return "sgd", {"momentum": momentum, "weight_decay": decay, "nesterov": "nesterov" in name}
    if name == "adamw":
        return "adamw", {"weight_decay": decay}
    if name == "rmsprop" and script == "classification":
        return "rmsprop", {"momentum": momentum, "weight_decay": decay, "eps": 0.0316, "alpha": 0.9}
    known = "sgd, sgd_nesterov, rmsprop, adamw" if script == "classification" else "sgd, sgd_nesterov, adamw"
    raise ValueError(f"{a.at('opt')} must be one of {known}, got {short(name)}")


def _groups(a: shared.Settings) -> tuple[tuple[Rule, ...], dict[str, Mapping[str, Any] | None]]:
    """The groups whose weight decay is given; a parameter that has a decay of its own by name comes first."""
    matches = {
        "bias": ("bias_weight_decay", role("bias", "norm_bias")),
        "embedding": ("transformer_embedding_decay", Condition("any", tuple(glob(f"**/{x}") for x in _EMBEDDINGS))),
        "norm": ("norm_weight_decay", role("norm", "norm_bias")),
    }
    decays = {group: (a.number(name, low=0.0), match) for group, (name, match) in matches.items() if name in a.defaults}
    given = {group: own for group, own in decays.items() if own[0] is not None}
    rules = [Rule(match, group, optional=True) for group, (_, match) in given.items()]
    groups: dict[str, Mapping[str, Any] | None] = {group: {"weight_decay": own[0]} for group, own in given.items()}
    return (*rules, Rule("**", "other" if given else "all", optional=True)), groups


def _average(a: shared.Settings, nb: int, batch: int, epochs: int, warm: int) -> Schedule | None:
    every, decay = a.count("model_ema_steps", least=1), a.number("model_ema_decay", low=0.0, high=1.0)
    if not a.flag("model_ema"):
        return None
    adjusted = 1.0 - min(1.0, (1.0 - decay) * batch * every / epochs)
    return averaging(adjusted, every, nb, warm * nb)
