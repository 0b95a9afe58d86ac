"""The hyperparameters of an optimizer: what its signature says of them, and what each group overrides.

A hyperparameter is a number or a schedule (any function of the step), which is evaluated at each step, or a tuple of
them (``betas``). Everything else, a bool, a string, a whole number, is an option: fixed when the optimizer is made.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import jax.numpy as jnp

from jaxsched.checks import Check, check_of, did_you_mean, short
from jaxsched.numerics import is_host_number
from jaxsched.schedules import Schedule, Value

Groups = Mapping[str, Mapping[str, Any] | None]
"""For a group's name the hyperparameters it overrides, or None to freeze it."""
Values = dict[str, Any]


# Annotations: the range of a number, as torch asks it, is known on the host; a schedule's values are not looked at.


def _within(allowed: Callable[[float], bool], words: str) -> Check:
    def check(name: str, value: Any) -> Any:
        if is_host_number(value) and not allowed(value):
            raise ValueError(f"{name} must be {words}, got {short(value)}")
        return value

    return check


def _no_schedule(name: str, value: Any) -> Any:
    if isinstance(value, Schedule):
        raise TypeError(
            f"{name} must be a number, because it is used once, before the first update; got {short(value)}"
        )
    return value


def _fixed_number(name: str, value: Any) -> float:
    value = 0.0 if value is None else value
    if not is_host_number(value) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number >= 0 that is known when the optimizer is made, got {short(value)}")
    return float(value)


def _whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    if is_host_number(value) and value == int(value) and value >= least and (most is None or value <= most):
        return int(value)
    if hasattr(value, "dtype") and not is_host_number(value):
        raise TypeError(
            f"{name} must be known when the optimizer is made, got an array; with optax.inject_hyperparams name it in "
            "static_args"
        )
    allowed = f">= {least}" if most is None else f"from {least} to {most}"
    raise ValueError(f"{name} must be a whole number {allowed}, got {short(value)}")


Hyperparameter = Value
"""A number or a schedule: ours, or any function of the step."""
NonNegative = Annotated[Hyperparameter, _within(lambda value: value >= 0, ">= 0")]
NonNegativeNumber = Annotated[NonNegative, _no_schedule]
NonPositive = Annotated[Hyperparameter, _within(lambda value: value <= 0, "<= 0")]
Positive = Annotated[Hyperparameter, _within(lambda value: value > 0, "> 0")]
AtLeastOne = Annotated[Hyperparameter, _within(lambda value: value >= 1, ">= 1")]
Beta = Annotated[Hyperparameter, _within(lambda value: 0 <= value < 1, "in [0, 1)")]
"""The weight of the past in an exponential moving average."""
Fraction = Annotated[Hyperparameter, _within(lambda value: 0 <= value <= 1, "in [0, 1]")]
Shrinking = Annotated[Hyperparameter, _within(lambda value: 0 < value < 1, "between 0 and 1")]
Growing = Annotated[Hyperparameter, _within(lambda value: value > 1, "> 1")]
FixedNonNegative = Annotated[float | None, _fixed_number]
"""A number that is fixed when the optimizer is made: where it is 0, nothing is computed.

None is 0. As a default it is None, since ``optax.inject_hyperparams`` makes an array of each default that is a number.
"""
SmallCount = Annotated[int, functools.partial(_whole, least=0, most=99)]
"""How often a loop is unrolled: an option."""
PositiveCount = Annotated[int, functools.partial(_whole, least=1)]
OptionalCount = Annotated[int | None, lambda name, value: value if value is None else _whole(name, value, least=1)]


class Argument(typing.NamedTuple):
    """A hyperparameter or an option, as the signature of an optimizer says it.

    Attributes:
        default: Its default.
        check: From its name and a value to the value in its canonical form; raises if it is wrong.
        is_option: Whether it is fixed when the optimizer is made, rather than evaluated at each step.
    """

    default: Any
    check: Check
    is_option: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Definition:
    """What the signature of an optimizer says: its hyperparameters and options, with their defaults and ranges.

    Attributes:
        name: Of the optimizer, for errors.
        arguments: By name, in the order of the signature, without ``groups`` and ``rules``.
        for_all: The names of those that groups cannot override.
    """

    name: str
    arguments: Mapping[str, Argument]
    for_all: tuple[str, ...] = ()

    def by_group(
        self, given: Mapping[str, Any], groups: Groups | None, names: Sequence[str]
    ) -> dict[str, Values | None]:
        """For each group of ``names`` all its hyperparameters, checked; None where it is frozen.

        Args:
            given: For all groups; the defaults are used for what it leaves out.
            groups: The hyperparameters that each group overrides.
            names: Of the groups that the rules make.

        Raises:
            ValueError: If a number is out of its range, or there is no such hyperparameter or group.
            TypeError: If a value is of the wrong type.
        """
        groups = groups or {}
        if not isinstance(groups, Mapping):
            raise TypeError(
                f"{self.name}: groups must be a dict, from a group's name to what it overrides, got {short(groups)}"
            )
        base = self.checked({**{name: own.default for name, own in self.arguments.items()}, **given}, "")
        found: dict[str, Values | None] = dict.fromkeys(names, base)
        for group, overrides in groups.items():
            if group not in found:
                raise ValueError(
                    f"{self.name}: groups has {group!r}, but the rules make only {', '.join(map(repr, names))}"
                    f"{did_you_mean(group, names)}"
                )
            if overrides is not None and not isinstance(overrides, Mapping):
                raise TypeError(
                    f"{self.name}: groups[{group!r}] must be a dict of hyperparameters, or None to freeze the group; "
                    f"got {short(overrides)}"
                )
            for name in self.for_all:
                if overrides and name in overrides:
                    raise ValueError(f"{self.name}: groups[{group!r}] sets {name!r}, which is the same for all groups")
            found[group] = None if overrides is None else {**base, **self.checked(overrides, f"groups[{group!r}]: ")}
        for values in filter(None, found.values()):
            for name, value in values.items():
                if value is inspect.Parameter.empty:
                    raise ValueError(f"{self.name}: {name!r} is needed")
        return found

    def checked(self, values: Mapping[str, Any], where: str) -> Values:
        """The values in their canonical form."""
        found = {}
        for name, value in values.items():
            if name not in self.arguments:
                raise ValueError(
                    f"{self.name}: {where}{name!r} is not known; the hyperparameters are {', '.join(self.arguments)}"
                    f"{self.meant(name)}"
                )
            if value is inspect.Parameter.empty:  # `by_group` reports it, unless each group has its own
                found[name] = value
                continue
            try:
                found[name] = self.arguments[name].check(name, value)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{self.name}: {where}{error}") from None
        return found

    def check_shapes(self, values: Mapping[str, Any]) -> None:
        """That no value is an array of several, which only a recipe that holds many runs may have."""
        for name, value in values.items():
            items = enumerate(value) if isinstance(value, tuple) else [("", value)]
            for i, item in items:
                if hasattr(item, "dtype") and jnp.shape(item) != ():
                    place = f"{name}[{i}]" if isinstance(value, tuple) else name
                    raise ValueError(
                        f"{self.name}: {place} must be one number, got an array of shape {jnp.shape(item)}; for many "
                        "runs at once use jax.vmap"
                    )

    def meant(self, name: str) -> str:
        """``"; did you mean 'lr'?"``, or nothing."""
        word = self.other_words.get(name)
        return f"; did you mean {word!r}?" if word else did_you_mean(name, self.arguments)

    @functools.cached_property
    def other_words(self) -> dict[str, str]:
        """What optax calls its arguments, and what they are called here; in an optimizer of optax the reverse."""
        words = [(theirs, ours) for theirs, several in _OPTAX_WORDS.items() for ours in several]
        found: dict[str, str] = {}
        for said, meant in (*words, *((ours, theirs) for theirs, ours in words)):
            if meant in self.arguments and said not in self.arguments:
                found.setdefault(said, meant)
        return found


_OPTAX_WORDS: Mapping[str, tuple[str, ...]] = {
    "learning_rate": ("lr",),
    "b1": ("betas",),
    "b2": ("betas",),
    "beta1": ("betas",),
    "beta2": ("betas",),
    "decay": ("rho", "alpha"),
    "decay_rate": ("beta2_decay",),
    "weight_decay_rate": ("weight_decay",),
    "epsilon": ("eps",),
    "beta": ("momentum",),
    "ns_coeffs": ("ns_coefficients",),
    "clipping_threshold": ("d",),
    "memory_size": ("history_size",),
    "mask": ("groups",),
    "weight_decay_mask": ("groups",),
}


def definition_of_signature(function: Callable[..., Any], for_all: tuple[str, ...] = ()) -> Definition:
    """What the annotated signature of an optimizer says."""
    hints = typing.get_type_hints(function, include_extras=True)
    arguments = {
        name: Argument(parameter.default, check_of(hints[name]) or _unchecked, not _holds_value(hints[name]))
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("groups", "rules")
    }
    return Definition(function.__name__, arguments, for_all)


def _unchecked(name: str, value: Any) -> Any:
    del name
    return value


def _holds_value(hint: Any) -> bool:
    """Whether an annotation is a `Hyperparameter`, or a tuple or an optional one."""
    if typing.get_origin(hint) is Annotated:
        return set(Value.__metadata__) <= set(hint.__metadata__)  # type: ignore[attr-defined]
    return any(map(_holds_value, typing.get_args(hint)))
