"""PaddleDetection's OptimizerBuilder: the optimizer, its regularizer, clipping, and groups of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxsched.checks import did_you_mean, short
from jaxsched.groups import Condition, Rule, regex, role
from jaxsched.ports.shared import Settings
from jaxsched.recipe import caution
from jaxsched.schedules import Schedule

DEFAULTS: Mapping[str, Any] = {
    "clip_grad_by_norm": None,
    "clip_grad_by_value": None,
    "regularizer": {"type": "L2", "factor": 0.0001},
    "optimizer": {"type": "Momentum", "momentum": 0.9},
}
"""What OptimizerBuilder has where a config says nothing."""
_TYPES = ("Momentum", "SGD", "Adam", "AdamW", "RMSProp")
_NOT_PORTED = ("AdamWDL",)
_ASIDE = ("lazy_mode", "multi_precision", "use_multi_tensor", "rescale_grad", "name")


def optimizer(where: str, section: Any, lr: Schedule, bare: bool, notes: list[str]) -> dict[str, Any]:
    """The fields of a recipe that a section ``OptimizerBuilder`` gives; ``bare`` norms are decayed as all else."""
    a = Settings(f"{where}: OptimizerBuilder", section, DEFAULTS)
    clip, most = a.positive("clip_grad_by_norm", or_none=True), a.number("clip_grad_by_value", or_none=True)
    if most == 0 and clip is None:
        raise ValueError(f"{a.at('clip_grad_by_value')} must not be 0, which leaves no gradient; set null for none")
    factor = _factor(a)
    own = Settings(a.at("optimizer"), a.take("optimizer"))
    a.finish()
    name = own.text("type")
    if name in _NOT_PORTED:
        raise ValueError(f"{own.at('type')}: {name} is not ported; write the recipe with js.layer_decay")
    if name not in _TYPES:
        raise ValueError(
            f"{own.at('type')} must be one of {', '.join(_TYPES)}, got {short(name)}{did_you_mean(name, _TYPES)}"
        )
    given = own.take("param_groups", None)
    ours, values = _values(name, own)
    if "weight_decay" not in values and own.take("weight_decay", None) is not None:
        notes.append(f"{own.at('weight_decay')} has no effect: of {name} the regularizer stands in its place")
    decay = values.pop("weight_decay", factor)
    for aside in _ASIDE:
        own.take(aside, None)
    own.finish()
    fields: dict[str, Any] = {"optimizer": ours, "hyperparameters": {"lr": lr, **values, "weight_decay": decay}}
    if given is not None:
        fields |= _groups(own, given, lr)
        if clip is not None:
            text = (
                f"{a.at('clip_grad_by_norm')}: Paddle clips the gradients of each of param_groups by their own norm; "
            )
            notes.append(caution("left-out", text + "here all are clipped together"))
    elif name == "AdamW":
        fields |= {"groups": {}, "rules": (Rule("**", "all"),)}
    else:
        norm, bias = role("norm", "norm_bias"), role("bias")
        rules = (Rule(norm, "norm", True), Rule(bias, "bias", True), Rule("**", "weight", True))
        fields |= {"groups": {} if bare else {"norm": {"weight_decay": 0.0}}, "rules": rules}
    return {**fields, "clip_norm": clip, "clip_value": None if most is None or clip is not None else abs(most)}


def _factor(a: Settings) -> float:
    """The weight decay of the regularizer."""
    given = a.take("regularizer")
    if given in (False, None, "None", {}, ""):
        return 0.0
    own = Settings(a.at("regularizer"), given)
    kind, factor = own.choice("type", ("L2", "L1")), own.number("factor", low=0.0)
    own.finish()
    if kind == "L1" and factor:
        raise ValueError(f"{own.at('type')} L1 is not a weight decay; keep it in the loss, and set regularizer: false")
    return float(factor)


def _values(name: str, a: Settings) -> tuple[str, dict[str, Any]]:
    """The name and the hyperparameters of our optimizer; a weight decay of its own only where it has one."""
    if name in ("Momentum", "SGD"):
        momentum, nesterov = (
            (a.beta("momentum", 0.9), a.flag("use_nesterov", False)) if name == "Momentum" else (0, False)
        )
        return "sgd", {"momentum": momentum, "nesterov": nesterov}
    if name == "RMSProp":
        return "rmsprop", {
            "alpha": a.beta("rho", 0.95),
            "eps": 0.0,
            "eps_root": a.number("epsilon", 1e-6, low=0.0),
            "momentum": a.beta("momentum", 0.0),
            "centered": a.flag("centered", False),
            "lr_in_momentum": True,
        }
    betas = a.beta("beta1", 0.9), a.beta("beta2", 0.999)
    values: dict[str, Any] = {"betas": betas, "eps": a.number("epsilon", 1e-8, low=0.0)}
    if name == "Adam":
        return "adam", values
    return "adamw", {**values, "weight_decay": a.number("weight_decay", 0.01, low=0.0)}


def _groups(a: Settings, given: Any, lr: Schedule) -> dict[str, Any]:
    """The groups, by the order in the file; what no pattern is found in is ``rest``."""
    if not isinstance(given, list):
        raise TypeError(f"{a.at('param_groups')} must be a list, got {short(given)}")
    rules, groups = list[Rule](), dict[str, dict[str, Any]]()
    for i, entry in enumerate(given):
        own = Settings(f"{a.at('param_groups')}[{i}]", entry)
        patterns, name = own.take("params"), f"group_{i}"
        if not isinstance(patterns, list) or not patterns:
            raise TypeError(f"{own.at('params')} must be a list of regular expressions, got {short(patterns)}")
        rules.append(Rule(_any_of(own, patterns), name))
        factor, decay = own.number("learning_rate", 1.0, low=0.0), own.number("weight_decay", None, low=0.0)
        groups[name] = {} if factor == 1.0 else {"lr": factor * lr}
        groups[name] |= {} if decay is None else {"weight_decay": decay}
        own.finish()
    return {"groups": groups, "rules": (*rules, Rule("**", "rest", True))}


def _any_of(a: Settings, patterns: list[Any]) -> Condition:
    try:
        found = [regex(pattern) for pattern in patterns]
    except (TypeError, ValueError) as error:
        raise type(error)(f"{a.at('params')}: {error}") from None
    some = found[0]
    for other in found[1:]:
        some = some | other
    return some
