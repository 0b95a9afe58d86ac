"""The recipe of a composed transformation, from the parts of it that jaxsched made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import optax

from jaxsched import optimizers, transforms
from jaxsched.checks import short
from jaxsched.groups import as_rules
from jaxsched.optimizers.internal import definition_of, optax_name
from jaxsched.recipe._of_pieces import Member, members, no_learning_rate, whole
from jaxsched.recipe._recipe import Accumulation, Recipe
from jaxsched.schedules import Schedule

OF_SCHEDULE = "a schedule alone: it is shown as the lr of sgd, for a length that shows all of it"
NOTE = "read from a transformation: members of a chain that are not jaxsched's are not shown"
LATE = "clip_norm stands after the optimizer: it limits the updates, and is shown as if it limited the gradients"
EARLY = "ema stands before the optimizer: it would average parameters plus gradients; make it the last of the chain"


Reportable: TypeAlias = Recipe | Schedule | optax.GradientTransformation
"""What reports accept: a recipe, a single schedule, or a transformation composed of jaxsched's."""


def as_recipe(value: Reportable) -> Recipe:
    """The recipe of a ``value`` that can be reported on.

    Args:
        value: A `Recipe`; a schedule, which becomes the lr of sgd; or an optax transformation made of jaxsched's.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it is a transformation without exactly one optimizer of jaxsched.

    Examples:
        >>> import jaxsched as js
        >>> js.recipe.as_recipe(js.constant(0.1)).optimizer
        'sgd'
    """
    if isinstance(value, Recipe):
        return value
    if isinstance(value, Schedule):
        return Recipe("sgd", dict(lr=value), rules=as_rules([("**", "all")]), notes=(OF_SCHEDULE,))
    if isinstance(value, optax.GradientTransformation):
        return of_parts(value)
    hint = "; a function of the step becomes a schedule with js.from_function" if callable(value) else ""
    if isinstance(value, str | os.PathLike):
        hint = "; the port of a file's source reads it, such as js.ports.yolov5.recipe"
    raise TypeError(
        'a Recipe is needed, such as js.Recipe("sgd", dict(lr=0.1)), or a schedule, or a transformation made of '
        f"jaxsched's; got {short(value)}{hint}"
    )


def of_parts(transformation: Any) -> Recipe:
    """The recipe of an ``optax.chain`` (or of any other composition) of jaxsched's transformations.

    Raises:
        ValueError: If it does not contain exactly one optimizer of jaxsched, or an `ema` stands before it.
    """
    notes = [NOTE]
    fields: dict[str, Any] = {}
    found = []
    for maker, arguments in _made(transformation, set(), notes):
        definition = definition_of(maker)
        if definition is not None:
            given = {name: value for name, value in arguments.items() if name not in ("groups", "rules")}
            defaults = {name: argument.default for name, argument in definition.arguments.items()}
            given = {name: value for name, value in given.items() if value is not defaults[name]}
            fields |= {"optimizer": definition.name, "hyperparameters": given, "groups": arguments["groups"] or {}}
            if arguments["rules"] is not None:
                fields["rules"] = arguments["rules"]
            found.append(definition.name)
        elif maker is optimizers.scale_by:
            raise ValueError(no_learning_rate(arguments["optimizer"].__name__))
        elif maker is optimizers.grouped:
            name = optax_name(arguments["factory"])
            if name is None:
                raise ValueError(f"{short(arguments['factory'])} is not an optimizer of optax: a recipe cannot name it")
            fields |= {"optimizer": name, **{key: arguments[key] or {} for key in ("hyperparameters", "groups")}}
            if arguments["rules"] is not None:
                fields["rules"] = arguments["rules"]
            found.append(name)
        elif maker is transforms.clip_norm:
            fields["clip_norm"] = arguments["max_norm"]
            notes += [LATE] if found else []
        elif maker is transforms.clip_each_norm:
            fields["clip_each_norm"] = arguments["max_norm"]
        elif maker is transforms.ema:
            if not found:
                raise ValueError(EARLY)
            fields["ema"] = arguments["decay"]
        elif maker is transforms.accumulate:
            per_epoch = arguments["steps_per_epoch"]
            own = {name: arguments[name] for name in ("every", "mean", "at_multiples", "state_dtype")}
            fields["accumulate"] = Accumulation(**own, drop_at_epoch_end=per_epoch is not None)
            fields["steps_per_epoch"] = per_epoch
    if not found:
        raise ValueError(
            "a transformation with one optimizer of jaxsched is needed, this one has none; "
            "optimizers.grouped(optax.lion, ...) makes one of any optimizer of optax"
        )
    if len(found) > 1:
        raise ValueError(
            f"a transformation with one optimizer of jaxsched is needed, this one has {', '.join(found)}; "
            "report on each by itself"
        )
    return Recipe(**fields, notes=tuple(notes))


def _made(value: Any, seen: set[int], notes: list[str]) -> Iterator[tuple[Callable[..., Any], Mapping[str, Any]]]:
    """The makers and arguments of jaxsched's transformations among what functions hold on to; ``notes`` grows."""
    chain = members(value) if isinstance(value, optax.GradientTransformation) else None
    known = id(value if chain is None else value.update)  # a chain may be held by several functions
    if known in seen:
        return
    seen.add(known)
    if chain is not None:
        yield from _of_chain(chain, seen, notes)
        return
    if isinstance(value, optax.GradientTransformation):
        held = [value.update, value.init]  # a chain is found by its update
    elif isinstance(value, tuple | list):
        held = list(value)
    elif isinstance(value, Mapping):
        held = list(value.values())
    else:
        if made := getattr(value, "made_by", None):
            yield made
        held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or () if _is_filled(cell)]
    for item in held:
        if callable(item) or isinstance(item, tuple | list | Mapping):
            yield from _made(item, seen, notes)


def _of_chain(
    chain: list[Member], seen: set[int], notes: list[str]
) -> Iterator[tuple[Callable[..., Any], Mapping[str, Any]]]:
    found, unread = whole(chain), []
    if found:
        yield found.maker, found.arguments
        notes += found.notes
    for member in found.others if found else chain:
        made = list(_made(member.transformation, seen, notes))
        yield from made
        unread += [] if made else [member.name]
    if unread:
        notes.append(f"not shown: {', '.join(unread)}")


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a variable that is not set
        return False
