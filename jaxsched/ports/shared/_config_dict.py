"""Dicts whose keys are attributes too, as plain data: the base of all kinds, and ``ml_collections.ConfigDict``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jaxsched.ports.shared._builtins import as_dict
from jaxsched.ports.shared._operators import Unclear, certain, key, whole
from jaxsched.ports.shared._python import MAX_DEPTH, Budget, Unknown


class AttributeDict(dict):
    """A dict whose keys are attributes too. A plain dict that is put into one becomes one.

    Attributes:
        methods: The methods that a file may call, of `METHODS` and its own.
        copies: Whether lists that are put into it are copied, and a dict that is there twice becomes two.
        keeps_entries: Whether code that is not followed makes its entries unknown, so that later ones are known, rather
            than the whole.
        unsure: Why keys that it lacks may be there all the same, if code that was not followed had it.
    """

    methods: Mapping[str, Callable[..., Any]] = {}
    copies = False
    keeps_entries = False
    unsure: Unknown | None = None

    @classmethod
    def adopted(cls, value: Any, budget: Budget, made: dict[int, Any] | None = None) -> Any:
        """``value`` as it is once it is put into such a dict."""
        made = {} if made is None else made
        budget.spend(1)
        value = budget.current(value)
        if type(value) is dict:
            if cls.copies or id(value) not in made:
                own = made[id(value)] = cls()
                for name, child in value.items():
                    own[name] = cls.adopted(child, budget, made)
            return made[id(value)]
        if cls.copies and isinstance(value, list | tuple):
            return type(value)([cls.adopted(child, budget, made) for child in value])
        return value

    def copy(self) -> AttributeDict:
        return type(self)(self)

    def place(self, name: Any) -> tuple[AttributeDict, Any]:
        """The dict and the key that hold the value of a key."""
        return self, name

    def __getitem__(self, name: Any) -> Any:
        """The value of a key.

        Raises:
            Unclear: If the key may be there, but its value is not known.
            KeyError: If it is not there.
        """
        owner, name = self.place(name)
        if name not in owner and owner.unsure:
            raise Unclear(owner.unsure)
        return dict.__getitem__(owner, name)

    def find(self, name: Any, default: Any = None) -> Any:
        return self[name] if name in self or self.unsure else default

    def put(self, name: Any, value: Any) -> None:
        """Set a key to a value that was adopted."""
        self[name] = value


def update(target: AttributeDict, budget: Budget, other: Any = (), /, **more: Any) -> None:
    """Merge dicts recursively into ``target``."""
    for name, value in as_dict(other or {}, **more).items():
        old = target.find(name)
        if isinstance(old, AttributeDict) and isinstance(value, dict):
            update(old, budget, budget.current(value))
        else:
            target.put(name, target.adopted(value, budget))


METHODS: Mapping[str, Callable[..., Any]] = {
    "get": lambda target, budget, name, default=None: target.find(key(name), default),
    "items": lambda target, budget: [(name, target[name]) for name in whole(target)],
    "keys": lambda target, budget: list(whole(target)),
    "update": update,
    "values": lambda target, budget: [target[name] for name in whole(target)],
}
"""Methods of every kind. They take the dict and the budget first."""


def deepcopy(value: Any, budget: Budget) -> Any:
    """What ``copy.deepcopy`` gives: what is shared in ``value`` is shared in the copy."""
    copies: dict[int, Any] = {}

    def copied(value: Any) -> Any:
        budget.spend(1)
        value = budget.current(value)
        if isinstance(value, Reference):
            return Reference(copied(value.config), value.name)
        if isinstance(value, tuple):
            return tuple([copied(child) for child in value])
        if isinstance(value, list) and id(value) not in copies:
            copy: list[Any] = []
            copies[id(value)] = copy
            copy.extend(map(copied, value))
        if isinstance(value, dict) and id(value) not in copies:
            copies[id(value)] = own = type(value)()
            own.update({name: copied(child) for name, child in value.items()})
            if isinstance(value, AttributeDict) and isinstance(own, AttributeDict):
                own.unsure = value.unsure
        return copies.get(id(value), value)

    return copied(value)


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """What ``config.get_ref(name)`` gives: it follows later changes of the value."""

    config: ConfigDict
    name: str


class ConfigDict(AttributeDict):
    """A dict as ``ml_collections.ConfigDict``."""

    keeps_entries = True

    def __iter__(self) -> Iterator[Any]:  # in the order of ml_collections
        return iter(sorted(super().__iter__()))

    def place(self, name: Any) -> tuple[AttributeDict, Any]:
        value = self.get(name)
        return value.config.place(value.name) if isinstance(value, Reference) else (self, name)

    def put(self, name: Any, value: Any) -> None:
        """Set a key. A value that is set in place of a reference is set where that refers to.

        Raises:
            Unclear: If the value is another reference, or one to this key.
        """
        if isinstance(value, Reference):
            if isinstance(self.get(name), Reference):
                raise Unclear("a reference in place of another")
            end, last = value.config.place(value.name)
            if end is self and last == name:
                raise Unclear("a reference to itself")
        owner, name = self.place(name)
        owner[name] = value


def as_config(values: Mapping[str, Any]) -> ConfigDict:
    """A ConfigDict of values, with all dicts in it."""
    config: ConfigDict = ConfigDict.adopted(dict(values), Budget())
    return config


def resolved(value: Any, depth: int = 0) -> Any:
    """A copy in which references are replaced by what they refer to."""
    if depth > MAX_DEPTH:
        raise Unclear(f"a value nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Reference):
        owner, name = value.config.place(value.name)
        deleted = Unknown(1, f"get_ref({name!r})", "what it refers to was deleted")
        return resolved(owner.get(name, owner.unsure or deleted), depth + 1)
    if isinstance(value, dict):
        copy = type(value)({name: resolved(child, depth + 1) for name, child in value.items()})
        if isinstance(value, ConfigDict) and isinstance(copy, ConfigDict):
            copy.unsure = value.unsure
        return copy
    if isinstance(value, list | tuple):
        return type(value)([resolved(child, depth + 1) for child in value])
    return value


ConfigDict.methods = {
    **METHODS,
    "get_ref": lambda config, budget, name: Reference(config, certain(name)),
    "lock": lambda config, budget: config,
    "unlock": lambda config, budget: config,
}
