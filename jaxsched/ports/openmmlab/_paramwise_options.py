"""MMSelfSup 0.x's paramwise_options: hyperparameters of the parameters whose name a regular expression matches."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from jaxsched.checks import short
from jaxsched.groups import Condition, Rule, glob, regex
from jaxsched.ports.openmmlab._paramwise import REST, Groups, Multipliers
from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.recipe import caution

MOST_GROUPS = 32
_EVERYTHING = glob("**")


class Times(NamedTuple):
    """A factor on the optimizer's own value."""

    factor: float


Values = dict[str, Any]
"""Of a group, by hyperparameter: numbers, or `Times`."""


def groups(options: Any, optimizer: Settings, hyperparameters: Collection[str]) -> Groups:
    """The groups of `cells`."""
    notes: list[str] = []
    multipliers: dict[str, Multipliers] = {}
    rules = []
    for match, values in cells(options, optimizer, hyperparameters, notes):
        name = ", ".join(_written(key, value) for key, value in values.items()) or REST
        rules.append(Rule(match, name, optional=True))
        if values:
            multipliers[name] = _multipliers(values, optimizer)
    return Groups(tuple(rules), multipliers, tuple(notes))


def _written(name: str, value: Any) -> str:
    return f"{name}_mult={value.factor!r}" if isinstance(value, Times) else f"{name}={value!r}"


def _multipliers(values: Values, optimizer: Settings) -> Multipliers:
    factors = {name: value.factor for name, value in values.items() if isinstance(value, Times)}
    other = {name: value for name, value in values.items() if name not in factors}
    lr, decay = factors.pop("lr", 1.0), factors.pop("weight_decay", 1.0)
    other |= {
        name: factor * optimizer.as_number(optimizer.at(name), optimizer.values[name])
        for name, factor in factors.items()
    }
    return Multipliers(lr, decay, other)


def cells(
    options: Any, optimizer: Settings, hyperparameters: Collection[str], notes: list[str]
) -> list[tuple[Condition, Values]]:
    """What each parameter is set to, first match first.

    A pattern is searched in the parameter's name. All that match count, a later one over an earlier.

    Args:
        options: From a regular expression to settings of one of torch's groups; ``lr_mult`` multiplies the optimizer's.
        optimizer: The settings of the optimizer.
        hyperparameters: Those of the optimizer; torch ignores others.
        notes: Where to add notes.
    """
    settings = Settings("optimizer: paramwise_options", options)
    found: list[tuple[Condition, Values]] = [(_EVERYTHING, {})]
    for pattern in list(settings.values):
        own = _values(Settings(settings.at(short(pattern)), settings.take(pattern)), optimizer, hyperparameters, notes)
        match = _in_name(settings.at(short(pattern)), pattern)
        split: list[tuple[Condition, Values]] = []
        for condition, values in found:
            inside = match if condition is _EVERYTHING else condition & match
            changed = {**values, **own}
            for part in ((inside, changed), (condition, values))[changed == values :]:
                if not split or split[-1][1] != part[1]:
                    split.append(part)
                elif part[0] is _EVERYTHING:
                    split[-1] = part
                else:
                    split[-1] = (split[-1][0] | part[0], part[1])
        found = split
        if len(found) > MOST_GROUPS:
            raise ValueError(f"{settings.where}: they make more than {MOST_GROUPS} groups")
    listed = ", ".join(map(str, settings.taken))
    notes.append(f"{settings.where}: searched in the paths of the parameters, as they are named in torch: {listed}")
    return found


def _values(settings: Settings, optimizer: Settings, hyperparameters: Collection[str], notes: list[str]) -> Values:
    result: Values = {}
    for key in list(settings.values):
        value, name = settings.take(key), key.removesuffix("_mult")
        if key != name and name not in optimizer.values:
            raise ValueError(f"{settings.at(key)} multiplies the optimizer's {name}, which is not set")
        if name in hyperparameters:
            result[name] = value if key == name else Times(settings.as_number(settings.at(key), value))
        else:
            notes.append(
                caution("unknown-key", f"{settings.at(key)} is not a hyperparameter of the optimizer: left out")
            )
    return result


def _in_name(where: str, pattern: Any) -> Condition:
    """The pattern on a path: ``/`` for a dot, and ``kernel``, ``scale`` or ``embedding`` as well for ``weight``."""
    if not isinstance(pattern, str):
        raise TypeError(f"{where}: a pattern must be a string")
    text = pattern.replace(r"\.", "/")
    try:
        return regex(text.replace("weight", "(?:weight|kernel|scale|embedding)"))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
