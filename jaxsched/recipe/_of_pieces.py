"""The optimizer that the pieces of a chain are: `scale_by` with a learning rate after it, and weight decay."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import optax

from jaxsched import optimizers
from jaxsched.groups import as_rules
from jaxsched.metric.internal import definitions
from jaxsched.numerics import is_host_number
from jaxsched.optimizers.internal import decay_form, definition_of
from jaxsched.schedules import Schedule, product

_COUPLED = {"adamw": "adam"}
"""The optimizer of the same direction whose weight decay is coupled."""


class Member(NamedTuple):
    """A member of a chain, as far as it can be read.

    Attributes:
        transformation: The member itself.
        name: The function that made it.
        kind: ``"direction"``, ``"lr"`` or ``"weight_decay"``; of any other ``""``.
        value: The optimizer of a direction; the weight decay; what multiplied is the learning rate, as a tuple.
        arguments: The ``groups`` and ``rules`` that it was made with, and what a direction was.
    """

    transformation: Any
    name: str
    kind: str = ""
    value: Any = None
    arguments: Mapping[str, Any] = {}

    def groups(self) -> Mapping[str, Any]:
        """What single groups override, by name."""
        found: Mapping[str, Any] | None = self.arguments.get("groups")
        return found or {}

    def of_group(self, group: str) -> Any:
        """The weight decay or what makes the learning rate, in a group."""
        given = self.groups().get(group) or {}
        if self.kind == "lr":
            return (given["learning_rate"],) if "learning_rate" in given else self.value
        return given.get("weight_decay", self.value)


def members(value: Any) -> list[Member] | None:
    """The members of an ``optax.chain`` or ``named_chain``, those of chains within it too, or None of anything else."""
    if not _is_of_optax(value.update):
        return None
    held = _closed_over(value.update)
    if set(held) == {"tx"}:  # made to take further arguments
        return members(held["tx"])
    if "update_fns" in held:
        pairs = zip(_closed_over(value.init)["init_fns"], held["update_fns"], strict=True)
        inner = [optax.GradientTransformation(*pair) for pair in pairs]
    elif isinstance(held.get("transforms"), list):
        inner = [tx for _, tx in held["transforms"]]
    else:
        return None
    return [member for tx in inner for member in members(tx) or [_member(tx)]]


def _member(tx: Any) -> Member:
    made: tuple[Any, Any] = getattr(tx.init, "made_by", (None, None))
    maker, arguments = made
    if maker is optimizers.scale_by:
        return Member(tx, "scale_by", "direction", arguments["optimizer"], arguments)
    if maker is optimizers.grouped:
        factory, given = arguments["factory"], arguments["hyperparameters"]
        if factory is optax.scale_by_learning_rate and given.get("flip_sign", True):
            return Member(tx, factory.__name__, "lr", (given.get("learning_rate"),), arguments)
        if factory is optax.add_decayed_weights and given.get("mask") is None:
            return Member(tx, factory.__name__, "weight_decay", given.get("weight_decay", 0.0), arguments)
    name = getattr(tx.update, "__qualname__", type(tx.update).__name__).partition(".")[0]
    if not _is_of_optax(tx.update):
        return Member(tx, name)
    held = _closed_over(tx.update)
    return _member(held["tx"]) if set(held) == {"tx"} else Member(tx, name, *_of_optax(name, held))


def _of_optax(name: str, held: Mapping[str, Any]) -> tuple[str, Any]:
    """The kind and value of one of optax's pieces, from what its function closes over."""
    if name == "scale":
        return "lr", (-1, held["step_size"])
    if name == "scale_by_schedule":
        inner = _closed_over(held["step_size_fn"])
        is_rate = set(inner) == {"m", "learning_rate"}  # of scale_by_learning_rate
        return "lr", (-inner["m"], inner["learning_rate"]) if is_rate else (-1, held["step_size_fn"])
    if name == "add_decayed_weights":
        return "weight_decay", held["weight_decay"]
    return "", None


def _is_of_optax(function: Any) -> bool:
    return inspect.isfunction(function) and function.__module__.partition(".")[0] == "optax"


def _closed_over(function: Any) -> Mapping[str, Any]:
    return inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}


class Whole(NamedTuple):
    """The optimizer of jaxsched that pieces are.

    Attributes:
        maker: The optimizer.
        arguments: What it is given, with ``groups`` and ``rules``.
        notes: What differs from it.
        others: The members of the chain that are not part of it.
    """

    maker: Callable[..., Any]
    arguments: dict[str, Any]
    notes: list[str]
    others: list[Member]


def whole(chain: Sequence[Member]) -> Whole | None:
    """The optimizer that the pieces of a chain are, or None if there is no direction in it.

    Raises:
        ValueError: If there are two directions or weight decays, no learning rate after them, or different rules.
    """
    at = {kind: [i for i, one in enumerate(chain) if one.kind == kind] for kind in ("direction", "weight_decay")}
    if not at["direction"]:
        return None
    direction, decays = chain[at["direction"][0]], [chain[i] for i in at["weight_decay"]]
    definition = definition_of(direction.value)
    assert definition
    name, notes, own = definition.name, [], dict(direction.arguments["hyperparameters"])
    if len(at["direction"]) > 1 or len(decays) > 1:
        raise ValueError(f"scale_by({name}): a report takes a chain of one direction with one weight decay")
    rates = [one for one in chain[max(at["direction"] + at["weight_decay"]) + 1 :] if one.kind == "lr"]
    if not rates:
        raise ValueError(no_learning_rate(name))
    for one in (*decays, *rates):
        values = one.value if isinstance(one.value, tuple) else (one.value,)
        if not one.arguments and any(definitions({"": value}) for value in values if isinstance(value, Schedule)):
            raise ValueError(f"scale_by({name}): a piece of optax follows no metric; put optimizers.grouped around it")
    is_coupled = bool(decays) and at["weight_decay"] < at["direction"]
    if "weight_decay" not in definition.arguments:
        decays = []
    elif not decays and not _is_zero(definition.arguments["weight_decay"].default):
        own["weight_decay"] = 0.0
    elif decays:
        own["weight_decay"] = decays[0].value
        form = "coupled" if is_coupled else "decoupled"
        if form == decay_form(direction.value):
            pass
        elif "decoupled_weight_decay" in definition.arguments:
            own["decoupled_weight_decay"] = not is_coupled
        elif is_coupled and name in _COUPLED:
            name = _COUPLED[name]
        else:
            notes.append(f"weight decay is {form} here, and {decay_form(direction.value)} in {name}")
    own["lr"] = _rate([one.value for one in rates])
    used = [direction, *decays, *rates]
    groups = {group: _of_group(group, direction, decays, rates, is_coupled) for one in used for group in one.groups()}
    arguments = {**own, "groups": groups, "rules": _rules(definition.name, used)}
    return Whole(getattr(optimizers, name), arguments, notes, [one for one in chain if one not in used])


def no_learning_rate(name: str) -> str:
    """The error of a direction that stands alone."""
    return (
        f"scale_by({name}): a report needs the learning rate in the same chain, after the direction and the weight "
        "decay: optax.scale_by_learning_rate(lr), or optimizers.grouped of it for groups"
    )


def _of_group(
    group: str, direction: Member, decays: Sequence[Member], rates: Sequence[Member], is_coupled: bool
) -> dict[str, Any] | None:
    """What a group overrides in all pieces, or None if one of them freezes it."""
    if any(group in one.groups() and one.groups()[group] is None for one in (*decays, *rates)):
        return None
    if group in direction.groups() and direction.groups()[group] is None:
        if decays and not is_coupled and not _is_zero(decays[0].of_group(group)):
            raise ValueError(f"group {group!r} is frozen in scale_by, but not in the weight decay; freeze it there too")
        return None
    own = dict(direction.groups().get(group) or {})
    if any(group in one.groups() for one in decays):
        own["weight_decay"] = decays[0].of_group(group)
    if any(group in one.groups() for one in rates):
        own["lr"] = _rate([one.of_group(group) for one in rates])
    return own


def _is_zero(value: Any) -> bool:
    return is_host_number(value) and value == 0


def _rate(values: Sequence[tuple[Any, ...]]) -> Any:
    """The learning rate of factors, each of which is minus the product of what it is given as."""
    factors = [(-1) ** (len(values) - 1), *(factor for value in values for factor in value)]
    number = math.prod(factor for factor in factors if is_host_number(factor))
    others = [factor for factor in factors if not is_host_number(factor)]
    if not others:
        return number
    return others[0] if number == 1 and len(others) == 1 else product(number, *others)


def _rules(name: str, used: Sequence[Member]) -> Any:
    """The rules of the pieces that have groups."""
    given = [one.arguments.get("rules") for one in used if one.groups() or one.arguments.get("rules") is not None]
    if any(as_rules(rules) != as_rules(given[0]) for rules in given):
        raise ValueError(f"scale_by({name}): a report needs the same rules in all pieces of the chain")
    return given[0] if given else None
