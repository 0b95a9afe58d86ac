"""The recipe of a Keras optimizer or compiled model, from what ``keras.optimizers.serialize`` or saving wrote."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Rule
from jaxsched.ports import shared
from jaxsched.ports.keras import _schedules as schedules
from jaxsched.recipe import Accumulation, Recipe
from jaxsched.schedules import Schedule, per_epoch, piecewise

SCHEDULES = (
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
)
"""Classes of ``keras.optimizers.schedules``."""

_COMMON: Mapping[str, Any] = {
    "learning_rate": 0.001,
    "weight_decay": None,
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "gradient_accumulation_steps": None,
}
_ADAM: Mapping[str, Any] = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False}
OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "SGD": {**_COMMON, "learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
    "Adam": {**_COMMON, **_ADAM},
    "AdamW": {**_COMMON, **_ADAM, "weight_decay": 0.004},
}
"""By class name, what its arguments are where a configuration does not say."""
_ASIDE = ("name", "loss_scale_factor", "is_legacy_optimizer", "jit_compile")


def recipe(
    config: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> Recipe:
    """The recipe in a serialized Keras schedule, optimizer or compiled model; one group, ``all``.

    A schedule alone is taken with SGD, and a note says so. Weight decay is decoupled in all of Keras' optimizers:
    ``p -= lr * weight_decay * p``. With ``gradient_accumulation_steps`` gradients are averaged, and the schedule counts
    updates. The average of the parameters is a copy after the first update.

    Adam adds ``epsilon`` before the bias correction, so that the ``eps`` of the recipe falls to it from step to step.

    Not kept: norms are clipped with torch's formula, whose 1e-6 Keras has not.

    Args:
        config: A dict, or the path to a JSON file of it.
        steps: Batches of the run.
        epochs: Epochs of the run, with ``steps_per_epoch`` in place of ``steps``.
        steps_per_epoch: Batches in an epoch.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a class or an argument is not known, or a number out of its range.

    Examples:
        >>> import jaxsched as js
        >>> decay = dict(class_name="ExponentialDecay", config=dict(
        ...     initial_learning_rate=0.1, decay_steps=100, decay_rate=0.5))
        >>> recipe = js.ports.keras.recipe(dict(class_name="SGD", config=dict(learning_rate=decay)), steps=1000)
        >>> js.curves(recipe, [0, 100])["all"]["lr"].round(4).tolist()
        [0.10000000149011612, 0.05000000074505806]
    """
    where, content = shared.read(config, "config")
    if isinstance(content.get("compile_config"), Mapping):
        content = dict(content["compile_config"])
    if "class_name" not in content and isinstance(content.get("optimizer"), Mapping):
        content = dict(content["optimizer"])
    name = str(content.get("class_name"))
    if name in SCHEDULES:
        optimizer, notes = "sgd", ["the file holds a schedule only; SGD stands for its optimizer"]
        fields: dict[str, Any] = {"hyperparameters": {"lr": _schedule(where, content)}}
    elif name in OPTIMIZERS:
        settings = shared.Settings(f"{where}: {name}", _values(where, name, content), OPTIMIZERS[name])
        optimizer, fields, notes = _optimizer(name, settings)
        notes += settings.rest(aside=_ASIDE)
    else:
        known = ", ".join((*OPTIMIZERS, *SCHEDULES))
        raise ValueError(f"{where}: class_name must be one of {known}, got {short(name)}")
    if epochs is not None:
        if steps_per_epoch is None:
            raise shared.MissingError(where, "epochs alone do not say how long the run is", ["steps_per_epoch"])
        steps = shared.as_count("epochs", epochs) * shared.as_count("steps_per_epoch", steps_per_epoch)
    return Recipe(
        optimizer,
        **fields,
        rules=(Rule("**", "all"),),
        steps=None if steps is None else shared.as_count("steps", steps),
        steps_per_epoch=None if steps_per_epoch is None else shared.as_count("steps_per_epoch", steps_per_epoch),
        notes=tuple(notes),
        origin={"lr": f"{where}: learning_rate"},
    )


def _values(where: str, name: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
    """What Keras saves beside a ``class_name``."""
    own = shared.Settings(f"{where}: {name}", content)
    values = own.take("config", {})
    own.check_spelling({"config": OPTIMIZERS.get(name, ())})
    if not isinstance(values, Mapping):
        raise TypeError(f"{where}: {name}: config must hold names and values, got {short(values)}")
    return values


def _schedule(where: str, content: Mapping[str, Any]) -> Schedule:
    name = content.get("class_name")
    if name not in SCHEDULES:
        raise ValueError(f"{where}: class_name must be one of {', '.join(SCHEDULES)}, got {short(name)}")
    make, values = getattr(schedules, str(name)), _values(where, str(name), content)
    required = [p.name for p in inspect.signature(make).parameters.values() if p.default is p.empty]
    shared.check_names(f"{where}: {name}", values, inspect.signature(make).parameters.keys(), required)
    try:
        schedule: Schedule = make(**values)
    except (TypeError, ValueError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{where}: {error}") from None
    return schedule


def _optimizer(name: str, a: shared.Settings) -> tuple[str, dict[str, Any], list[str]]:
    rate = a.take("learning_rate")
    lr = _schedule(a.at("learning_rate"), rate) if isinstance(rate, Mapping) else a.as_number(a.at("lr"), rate)
    every = a.count("gradient_accumulation_steps", least=1)
    if every is not None and every > 1 and isinstance(lr, Schedule):
        lr = per_epoch(lr, every)  # Keras counts updates: batches // every
    decay = a.number("weight_decay", low=0.0)
    values: dict[str, Any] = {"lr": lr}
    notes: list[str] = []
    if name == "SGD":
        ours = "sgd"
        values |= {"momentum": a.beta("momentum"), "nesterov": a.flag("nesterov"), "form": "classic"}
        values |= {"weight_decay": decay, "decoupled_weight_decay": True} if decay else {}
    else:
        ours = "adamw" if decay else "adam"
        betas, every_update = (a.beta("beta_1"), a.beta("beta_2")), every if every is not None and every > 1 else None
        eps = shared.before_correction(a.number("epsilon", low=0.0), betas[1])
        values |= {"betas": betas, "eps": per_epoch(eps, every_update) if every_update else eps}
        if a.flag("amsgrad"):
            raise ValueError(f"{a.at('amsgrad')}: Keras' takes its maximum before the bias correction; not ported")
        values |= {"weight_decay": decay} if decay else {}
    average, momentum = a.flag("use_ema"), a.number("ema_momentum", low=0.0, high=1.0)
    if a.take("ema_overwrite_frequency") is not None and average:
        raise ValueError(f"{a.at('ema_overwrite_frequency')} overwrites the parameters, which is not ported; set null")
    return (
        ours,
        {
            "hyperparameters": values,
            "clip_each_norm": a.number("clipnorm", low=0.0) or None,  # 0 is none in Keras too
            "clip_norm": a.number("global_clipnorm", low=0.0) or None,
            "clip_value": a.number("clipvalue", low=0.0) or None,
            "accumulate": Accumulation(every, mean=True) if every is not None and every > 1 else None,
            "ema": piecewise([0.0, momentum], at=[1]) if average else None,
        },
        notes,
    )


def _fits(file: shared.File) -> bool:
    content = file.mapping.get("compile_config", file.mapping)
    content = content if isinstance(content, dict) else {}
    optimizer = content.get("optimizer")
    return isinstance(content.get("class_name"), str) or (isinstance(optimizer, dict) and "class_name" in optimizer)


KINDS = (shared.Kind("keras", "a schedule, optimizer or compiled model that Keras serialized", _fits, recipe),)
