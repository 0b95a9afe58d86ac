"""The optimizer constructors: the groups that each makes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Condition, Match, Rule, contains, glob, role
from jaxsched.ports import shared
from jaxsched.ports.openmmlab import _internimage, _layer_decay, _paramwise_options
from jaxsched.ports.openmmlab._paramwise import REST, Groups, Multipliers, default_groups
from jaxsched.ports.openmmlab._settings import Settings

_DEFAULT = (
    None,
    "DefaultOptimizerConstructor",
    "DefaultOptimWrapperConstructor",
    "ForceDefaultOptimWrapperConstructor",
)
YOLO = ("YOLOv5OptimizerConstructor", "YOLOv7OptimWrapperConstructor")
YOLO_GROUPS = (REST, "norm", "bias")
"""Their groups in the original's order."""


def groups(
    config: Any,
    *,
    generation: int,
    optimizer: Settings,
    constructor: Any,
    depthwise: Match | None,
    hyperparameters: Sequence[str] = (),
    options: Any = None,
    model: Any = None,
    batch_size: int | None = None,
    images_on_a_device: int | None = None,
) -> Groups:
    """The groups that a constructor makes from a ``paramwise_cfg``.

    Args:
        config: The dict, or None.
        generation: 1 for mmcv 1.x, 2 for mmengine; they differ in which option a parameter falls to.
        optimizer: The settings of the optimizer.
        constructor: The name of the constructor in the config, or None.
        depthwise: Which parameters belong to depthwise convolutions.
        hyperparameters: The names of the optimizer's hyperparameters.
        options: MMSelfSup 0.x's paramwise_options, or None.
        model: The config's model, whose backbone numbers the layers of a layer-wise decay.
        batch_size: Images in a batch, over all devices.
        images_on_a_device: ``batch_size_per_gpu``, which makes MMYOLO's constructors scale the weight decay.
    """
    if constructor in _layer_decay.CONSTRUCTORS:
        settings = Settings("paramwise_cfg", config or {})
        return _layer_decay.groups(constructor, settings, model, optimizer, options, hyperparameters)
    if constructor == _internimage.CONSTRUCTOR:
        return _internimage.groups(Settings("paramwise_cfg", config or {}))
    if constructor in YOLO:
        return _yolo(Settings("paramwise_cfg", config or {}), batch_size, images_on_a_device)
    if constructor in ("TSMOptimizerConstructor", "TSMOptimWrapperConstructor"):
        return _tsm(Settings("paramwise_cfg", config or {}))
    if constructor == "SwinOptimWrapperConstructor":
        return _swin(Settings("paramwise_cfg", config or {}))
    if constructor not in _DEFAULT:
        where = "optim_wrapper" if generation == 2 else "optimizer"
        raise ValueError(
            f"constructor {short(constructor)} is not known: read without it, options={{'{where}.constructor': None}} "
            f"(--option {where}.constructor=None), and write its groups as rules of the recipe"
        )
    if options is not None:
        if config:
            raise ValueError("optimizer: paramwise_cfg beside paramwise_options is not read: remove one")
        return _paramwise_options.groups(options, optimizer, hyperparameters)
    if not config:
        return Groups((Rule("**", REST),), {})
    settings = Settings("paramwise_cfg", config)
    forced = constructor == "ForceDefaultOptimWrapperConstructor" and settings.flag("force_default_settings")
    own = hyperparameters if generation == 2 else ()
    return default_groups(settings, generation, "weight_decay" in optimizer.values, depthwise, own, forced)


def _yolo(settings: Settings, batch_size: int | None, images_on_a_device: int | None) -> Groups:
    """MMYOLO 0.6.0's: only weights decay, and the decay scales with the batch above the nominal one."""
    nominal = settings.count("base_total_batch_size", 64, least=1)
    settings.finish()
    scale = 1.0
    if images_on_a_device is not None:
        if batch_size is None:
            raise shared.MissingError(
                "optim_wrapper",
                "its constructor scales weight_decay with the images in a batch over all devices",
                ["batch_size"],
            )
        scale = batch_size * max(round(nominal / batch_size), 1) / nominal
    rules = (
        Rule(role("bias", "norm_bias"), "bias", optional=True),
        Rule(role("norm") | contains("implicit"), "norm", optional=True),
        Rule("**", REST, optional=True),
    )
    multipliers = {"bias": Multipliers(decay=0.0), "norm": Multipliers(decay=0.0), REST: Multipliers(decay=scale)}
    notes = () if scale == 1 else (f"optim_wrapper: weight_decay x {scale:g} for {batch_size} images to a batch",)
    return Groups(rules, multipliers, notes)


def _tsm(settings: Settings) -> Groups:
    """MMAction2's: norms do not decay, biases learn twice as fast; with ``fc_lr5`` the last layer 5 and 10 times."""
    faster = settings.flag("fc_lr5")
    settings.finish()
    last = glob("cls_head/**")
    rules = [
        Rule(role("norm", "norm_bias"), "norm", optional=True),
        *([Rule(last & role("bias"), "last_bias", optional=True), Rule(last, "last", optional=True)] if faster else []),
        Rule(role("bias"), "bias", optional=True),
        Rule("**", REST, optional=True),
    ]
    multipliers = {"norm": Multipliers(decay=0.0), "bias": Multipliers(2.0, 0.0)}
    if faster:
        multipliers |= {"last": Multipliers(5.0), "last_bias": Multipliers(10.0, 0.0)}
    return Groups(tuple(rules), multipliers, ("paramwise_cfg: the last layer is that in cls_head",) if faster else ())


MOST_KEYS = 8
"""Keys of which each subset is a rule."""


def _swin(settings: Settings) -> Groups:
    """MMAction2's of Video Swin: all keys that are in a parameter's name multiply."""
    found: dict[str, Multipliers] = {}
    notes: list[str] = []
    for key in list(settings.values):
        entry = Settings(settings.at(key), settings.take(key))
        found[key] = Multipliers(entry.number("lr_mult", 1.0), entry.number("decay_mult", 1.0))
        notes += entry.ignored()
    if len(found) > MOST_KEYS:
        raise ValueError(f"paramwise_cfg: at most {MOST_KEYS} keys are read, got {len(found)}")
    rules, multipliers = [], {}
    for size in range(len(found), 0, -1):
        for keys in itertools.combinations(found, size):
            match: Condition = _contained(keys[0])
            for key in keys[1:]:
                match = match & _contained(key)
            group = " and ".join(keys)
            rules.append(Rule(match, group, optional=True))
            multipliers[group] = Multipliers(
                math.prod(found[key].lr for key in keys), math.prod(found[key].decay for key in keys)
            )
    rules.append(Rule("**", REST, optional=True))
    notes.append(f"paramwise_cfg: keys are searched in the paths of the parameters: {', '.join(found)}")
    return Groups(tuple(rules), multipliers, tuple(notes))


def _contained(key: str) -> Condition:
    """The original's names begin with ``base.``, and a norm is a norm by its name."""
    text = key.replace(".", "/").removeprefix("base/")
    return contains(text)
