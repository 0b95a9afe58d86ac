"""torch's optimizers by the names of their classes, as files of settings name them."""

from __future__ import annotations

from typing import Any

from jaxsched import optimizers
from jaxsched.checks import did_you_mean, short
from jaxsched.optimizers.internal import LAYOUT, definition_of
from jaxsched.ports.shared._settings import Settings

TORCH_OPTIMIZERS = {
    "SGD": "sgd", "Adam": "adam", "AdamW": "adamw", "RMSprop": "rmsprop", "Adagrad": "adagrad", "Adadelta": "adadelta",
    "Adamax": "adamax", "NAdam": "nadam", "RAdam": "radam", "Rprop": "rprop", "ASGD": "asgd", "Adafactor": "adafactor",
    "Muon": "muon", "SparseAdam": "sparse_adam",
}  # fmt: skip
"""The name in ``jaxsched.optimizers`` of each class of torch 2.13."""
IMPLEMENTATION = ("foreach", "fused", "capturable", "differentiable")
"""Arguments of torch's optimizers that do not affect the numbers."""
_OURS = {"form", "eps_root", "outputs", "ns_dtype", "dimension_numbers", *LAYOUT}
"""Arguments of ours that torch's classes do not have."""


def defaults_of(ours: str) -> dict[str, Any]:
    """The arguments of an optimizer in ``jaxsched.optimizers``, with their defaults."""
    definition = definition_of(getattr(optimizers, ours))
    assert definition
    return {name: argument.default for name, argument in definition.arguments.items()}


def torch_optimizer(where: str, name: Any, a: Settings) -> tuple[str, dict[str, Any]]:
    """The name in ``jaxsched.optimizers`` of a class of torch, and the arguments that its settings give.

    Args:
        where: The setting that names the class, in errors.
        name: The class, without its module.
        a: Its arguments. All are taken; an unknown one is an error.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If the class or an argument is not known.

    Examples:
        >>> torch_optimizer("type", "Adam", Settings("params", dict(lr="1e-3", betas=[0.9, 0.99], fused=True)))
        ('adam', {'lr': 0.001, 'betas': (0.9, 0.99)})
    """
    if name not in TORCH_OPTIMIZERS:
        hint = did_you_mean(name, TORCH_OPTIMIZERS) if isinstance(name, str) else ""
        raise ValueError(f"{where} must be one of torch's {', '.join(TORCH_OPTIMIZERS)}, got {short(name)}{hint}")
    ours = TORCH_OPTIMIZERS[name]
    defaults = defaults_of(ours)
    known = defaults.keys() - _OURS
    given = {}
    for argument in list(a.values):
        if argument in known:
            given[argument] = _value(a, a.at(argument), a.take(argument), _is_numeric(defaults[argument]))
    for argument in IMPLEMENTATION:
        a.take(argument, None)
    a.finish(known=known)
    return ours, given


def _value(a: Settings, where: str, value: Any, numeric: bool) -> Any:
    """A number, also one that is written as a string; a tuple of them; anything else as it is."""
    if isinstance(value, list | tuple):
        return tuple(_value(a, f"{where}[{i}]", item, numeric) for i, item in enumerate(value))
    if value is None or isinstance(value, bool) or (isinstance(value, str) and not numeric):
        return value
    return a.as_number(where, value)


def _is_numeric(default: Any) -> bool:
    return isinstance(default, int | float | tuple) and not isinstance(default, bool)
