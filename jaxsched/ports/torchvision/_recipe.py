"""The recipe that ``references/classification/train.py`` of torchvision follows, from its arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Condition, Rule, glob, role
from jaxsched.ports import shared
from jaxsched.ports.torchvision._shapes import averaging
from jaxsched.recipe import Recipe
from jaxsched.schedules import Schedule, constant, cosine, exponential, linear, per_epoch, sequential, step_decay

DEFAULTS: Mapping[str, Any] = {
    "batch_size": 32,
    "epochs": 90,
    "opt": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "norm_weight_decay": None,
    "bias_weight_decay": None,
    "transformer_embedding_decay": None,
    "lr_scheduler": "steplr",
    "lr_warmup_epochs": 0,
    "lr_warmup_method": "constant",
    "lr_warmup_decay": 0.01,
    "lr_step_size": 30,
    "lr_gamma": 0.1,
    "lr_min": 0.0,
    "model_ema": False,
    "model_ema_steps": 32,
    "model_ema_decay": 0.99998,
    "clip_grad_norm": None,
    "ra_sampler": False,
    "world_size": 1,
}
"""The arguments that a recipe is made of, as ``get_args_parser`` has them."""
_OTHERS = {
    "lr_steps": "detection",
    "aspect_ratio_group_factor": "detection",
    "trainable_backbone_layers": "detection",
    "aux_loss": "segmentation",
    "lr_milestones": "video classification",
    "clip_len": "video classification",
}
"""Arguments of torchvision's other reference scripts, which have schedules of their own."""
_ASIDE_TEXT = """
    data_path model device workers label_smoothing mixup_alpha cutmix_alpha print_freq output_dir resume start_epoch
    cache_dataset sync_bn test_only auto_augment ra_magnitude augmix_severity random_erase amp dist_url interpolation
    val_resize_size val_crop_size train_crop_size ra_reps weights backend use_v2 use_deterministic_algorithms pretrained
    rank gpu dist_backend apex apex_opt_level
"""
_ASIDE = frozenset(_ASIDE_TEXT.split())
NAMES = (*DEFAULTS, *sorted(_ASIDE))
_FLAGS_TEXT = """
    model_ema ra_sampler amp cache_dataset sync_bn test_only use_deterministic_algorithms pretrained apex use_v2
"""
_FLAGS = tuple(_FLAGS_TEXT.split())
_EMBEDDINGS = ("class_token", "position_embedding", "relative_position_bias_table")
_RA_BATCH = 256
"""Repeated augmentation takes so many images at a time."""


def settings(words: Sequence[str]) -> Mapping[str, Any]:
    """The arguments that a command line gives."""
    found: dict[str, Any] = shared.parse_words(words, (*NAMES, "wd"), _FLAGS, {"b": "batch_size", "j": "workers"})
    if "wd" in found:
        found["weight_decay"] = found.pop("wd")
    return found


def recipe(
    args: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    world_size: int | None = None,
) -> Recipe:
    """The recipe that torchvision's reference script for classification follows.

    All schedules change once in an epoch. Weight decay differs by group where the arguments say so: ``bias`` (all
    biases, those of norms too), ``embedding`` (``class_token``, ``position_embedding``,
    ``relative_position_bias_table``), ``norm``, and ``other``. With ``model_ema`` the parameters are averaged at each
    ``model_ema_steps``-th batch of an epoch with the decay ``1 - min(1, (1 - model_ema_decay) * batch_size * world_size
    * model_ema_steps / epochs)``; up to the first batch after the warm-up they are copied.

    Args:
        args: The arguments by name, or the path to a YAML or JSON file of them.
        steps_per_epoch: Batches in an epoch of one process.
        images: Images of the training set, in place of ``steps_per_epoch``.
        world_size: How many processes train, in place of that of the arguments.

    Returns:
        A recipe; ``notes`` lists the arguments that are not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is out of its range, or an argument not known.

    Examples:
        >>> import jaxsched as js
        >>> args = dict(lr=0.5, epochs=10, lr_scheduler="cosineannealinglr", lr_warmup_epochs=2)
        >>> recipe = js.ports.torchvision.recipe(args, steps_per_epoch=100)
        >>> js.curves(recipe, [0, 199, 200, 600])["all"]["lr"].round(4).tolist()
        [0.004999999888241291, 0.004999999888241291, 0.5, 0.25]
    """
    where, values = shared.read(args)
    if other := next((name for name in values if name in _OTHERS), None):
        raise ValueError(
            f"{where}: {other} is an argument of torchvision's script for {_OTHERS[other]}, which is not ported; write "
            "the recipe with js.Recipe"
        )
    a = shared.Settings(where, values, DEFAULTS)
    processes = a.count("world_size", least=1)
    processes = processes if world_size is None else shared.as_count("world_size", world_size)
    size, epochs = a.count("batch_size", least=1), a.count("epochs", least=1)
    is_distributed = a.flag("distributed", processes > 1)  # the script repeats augmentation only then
    if a.flag("ra_sampler") and is_distributed and images is not None and steps_per_epoch is None:
        images = shared.as_count("images", images) // _RA_BATCH * _RA_BATCH // processes
    elif images is not None and steps_per_epoch is None:  # each process has its share, rounded up
        images = -(-shared.as_count("images", images) // processes)
    nb = shared.epoch_length(where, steps_per_epoch, images, size)
    warm = a.count("lr_warmup_epochs")
    lr = _lr(a, epochs, warm)
    optimizer, options = _optimizer(a)
    rules, groups = _groups(a)
    return Recipe(
        optimizer,
        {"lr": per_epoch(lr, nb), **options},
        groups=groups,
        rules=rules,
        clip_norm=None if a.values.get("clip_grad_norm") is None else a.positive("clip_grad_norm"),
        ema=_average(a, nb, size * processes, epochs, warm),
        steps=shared.as_count("epochs x steps_per_epoch", epochs * nb),
        steps_per_epoch=nb,
        batch_size=size * processes,
        notes=tuple(a.rest(aside=_ASIDE)),
        origin={"lr": f"{where}: lr and lr_scheduler"},
    )


def _lr(a: shared.Settings, epochs: int, warm: int) -> Schedule:
    """The lr of each epoch."""
    lr = a.number("lr", low=0.0)
    kind = a.text("lr_scheduler").lower()
    every, gamma, floor = a.count("lr_step_size", least=1), a.number("lr_gamma", low=0.0), a.number("lr_min", low=0.0)
    start, method = a.number("lr_warmup_decay", low=0.0, high=1.0), a.text("lr_warmup_method")
    if kind == "steplr":
        falls = step_decay(lr, every, gamma)
    elif kind == "exponentiallr":
        falls = exponential(lr, gamma)
    elif kind == "cosineannealinglr":
        if warm >= epochs:
            raise ValueError(f"{a.at('lr_warmup_epochs')} must be below epochs ({epochs}), got {warm}")
        falls = cosine(lr, epochs - warm, floor)
    else:
        known = "steplr, cosineannealinglr, exponentiallr"
        raise ValueError(f"{a.at('lr_scheduler')} must be one of {known}, got {short(kind)}")
    if not warm:
        return falls
    if method not in ("linear", "constant"):
        raise ValueError(f"{a.at('lr_warmup_method')} must be linear or constant, got {short(method)}")
    rises = linear(lr * start, lr, warm) if method == "linear" else constant(lr * start)
    return sequential([rises, falls], at=[warm])


def _optimizer(a: shared.Settings) -> tuple[str, dict[str, Any]]:
    name, momentum, decay = a.text("opt").lower(), a.number("momentum", low=0.0), a.number("weight_decay", low=0.0)
    if name.startswith("sgd"):
        return "sgd", {"momentum": momentum, "weight_decay": decay, "nesterov": "nesterov" in name}
    if name == "rmsprop":
        return "rmsprop", {"momentum": momentum, "weight_decay": decay, "eps": 0.0316, "alpha": 0.9}
    if name == "adamw":
        return "adamw", {"weight_decay": decay}
    raise ValueError(f"{a.at('opt')} must be one of sgd, sgd_nesterov, rmsprop, adamw, got {short(name)}")


def _groups(a: shared.Settings) -> tuple[tuple[Rule, ...], dict[str, Mapping[str, Any] | None]]:
    """The groups whose weight decay is given; a parameter that has a decay of its own by name comes first."""
    matches = {
        "bias": ("bias_weight_decay", role("bias", "norm_bias")),
        "embedding": ("transformer_embedding_decay", Condition("any", tuple(glob(f"**/{x}") for x in _EMBEDDINGS))),
        "norm": ("norm_weight_decay", role("norm", "norm_bias")),
    }
    decays = {group: (a.number(name, low=0.0), match) for group, (name, match) in matches.items()}
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
