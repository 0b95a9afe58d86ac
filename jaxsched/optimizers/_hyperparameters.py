"""The hyperparameters of an optimizer: defaults for all groups, and what each group overrides.

A hyperparameter is a number, a schedule (any function of the step), or a pair of them (``betas``); these are evaluated
at each step. A text, a bool or None is an option: fixed when the optimizer is made.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.typing import ArrayLike

from jaxsched.schedules import Schedule, Value, value_at
from jaxsched.schedules._checks import is_host_number

Hyperparameter = Value
"""A number or a schedule: ours, or any function of the step."""
Groups = Mapping[str, Mapping[str, Any] | None]
"""For a group's name the hyperparameters it overrides, or None to freeze it."""
Values = dict[str, Any]

Limits = Mapping[str, tuple[Callable[[float], bool], str]]
"""For a hyperparameter a test of a number, and what it must be in words."""


def at_least_zero(value: float) -> bool:
    return value >= 0


def below_one(value: float) -> bool:
    return 0 <= value < 1


LIMITS: Limits = {
    "lr": (at_least_zero, ">= 0"),
    "momentum": (at_least_zero, ">= 0"),
    "weight_decay": (at_least_zero, ">= 0"),
    "eps": (at_least_zero, ">= 0"),
    "betas": (below_one, "in [0, 1)"),
    "alpha": (at_least_zero, ">= 0"),
}
"""What torch asks of its hyperparameters."""


def is_option(value: Any) -> bool:
    """Whether a value is fixed when the optimizer is made, rather than evaluated at each step."""
    return value is None or isinstance(value, bool | str)


def check(optimizer: str, name: str, value: Any, limits: Limits = LIMITS) -> Any:
    """``value`` in its canonical form.

    Raises:
        TypeError: If it is no number, schedule, or pair of them.
        ValueError: If it is a number out of the range of the hyperparameter ``name``.
    """
    if isinstance(value, tuple | list):
        return tuple(check(optimizer, name, item, limits) for item in value)
    if isinstance(value, Schedule) or callable(value) or (is_option(value) and name not in limits):
        return value
    if is_host_number(value):
        allowed, words = limits.get(name, (lambda _: True, ""))
        if not allowed(value):
            raise ValueError(f"{optimizer}: {name} must be {words}, got {value!r}")
        return value
    if hasattr(value, "dtype"):
        return value
    raise TypeError(f"{optimizer}: {name} must be a number or a function of the step, got {value!r}")


def by_group(
    optimizer: str, defaults: Mapping[str, Any], groups: Groups | None, names: tuple[str, ...]
) -> dict[str, Values | None]:
    """The hyperparameters of each group: the defaults, with the group's own in their place. None where frozen.

    Raises:
        ValueError: If ``groups`` names a group that no rule makes, or a hyperparameter that is not known.
    """
    groups = groups or {}
    for group, overrides in groups.items():
        if group not in names:
            raise ValueError(
                f"{optimizer}: groups has {group!r}, but the rules make only {', '.join(map(repr, names))}"
                f"{_suggest(group, names)}"
            )
        if overrides is not None and not isinstance(overrides, Mapping):
            raise TypeError(
                f"{optimizer}: groups[{group!r}] must be a dict of hyperparameters, or None to freeze the group; "
                f"got {overrides!r}"
            )
        for name in overrides or {}:
            if name not in defaults:
                raise ValueError(
                    f"{optimizer}: groups[{group!r}] sets {name!r}; the hyperparameters are {', '.join(defaults)}"
                    f"{_suggest(name, tuple(defaults))}"
                )
    return {
        name: None
        if name in groups and groups[name] is None
        else {key: check(optimizer, key, value) for key, value in {**defaults, **(groups.get(name) or {})}.items()}
        for name in names
    }


def _suggest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def evaluate(values: Values, step: ArrayLike, dtype: Any) -> Values:
    """The numbers in force at ``step``, as scalars of ``dtype``; options are left out."""
    return {
        name: tuple(value_at(item, step).astype(dtype) for item in value)
        if isinstance(value, tuple)
        else value_at(value, step).astype(dtype)
        for name, value in values.items()
        if not is_option(value)
    }


def options(values: Values) -> Values:
    """The options among the hyperparameters."""
    return {name: value for name, value in values.items() if is_option(value)}


def is_zero(value: Any) -> bool:
    """Whether a hyperparameter is the number 0 at every step, as far as the host can tell."""
    return is_host_number(value) and value == 0


def map_numbers(function: Callable[[jax.Array], jax.Array], values: Values) -> Values:
    return jax.tree.map(function, values)
