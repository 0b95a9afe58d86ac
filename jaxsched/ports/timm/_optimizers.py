"""timm's optimizers, by ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared

_HAS_MOMENTUM, _HAS_BETAS, _HAS_EPS, _HAS_EPS_ROOT = "momentum", "betas", "eps", "eps_root"
_OPTIMIZERS: Mapping[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "sgd": ("sgd", {"nesterov": True}, (_HAS_MOMENTUM,)),
    "nesterov": ("sgd", {"nesterov": True}, (_HAS_MOMENTUM,)),
    "momentum": ("sgd", {"nesterov": False}, (_HAS_MOMENTUM,)),
    "adam": ("adam", {}, (_HAS_BETAS, _HAS_EPS)),
    "adamw": ("adamw", {}, (_HAS_BETAS, _HAS_EPS)),
    "nadam": ("nadam", {}, (_HAS_BETAS, _HAS_EPS)),
    "radam": ("radam", {}, (_HAS_BETAS, _HAS_EPS)),
    "radamw": ("radam", {"decoupled_weight_decay": True}, (_HAS_BETAS, _HAS_EPS)),
    "adamax": ("adamax", {}, (_HAS_BETAS, _HAS_EPS)),
    "adagrad": ("adagrad", {"eps": 1e-8}, (_HAS_EPS,)),
    "adadelta": ("adadelta", {}, (_HAS_EPS,)),
    "rmsprop": ("rmsprop", {"alpha": 0.9}, (_HAS_MOMENTUM, _HAS_EPS)),
    "rmsproptf": (
        "rmsprop",
        {"alpha": 0.9, "eps": 0.0, "eps_root": 1e-10, "initial_scale": 1.0, "lr_in_momentum": True},
        (_HAS_MOMENTUM, _HAS_EPS_ROOT),
    ),
    "lion": ("lion", {}, (_HAS_BETAS,)),
    "lamb": ("lamb", {}, (_HAS_BETAS, _HAS_EPS)),
    "lambc": ("lamb", {"trust_clip": True}, (_HAS_BETAS, _HAS_EPS)),
}
"""By timm's name: ours, the options it sets, and which of the arguments it takes."""
FUSED = {f"fused{name}": name for name in ("sgd", "momentum", "adam", "adamw", "lamb")}
"""Optimizers of apex that are another's plain self but for rounding."""


def optimizer(a: shared.Settings, name: str) -> tuple[str, dict[str, Any]]:
    """The name and the hyperparameters of our optimizer."""
    if name not in _OPTIMIZERS:
        raise ValueError(f"{a.at('opt')} must be one of {', '.join(_OPTIMIZERS)}, got {short(name)}")
    ours, options, takes = _OPTIMIZERS[name]
    hyperparameters = dict(options)
    momentum, eps, betas = a.number("momentum", low=0.0), a.number("opt_eps", low=0.0), a.take("opt_betas")
    if _HAS_MOMENTUM in takes:
        hyperparameters["momentum"] = momentum
    for ours_eps in {_HAS_EPS, _HAS_EPS_ROOT} & set(takes):
        hyperparameters |= {} if eps is None else {ours_eps: eps}
    if _HAS_BETAS in takes and betas is not None:
        if not isinstance(betas, list | tuple) or len(betas) != 2:
            raise ValueError(f"{a.at('opt_betas')} must be two numbers, got {short(betas)}")
        hyperparameters["betas"] = tuple(shared.as_beta(a.at("opt_betas"), beta) for beta in betas)
    return ours, hyperparameters
