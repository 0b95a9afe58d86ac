"""Which hyperparameter is the learning rate, the momentum or the weight decay, by jaxsched's and optax's names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_LEARNING_RATE = ("lr", "learning_rate")
_WEIGHT_DECAY = ("weight_decay", "weight_decay_rate")
ROLES: Mapping[str, tuple[str, ...]] = {"lr": _LEARNING_RATE, "weight_decay": _WEIGHT_DECAY}
"""The names that a role has in jaxsched and in optax, by its name in jaxsched."""


def name_of(role: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that is the ``"lr"`` or the ``"weight_decay"``, or any other role by its name; or None."""
    known = set(names)
    return next((name for name in ROLES.get(role, (role,)) if name in known), None)


def role_of(name: str) -> str:
    """The name of a hyperparameter in jaxsched: ``"lr"`` for ``"learning_rate"``; any other name is unchanged."""
    return next((role for role, names in ROLES.items() if name in names), name)


def lr_of(values: Mapping[str, Any]) -> Any:
    """The learning rate among hyperparameters, or None."""
    return values.get(name_of("lr", values) or "lr")


def weight_decay_of(values: Mapping[str, Any]) -> Any:
    """The weight decay among hyperparameters, or None."""
    return values.get(name_of("weight_decay", values) or "weight_decay")


def momentum_of(values: Mapping[str, Any]) -> Any:
    """The momentum among hyperparameters, or the first of the betas, or None."""
    return values.get("momentum", values.get("betas", (values.get("b1"),))[0])
