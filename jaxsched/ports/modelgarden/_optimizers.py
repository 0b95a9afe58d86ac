"""Model Garden's optimizers, which are those of tf_keras (legacy) and an Adam with weight decay of its own."""

from __future__ import annotations

from typing import Any

from jaxsched.checks import short
from jaxsched.groups import BY_ROLE, Condition, Rule, as_condition, regex
from jaxsched.ports.modelgarden._section import Section
from jaxsched.ports.shared import before_correction
from jaxsched.recipe import caution
from jaxsched.schedules import Schedule, inverse_time, product

_CLIPS: dict[str, Any] = {"clipnorm": None, "clipvalue": None, "global_clipnorm": None}
_ADAM: dict[str, Any] = {**_CLIPS, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False}
_SGD: dict[str, Any] = {**_CLIPS, "momentum": 0.0, "nesterov": False}
_OWN: dict[str, Any] = {
    "weight_decay_rate": 0.0,
    "include_in_weight_decay": None,
    "exclude_from_weight_decay": None,
    "gradient_clip_norm": 1.0,
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "sgd": {**_SGD, "decay": 0.0},
    "sgd_experimental": _SGD,
    "rmsprop": {**_CLIPS, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False},
    "adam": _ADAM,
    "adam_experimental": _ADAM,
    "adamw": {**_ADAM, **_OWN},
}
_ASIDE = ("name", "jit_compile")


def optimizer(a: Section, lr: Schedule, l2: float, notes: list[str]) -> dict[str, Any]:
    """The fields of a recipe that ``optimizer`` gives; ``l2`` is the decay in the loss."""
    name, own = Section(a.at("optimizer"), a.take("optimizer", {}) or {}).chosen(_DEFAULTS)
    unsaid = [item for item in own.left() if item.rpartition(".")[2] not in _CLIPS]
    if unsaid:
        text = f"{a.where}: taken at their defaults, unless the experiment sets them: {', '.join(unsaid)}"
        matters = {f"{name}.momentum", f"{name}.weight_decay_rate"} & set(unsaid)
        notes.append(caution("left-out", text) if matters else text)
    for aside in _ASIDE:
        own.take(aside, None)
    each, value, clip = (own.positive(clipping, or_none=True) for clipping in _CLIPS)
    fields: dict[str, Any] = {"clip_each_norm": each, "clip_value": value, "clip_norm": clip}
    values: dict[str, Any] = {"lr": lr}
    groups: dict[str, Any] = {"weight": {"weight_decay": l2}}
    rules: tuple[Rule, ...] = BY_ROLE
    if name.startswith("sgd"):
        ours = "sgd"
        values |= {"momentum": own.beta("momentum"), "nesterov": own.flag("nesterov"), "form": "classic"}
        slower = own.number("decay", 0.0, low=0.0)
        values |= {"lr": product(lr, inverse_time(1.0, slower))} if slower else {}
    elif name == "rmsprop":
        ours, momentum, epsilon = "rmsprop", own.beta("momentum"), own.number("epsilon", low=0.0)
        values |= {"alpha": own.beta("rho"), "momentum": momentum, "centered": own.flag("centered")}
        values |= {"eps": 0.0, "eps_root": epsilon} if momentum else {"eps": epsilon}
        values["lr_in_momentum"] = True
    else:
        ours, betas = "adam", (own.beta("beta_1"), own.beta("beta_2"))
        values |= {"betas": betas, "eps": before_correction(own.number("epsilon", low=0.0), betas[1])}
        if own.flag("amsgrad"):
            raise ValueError(f"{own.at('amsgrad')}: Keras' takes its maximum before the bias correction; not ported")
    if name == "adamw":
        first = own.number("gradient_clip_norm", low=0.0)
        if first and (clip or each or value):
            raise ValueError(f"{own.at('gradient_clip_norm')} clips too; set it to 0, or the other clipping to null")
        fields["clip_norm"] = clip or first or None
        decay = own.number("weight_decay_rate", low=0.0)
        if decay and l2:
            raise ValueError(f"{own.at('weight_decay_rate')} and l2_weight_decay decay both; set one of them to 0")
        spared = _spared(own)
        if decay:
            ours, values["weight_decay"] = "adamw", decay
            rules, groups = spared
    own.finish()
    values.setdefault("weight_decay", 0.0)
    return {**fields, "optimizer": ours, "hyperparameters": values, "groups": groups, "rules": rules}


def _spared(a: Section) -> tuple[tuple[Rule, ...], dict[str, Any]]:
    """Rules with a group ``no_decay`` for what is excluded and not included."""
    include, exclude = (_patterns(a, f"{verb}_weight_decay") for verb in ("include_in", "exclude_from"))
    if not exclude:
        return (Rule("**", "all"),), {}
    rules = [Rule(_found(a, pattern), "all", True) for pattern in include]
    rules += [Rule(_found(a, pattern), "no_decay", True) for pattern in exclude]
    return (*rules, Rule(as_condition("**"), "all", True)), {"no_decay": {"weight_decay": 0.0}}


def _patterns(a: Section, name: str) -> list[str]:
    given = a.take(name) or []
    if not isinstance(given, list | tuple) or not all(isinstance(item, str) for item in given):
        raise TypeError(f"{a.at(name)} must be a list of regular expressions, got {short(given)}")
    return list(given)


def _found(a: Section, pattern: str) -> Condition:
    try:
        return regex(pattern)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{a.where}: {error}") from None
