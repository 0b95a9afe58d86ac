"""What ``optimizer=`` resolves to, with ``auto`` as its release decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxsched.ports import shared
from jaxsched.ports.ultralytics._args import DEFAULTS
from jaxsched.ports.ultralytics._releases import Rules
from jaxsched.recipe import caution


class Choice(NamedTuple):
    """What ``optimizer=`` resolves to.

    Attributes:
        momentum: Of the optimizer as it is made; warm-up moves it.
    """

    name: str
    lr: float
    momentum: float
    warmup_bias_lr: float
    why: str | None = None


def updates_of(a: Mapping[str, Any], images: int | None, steps_per_epoch: int) -> range:
    """How many updates Ultralytics expects of the run, from the fewest to the most that the images may be."""
    images = None if images is None else shared.as_count("images", images)
    fewest = images or (steps_per_epoch - 1) * a["batch"] + 1
    most = images or steps_per_epoch * a["batch"]
    each = max(a["batch"], a["nbs"])
    return range(math.ceil(fewest / each) * a["epochs"], math.ceil(most / each) * a["epochs"] + 1)


def fitted_lr(classes: int) -> float:
    """The lr that ``optimizer=auto`` fits to the number of classes."""
    return round(0.002 * 5 / (4 + classes), 6)


def _are_many(where: str, why: str, updates: range, many: int) -> bool:
    if updates[0] <= many < updates[-1]:
        raise shared.MissingError(where, f"{why} depends on the length of the run", ["images"])
    return updates[0] > many


def choose(where: str, a: Mapping[str, Any], rules: Rules, updates: range, classes: int | None) -> Choice:
    name = a["optimizer"]
    if name == "auto" and rules.auto is None:
        name = "SGD"
    if name != "auto":
        return Choice(name, a["lr0"], a["momentum"], a["warmup_bias_lr"])
    auto = rules.auto
    assert auto
    long = _are_many(where, "optimizer=auto", updates, auto.many)
    part, name = ("long", auto.long) if long else ("short", auto.short)
    said = f"optimizer=auto: {'' if long else 'not '}more than {auto.many} updates, so {name}"
    ignored = "lr0 is ignored, biases warm up from 0"
    if part not in auto.fitted:
        lr = 0.001 if name == "NAdam" else 0.01
        return Choice(name, lr, 0.9, 0.0, f"{said} with lr {lr}; {ignored}")
    if classes is None:
        raise shared.MissingError(where, f"{said}, whose lr depends on the number of classes", ["classes"])
    lr = fitted_lr(shared.as_count("classes", classes))
    return Choice(name, lr, 0.9, 0.0, f"{said} with lr 0.01 / (4 + {classes}) = {lr} and first beta 0.9; {ignored}")


def starts_of(rules: Rules, choice: Choice) -> dict[str, float]:
    """Where warm-up begins, for the groups in which it is not at 0."""
    return {"bias": 0.0, rules.warmed: choice.warmup_bias_lr}


def options_of(
    where: str, choice: Choice, rules: Rules, momentum: Any, outputs: str | None, updates: range
) -> dict[str, Any]:
    if choice.name == "SGD":
        return {"momentum": momentum, "nesterov": True}
    if choice.name == "MuSGD":
        if outputs is None:
            raise ValueError(
                "MuSGD needs to know which axis of a kernel is the outputs: outputs='last' (Flax, Haiku) or 'first' "
                "(Equinox)"
            )
        if rules.muon is None:
            raise ValueError(f"{where}: MuSGD is in Ultralytics from 8.4.0 on")
        long, few = rules.muon
        muon, sgd = long if long == few or _are_many(where, "MuSGD", updates, 10_000) else few
        return {"momentum": momentum, "nesterov": True, "muon": muon, "sgd": sgd, "outputs": outputs}
    if choice.name == "RMSprop":
        return {"momentum": momentum}
    return {"betas": (choice.momentum, 0.999)}


def explained(where: str, a: Mapping[str, Any], choice: Choice) -> list[str]:
    """What ``optimizer=auto`` came to, with a caution where the file sets an lr0 that it ignores."""
    if choice.why is None:
        return []
    if a["lr0"] == DEFAULTS["lr0"] or a["lr0"] == choice.lr:
        return [choice.why]
    text = f"{where}: lr0 is {a['lr0']:g}, and optimizer=auto takes {choice.lr:g} instead"
    return [choice.why, caution("ignored-lr", text)]
