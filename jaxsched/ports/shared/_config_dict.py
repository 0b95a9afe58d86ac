"""``ml_collections.ConfigDict`` as plain data: a dict whose keys are attributes too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jaxsched.checks import did_you_mean, short
from jaxsched.ports.shared._operators import Unclear, certain, key, whole
from jaxsched.ports.shared._python import MAX_DEPTH, Budget, Unknown
from jaxsched.ports.shared._settings import Settings


class ConfigDict(dict):
    """A ConfigDict.

    Attributes:
        unsure: Why keys that it lacks may be there all the same, if code that was not followed had it.
    """

    unsure: Unknown | None = None

    def __iter__(self) -> Iterator[Any]:  # in the order of ml_collections
        return iter(sorted(super().__iter__()))

    def entry(self, name: Any) -> Any:
        """The value of a key.

        Raises:
            Unclear: If the key may be there, but its value is not known.
            KeyError: If it is not there.
        """
        owner = self
        while True:
            if name not in owner and owner.unsure:
                raise Unclear(owner.unsure)
            value = owner[name]
            if not isinstance(value, Reference):
                return value
            owner, name = value.config, value.name

    def find(self, name: Any, default: Any = None) -> Any:
        return self.entry(name) if name in self or self.unsure else default

    def assign(self, name: Any, value: Any) -> None:
        """Set a key. A value that is set in place of a reference is set where that refers to.

        Raises:
            Unclear: If the value is another reference, or one to this key.
        """
        end = value
        while isinstance(end, Reference):
            if end.config is self and end.name == name:
                raise Unclear("a reference to itself")
            end = end.config.get(end.name)
        old = self.get(name)
        if not isinstance(old, Reference):
            self[name] = as_config(value)
        elif isinstance(value, Reference):
            raise Unclear("a reference in place of another")
        else:
            old.config.assign(old.name, value)


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """What ``config.get_ref(name)`` gives: it follows later changes of the value."""

    config: ConfigDict
    name: str


def as_config(value: Any, depth: int = 0) -> Any:
    """``value`` as it is once it is put into a ConfigDict: a dict becomes one, with all dicts in it."""
    if type(value) is not dict:
        return value
    if depth > MAX_DEPTH:
        raise Unclear(f"a value nested deeper than {MAX_DEPTH} levels")
    return ConfigDict({name: as_config(child, depth + 1) for name, child in value.items()})


def change_unseen(value: Any, why: Unknown, budget: Budget) -> None:
    """Make all that can be changed in ``value`` unknown: entries of a ConfigDict, and other lists and dicts as a whole.

    Raises:
        SourceError: If that takes too much work.
    """
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Reference):
            item.config[item.name] = why
        if not isinstance(item, dict | list | tuple) or id(item) in seen:
            continue
        seen.add(id(item))
        budget.spend(1 + len(item) // 16, why.file, why.line)
        waiting.extend(item.values() if isinstance(item, dict) else item)
        if isinstance(item, ConfigDict):
            item.unsure = why
            item.update({name: why for name, child in item.items() if not isinstance(child, ConfigDict)})
        elif not isinstance(item, tuple):
            budget.changed.setdefault(id(item), (item, why))
            item.clear()
            if isinstance(item, dict):
                item["..."] = why
            else:
                item.append(why)


def resolved(value: Any, depth: int = 0) -> Any:
    """A copy in which references are replaced by what they refer to."""
    if depth > MAX_DEPTH:
        raise Unclear(f"a value nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Reference):
        try:
            return resolved(value.config.entry(value.name), depth + 1)
        except Unclear as error:
            return error.why
        except KeyError:
            return None
    if isinstance(value, dict):
        copy = type(value)({name: resolved(child, depth + 1) for name, child in value.items()})
        if isinstance(value, ConfigDict) and isinstance(copy, ConfigDict):
            copy.unsure = value.unsure
        return copy
    if isinstance(value, list | tuple):
        return type(value)(resolved(child, depth + 1) for child in value)
    return value


def _update(target: ConfigDict, other: Any = None, /, **more: Any) -> None:
    for name, value in {**_mapping({} if other is None else other), **more}.items():
        old = target.get(name)
        if isinstance(old, ConfigDict) and isinstance(value, dict):
            _update(old, value)
        else:
            target.assign(name, value)


def _mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise Unclear("update with something other than a dict")
    return whole(value)


METHODS: Mapping[str, Callable[..., Any]] = {
    "copy_and_resolve_references": lambda config: as_config(resolved(whole(config))),
    "get": lambda config, name, default=None: config.find(key(name), default),
    "get_ref": lambda config, name: Reference(config, certain(name)),
    "items": lambda config: [(name, config.entry(name)) for name in whole(config)],
    "keys": lambda config: list(whole(config)),
    "lock": lambda config: config,
    "to_dict": lambda config: resolved(whole(config)),
    "unlock": lambda config: config,
    "update": _update,
    "values": lambda config: [config.entry(name) for name in whole(config)],
}


class ConfigSettings(Settings):
    """Settings that are a ConfigDict, of which some may be known to the running file alone."""

    def __init__(self, where: str, values: Any, defaults: Mapping[str, Any] | None = None):
        super().__init__(where, values, defaults)
        self.unsure = values.unsure if isinstance(values, ConfigDict) else None

    def take(self, name: str, *default: Any) -> Any:
        if name not in self.values and self.unsure:
            self.read(self.at(name), self.unsure)
        return super().take(name, *default)

    def read(self, where: str, value: Any) -> Any:
        for unknown in () if isinstance(value, dict) else unknown_in(value):  # a dict is read entry by entry
            name = where.rpartition(": ")[2]
            raise ValueError(
                f"{unknown.file}:{unknown.line}: {name} needs `{unknown.source}`, which is not known without running "
                f"the file; give it with overrides={{{name!r}: ...}}"
            )
        return value

    def as_number(self, where: str, value: Any) -> float:
        if isinstance(value, str):
            raise TypeError(f"{where} must be a number, got the string {short(value)}")
        return super().as_number(where, value)


def unknown_in(value: Any) -> Iterator[Unknown]:
    """What is unknown in a tree of dicts and sequences."""
    if isinstance(value, Unknown):
        yield value
    elif isinstance(value, dict | list | tuple):
        for child in value.values() if isinstance(value, dict) else value:
            yield from unknown_in(child)


def override(where: str, config: ConfigDict, overrides: Mapping[str, Any] | None) -> None:
    """Set values by dotted names, as ``--config.schedule.warmup_steps=500`` does.

    Raises:
        TypeError: If ``overrides`` is not a mapping of names.
        ValueError: If there is no such name.
    """
    if overrides is not None and not isinstance(overrides, Mapping):
        raise TypeError(f"overrides must be a dict such as {{'lr': 0.03}}, got {short(overrides)}")
    for dotted, value in (overrides or {}).items():
        *path, last = str(dotted).split(".")
        owner: Any = config
        for name in path:
            owner = owner.get(name) if isinstance(owner, ConfigDict) else None
        if not isinstance(owner, ConfigDict) or (last not in owner and not owner.unsure):
            known = owner if isinstance(owner, ConfigDict) else config
            raise ValueError(
                f"{where}: overrides has {short(dotted)}, which the config does not have{did_you_mean(last, known)}"
            )
        owner.assign(last, value)
