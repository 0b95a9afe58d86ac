"""The optimizers that a config of DeepSpeed names: its own Adam and Adagrad, and those of torch."""

from __future__ import annotations

from typing import Any

from jaxsched.checks import short
from jaxsched.ports.shared import Settings, torch_optimizer

_NOT_OURS = {
    "lamb": "it bounds the ratio of norms by min_coeff and max_coeff, which js.lamb does not",
    "lion": "jaxsched has none; js.optimizers.grouped(optax.lion, ...) has groups and schedules",
    "muon": "it is DeepSpeed's own for matrices, with Adam for the rest; js.muon is torch's",
    "muadam": "its lr depends on the widths of mup",
    "muadamw": "its lr depends on the widths of mup",
    "musgd": "its lr depends on the widths of mup",
    "onebitadam": "it communicates in one bit after freeze_step, which changes the update",
    "onebitlamb": "it communicates in one bit after freeze_step, which changes the update",
    "zerooneadam": "it communicates in one bit after var_freeze_step, which changes the update",
    "cpuadam": "the name in a config is Adam",
}
_ASIDE = ("set_grad_none", "fp32_optimizer_states", "foreach")
"""Arguments of DeepSpeed's Adam that do not affect the numbers."""


def optimizer_of(a: Settings) -> tuple[str, dict[str, Any], list[str]]:
    """The optimizer of the section ``optimizer``: our name, its hyperparameters and notes.

    DeepSpeed knows its own names in any case, and torch's as they are. Its Adam decouples weight decay by default
    (``adam_w_mode``), under the name of Adam too.
    """
    name = a.text("type")
    own = a.section("params", {})
    a.take("legacy_fusion", None)
    a.finish()
    if name.lower() in _NOT_OURS:
        raise ValueError(f"{a.at('type')}: {short(name)} is not ported: {_NOT_OURS[name.lower()]}")
    if "max_grad_norm" in own.values:
        raise ValueError(f"{own.at('max_grad_norm')} is refused by DeepSpeed; write gradient_clipping beside optimizer")
    if name.lower() in ("adam", "adamw"):
        return _adam(name.lower(), own)
    if name.lower() == "adagrad":
        return *torch_optimizer(a.at("type"), "Adagrad", own), []
    return *torch_optimizer(a.at("type"), name, own), []


def _adam(name: str, a: Settings) -> tuple[str, dict[str, Any], list[str]]:
    decoupled = a.flag("adam_w_mode", True) or name == "adamw"
    if a.flag("torch_adam", False):
        return *torch_optimizer(a.where, "AdamW" if decoupled else "Adam", a), []
    for flag, only in (("bias_correction", True), ("amsgrad", False)):
        if a.flag(flag, only) is not only:
            raise ValueError(f"{a.at(flag)} must be {str(only).lower()}: DeepSpeed's Adam is ported with that alone")
    for aside in _ASIDE:
        a.take(aside, None)
    betas = a.numbers("betas", [0.9, 0.999])
    if len(betas) != 2:
        raise ValueError(f"{a.at('betas')} must be two numbers, got {short(betas)}")
    values = {
        "lr": a.number("lr", 1e-3, low=0.0),
        "betas": tuple(betas),
        "eps": a.number("eps", 1e-8, low=0.0),
        "weight_decay": a.number("weight_decay", 0.0, low=0.0),
    }
    a.finish()
    said = name == "adam" and decoupled and values["weight_decay"]
    note = f"{a.where}: DeepSpeed's Adam decouples weight_decay, as AdamW, where adam_w_mode is not false"
    return "adamw" if decoupled else "adam", values, [note] if said else []
