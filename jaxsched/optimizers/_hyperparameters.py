"""The hyperparameters of an optimizer: defaults for all groups, and what each group overrides.

A hyperparameter is a number, a schedule (any function of the step), or a pair of them (``betas``); these are evaluated
at each step. A text, a bool or None is an option: fixed when the optimizer is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxsched.checks import did_you_mean, number
from jaxsched.numerics import EmaWeights, is_host_number, one_minus
from jaxsched.schedules import Schedule, Value, value_at

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
    "rho": (lambda value: 0 <= value <= 1, "in [0, 1]"),
    "lr_decay": (at_least_zero, ">= 0"),
    "initial_accumulator_value": (at_least_zero, ">= 0"),
    "momentum_decay": (at_least_zero, ">= 0"),
    "d": (lambda value: value >= 1, ">= 1"),
    "beta2_decay": (lambda value: value <= 0, "<= 0"),
    "muon": (at_least_zero, ">= 0"),
    "sgd": (at_least_zero, ">= 0"),
    "max_grad_norm": (lambda value: value > 0, "> 0"),
}
"""What torch asks of its hyperparameters."""


SWITCH = (False, True)
OPTIONS: Mapping[str, tuple[bool | str | None, ...]] = {
    **dict.fromkeys(("maximize", "nesterov", "amsgrad", "centered", "decoupled_weight_decay"), SWITCH),
    **dict.fromkeys(("bias_correction", "grad_averaging", "trust_clip", "always_adapt", "use_muon"), SWITCH),
    "form": ("torch", "classic", "average"),
    "adjust_lr_fn": (None, "original", "match_rms_adamw"),
    "outputs": ("first", "last"),
    "ns_dtype": ("bfloat16", "float16", "float32", "float64"),
}
"""What is fixed when the optimizer is made, and what it may be."""

LENGTHS: Mapping[str, int] = {"betas": 2, "etas": 2, "step_sizes": 2, "ns_coefficients": 3, "adafactor: eps": 2}
"""Of the hyperparameters that are tuples; with the optimizer's name where only one has it so."""

OPTIONAL = ("eps[0]", "max_grad_norm")
"""What may be None."""


def is_option(value: Any) -> bool:
    """Whether a value is fixed when the optimizer is made, rather than evaluated at each step."""
    return value is None or isinstance(value, bool | str)


def check(optimizer: str, name: str, value: Any, limits: Limits = LIMITS) -> Any:
    """``value`` in its canonical form.

    Raises:
        TypeError: If it is no number, schedule, or tuple of them, as the hyperparameter ``name`` asks for.
        ValueError: If it is a number out of its range, an option that there is not, or a tuple of another length.
    """
    if name in OPTIONS:
        if not is_option(value) or value not in OPTIONS[name]:
            raise ValueError(f"{optimizer}: {name} must be one of {', '.join(map(repr, OPTIONS[name]))}, got {value!r}")
        return value
    length = LENGTHS.get(name, LENGTHS.get(f"{optimizer}: {name}"))
    if length is None:
        return _check_number(optimizer, name, value, limits)
    if not isinstance(value, tuple | list) or len(value) != length:
        raise ValueError(f"{optimizer}: {name} must be a tuple of {length} numbers, got {value!r}")
    return tuple(_check_number(optimizer, f"{name}[{i}]", item, limits) for i, item in enumerate(value))


def _check_number(optimizer: str, name: str, value: Any, limits: Limits) -> Any:
    if value is None and name in OPTIONAL:
        return None
    if is_host_number(value):
        allowed, words = limits.get(name.partition("[")[0], (lambda _: True, ""))
        if not allowed(value):
            raise ValueError(f"{optimizer}: {name} must be {words}, got {value!r}")
        return number(f"{optimizer}: {name}", value)
    if isinstance(value, Schedule) or callable(value) or hasattr(value, "dtype"):
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
    if not isinstance(groups, Mapping):
        raise TypeError(f"{optimizer}: groups must be a dict, from a group's name to what it overrides, got {groups!r}")
    for group, overrides in groups.items():
        if group not in names:
            raise ValueError(
                f"{optimizer}: groups has {group!r}, but the rules make only {', '.join(map(repr, names))}"
                f"{did_you_mean(group, names)}"
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
                    f"{did_you_mean(name, tuple(defaults))}"
                )
    return {
        name: None
        if name in groups and groups[name] is None
        else {key: check(optimizer, key, value) for key, value in {**defaults, **(groups.get(name) or {})}.items()}
        for name in names
    }


def evaluate(by_group: Sequence[Values], step: ArrayLike, dtype: Any, averages: Sequence[str] = ()) -> Values:
    """The numbers in force at ``step``: by name one for all groups, [], or one for each, [groups]; without options.
    A part of a pair may be None: that is None if all groups have it, and else NaN.

    Those named in ``averages`` are `Shares`. Schedules of one kind are evaluated together, so that many groups cost as
    much as one, to trace and to run.
    """
    names = [name for name, value in by_group[0].items() if not is_option(value)] if by_group else []

    def row(name: str, cells: Sequence[Any]) -> Any:
        if isinstance(cells[0], tuple):
            return tuple(row(name, items) for items in zip(*cells, strict=True))
        if all(cell is None for cell in cells):
            return None
        cells = [np.nan if cell is None else cell for cell in cells]
        found = _row(cells, step, dtype)
        return EmaWeights(found, one_minus(cells, found)) if name in averages else found

    return {name: row(name, [values[name] for values in by_group]) for name in names}


def values_of(numbers: Values) -> Values:
    """What `evaluate` found, without what is left to 1."""
    return jax.tree.map(
        lambda x: x.old if isinstance(x, EmaWeights) else x, numbers, is_leaf=lambda x: isinstance(x, EmaWeights)
    )


def _row(cells: Sequence[Any], step: ArrayLike, dtype: Any) -> jax.Array:
    distinct: dict[Any, Any] = {cell if is_host_number(cell) else id(cell): cell for cell in cells}
    kinds: dict[Any, list[Any]] = {}
    for key, cell in distinct.items():
        kinds.setdefault(_kind(cell), []).append(key)
    place = {key: i for i, key in enumerate(key for keys in kinds.values() for key in keys)}
    values = [_together([distinct[key] for key in keys], step, dtype) for keys in kinds.values()]
    if len(distinct) == 1:
        return values[0].reshape(())
    order = [place[cell if is_host_number(cell) else id(cell)] for cell in cells]
    found = values[0] if len(values) == 1 else jnp.concatenate(values)
    return found if order == list(range(len(found))) else found[np.asarray(order)]


def _kind(cell: Any) -> Any:
    """Equal for what can be evaluated together."""
    if is_host_number(cell):
        return "number"
    if not isinstance(cell, Schedule):
        return id(cell)
    leaves, structure = jax.tree.flatten(cell)
    return structure, tuple((np.shape(leaf), isinstance(leaf, int)) for leaf in leaves)


def _together(cells: Sequence[Any], step: ArrayLike, dtype: Any) -> jax.Array:
    """The values at ``step`` of numbers or schedules of one kind, [cells]."""
    if is_host_number(cells[0]):
        return jnp.asarray(np.asarray(cells, dtype))
    if len(cells) == 1:
        return value_at(cells[0], step).astype(dtype)[None]
    leaves = [jax.tree.leaves(cell) for cell in cells]
    columns = [
        np.asarray(column) if all(map(is_host_number, column)) else jnp.stack([jnp.asarray(x) for x in column])
        for column in zip(*leaves, strict=True)
    ]
    structure = jax.tree.structure(cells[0])
    return jax.vmap(lambda *leaves: value_at(jax.tree.unflatten(structure, leaves), step))(*columns).astype(dtype)


def options(values: Values) -> Values:
    """The options among the hyperparameters."""
    return {name: value for name, value in values.items() if is_option(value)}


def is_zero(value: Any) -> bool:
    """Whether a hyperparameter is the number 0 at every step, as far as the host can tell."""
    return is_host_number(value) and value == 0
