"""The recipe that pycls' trainer follows, from OPTIM of a YAML config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Rule, contains, role
from jaxsched.ports import shared
from jaxsched.recipe import Recipe
from jaxsched.schedules import Schedule, cosine, exponential, linear, multi_step, per_epoch, warmup

DEFAULTS: Mapping[str, Any] = {
    "OPTIMIZER": "sgd",
    "BASE_LR": 0.1,
    "MIN_LR": 0.0,
    "LR_POLICY": "cos",
    "STEPS": [],
    "LR_MULT": 0.1,
    "MAX_EPOCH": 200,
    "MOMENTUM": 0.9,
    "DAMPENING": 0.0,
    "NESTEROV": True,
    "BETA1": 0.9,
    "BETA2": 0.999,
    "WEIGHT_DECAY": 5e-4,
    "BIAS_USE_CUSTOM_WEIGHT_DECAY": False,
    "BIAS_CUSTOM_WEIGHT_DECAY": 0.0,
    "WARMUP_FACTOR": 0.1,
    "WARMUP_EPOCHS": 0,
}
"""What OPTIM has where a config says nothing."""
_ASIDE = ("EMA_ALPHA", "EMA_UPDATE_PERIOD", "MTA", "EMA_BETA")
_BATCH_SIZE = 128
"""TRAIN.BATCH_SIZE where a config says nothing."""


def recipe(
    cfg: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    steps_per_epoch: int | None = None,
    images: int | None = None,
) -> Recipe:
    """The recipe that pycls' trainer follows.

    The lr is constant in an epoch. With ``x`` the share of MAX_EPOCH that is over, it is BASE_LR times a cosine (cos)
    or a line (lin) from 1 to MIN_LR, ``MIN_LR ** x`` (exp), or LR_MULT to the number of STEPS that are reached (steps);
    during WARMUP_EPOCHS times a line from WARMUP_FACTOR to 1. Groups: ``norm`` (scales and biases of batch norms),
    ``ln`` (of layer norms, recognised by "ln" or "layer" in their path, where they have another decay), ``bias`` and
    ``weight``.

    Not kept: pycls averages the parameters every EMA_UPDATE_PERIOD batches.

    Args:
        cfg: The config as a dict, or the path to a YAML file.
        steps_per_epoch: Batches in an epoch, > 0.
        images: Images of the training set, in place of ``steps_per_epoch``; a last batch that is smaller is dropped.

    Returns:
        A recipe; ``notes`` lists the settings of OPTIM that are not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a setting of OPTIM is not known or out of its range.

    Examples:
        >>> import jaxsched as js
        >>> optim = dict(BASE_LR=0.8, LR_POLICY="cos", MAX_EPOCH=100, WARMUP_EPOCHS=5)
        >>> recipe = js.ports.pycls.recipe(dict(OPTIM=optim), steps_per_epoch=1251)
        >>> [round(float(lr), 6) for lr in js.curves(recipe, [0, 5 * 1251, 50 * 1251])["weight"]["lr"]]
        [0.08, 0.795075, 0.4]
    """
    where, given = shared.read(cfg, "cfg")
    sections = shared.YacsSettings(where, given)
    model, optim, train, *norms = (_section(sections, name) for name in ("MODEL", "OPTIM", "TRAIN", "BN", "LN"))
    sections.check_spelling({"OPTIM": DEFAULTS, "TRAIN": ("BATCH_SIZE",)})
    pymetric = "HEADS" in model.values
    a = shared.YacsSettings(optim.where, optim.values, {**DEFAULTS, **({"WARMUP_EPOCHS": 5} if pymetric else {})})
    batch = train.count("BATCH_SIZE", _BATCH_SIZE, least=1)
    train.check_spelling()
    nb = shared.epoch_length(where, steps_per_epoch, images, batch, drop_last=True)
    epochs, decay = a.count("MAX_EPOCH", least=1), a.number("WEIGHT_DECAY", low=0.0)
    lr = per_epoch(_schedule(a, epochs), nb)
    optimizer, options = _optimizer(a)
    notes = ["MODEL.HEADS is pymetric's, whose WARMUP_EPOCHS is 5 where a config says nothing"] if pymetric else []
    if aside := [name for name in _ASIDE if a.take(name, None)]:
        notes.append(f"not part of a recipe: {', '.join(aside)}")
    bias = a.number("BIAS_CUSTOM_WEIGHT_DECAY", low=0.0) if a.flag("BIAS_USE_CUSTOM_WEIGHT_DECAY") else decay
    a.finish()
    norm, ln = (_custom(section, decay) for section in norms)
    decays = {"ln": ln} if ln != norm else {}
    decays |= {"norm": norm, "bias": bias, "weight": decay}
    conditions = {
        "ln": role("norm", "norm_bias") & (contains("ln") | contains("layer") | contains("Layer")),
        "norm": role("norm", "norm_bias"),
        "bias": role("bias") | contains("bias"),
    }
    return Recipe(
        optimizer=optimizer,
        hyperparameters={"lr": lr, **options},
        groups={name: {"weight_decay": value} for name, value in decays.items()},
        rules=tuple(Rule(conditions.get(name, "**"), name, optional=True) for name in decays),
        steps=epochs * nb,
        steps_per_epoch=nb,
        batch_size=batch,
        notes=tuple(notes),
        origin={"lr": f"{where}: OPTIM.BASE_LR, LR_POLICY, WARMUP_EPOCHS", "weight_decay": f"{where}: WEIGHT_DECAY"},
    )


def _section(sections: shared.YacsSettings, name: str) -> shared.YacsSettings:
    return shared.YacsSettings(sections.at(name), sections.take(name, None) or {})


def _custom(section: shared.YacsSettings, decay: float) -> float:
    custom: float = section.number("CUSTOM_WEIGHT_DECAY", 0.0, low=0.0)
    used = section.flag("USE_CUSTOM_WEIGHT_DECAY", False)
    section.check_spelling()
    return custom if used else decay


def _schedule(a: shared.YacsSettings, epochs: int) -> Schedule:
    """The lr by the epoch."""
    peak, least = a.number("BASE_LR", low=0.0), a.number("MIN_LR", low=0.0, high=1.0)
    policy = a.choice("LR_POLICY", ("cos", "exp", "lin", "steps"))
    steps, factor = a.counts("STEPS", least=0), a.number("LR_MULT", low=0.0)
    if policy == "cos":
        schedule: Schedule = cosine(peak, epochs, least * peak)
    elif policy == "lin":
        schedule = linear(peak, least * peak, epochs)
    elif policy == "exp":
        if least == 0:
            raise ValueError(f"{a.at('MIN_LR')} must be positive with LR_POLICY exp, got 0")
        schedule = exponential(peak, rate=least, every=epochs)
    else:
        if steps[:1] != [0] or sorted(steps) != steps:
            raise ValueError(f"{a.at('STEPS')} must ascend from 0 on, got {short(steps)}")
        schedule = multi_step(peak, at=steps[1:], factor=factor)
    start, length = a.number("WARMUP_FACTOR", low=0.0), a.number("WARMUP_EPOCHS", low=0.0)
    return warmup(schedule, length, start * schedule) if length else schedule


def _optimizer(a: shared.YacsSettings) -> tuple[str, dict[str, Any]]:
    name = a.choice("OPTIMIZER", ("sgd", "adam", "adamw"))
    momentum, dampening = a.number("MOMENTUM", low=0.0), a.number("DAMPENING", low=0.0)
    nesterov, betas = a.flag("NESTEROV"), (a.beta("BETA1"), a.beta("BETA2"))
    if name == "sgd":
        return name, {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}
    return name, {"betas": betas}


def fits(file: shared.File) -> bool:
    """Whether a file is such a config, by the settings of OPTIM."""
    optim = file.mapping.get("OPTIM")
    names = {"LR_POLICY", "BASE_LR", "MAX_EPOCH", "WARMUP_EPOCHS"}
    return isinstance(optim, dict) and not names.isdisjoint(optim) and "NAME" not in optim
