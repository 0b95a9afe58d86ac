"""The settings in one dict of a config: each is taken once, with its check; what is not taken is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxsched.ports import shared
from jaxsched.ports.openmmlab.config import Unreadable, require

_REQUIRED = object()


class Settings:
    """A dict of settings under a name for errors, such as ``lr_config``.

    Example:
        >>> settings = Settings("lr_config", dict(gamma=0.5, stepp=3))
        >>> settings.number("gamma")
        0.5
        >>> settings.finish(["step"])
        Traceback (most recent call last):
        ValueError: lr_config: 'stepp' is not known; did you mean 'step'?
    """

    def __init__(self, where: str, values: Any):
        if isinstance(values, Unreadable):
            require(values, where)
        if not isinstance(values, Mapping):
            raise TypeError(f"{where} must be a dict, got {values!r}")
        self.where, self.values = where, dict(values)
        self.taken: list[str] = []

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        self.taken.append(name)
        if name in self.values:
            return _bounded(self.at(name), require(self.values.pop(name), self.at(name)))
        if default is _REQUIRED:
            raise ValueError(f"{self.where}: {name!r} is missing; add it")
        return default

    def at(self, name: str) -> str:
        return f"{self.where}: {name}"

    def number(self, name: str, default: Any = _REQUIRED) -> Any:
        value = self.take(name, default)
        return value if value is None and default is None else _plain_number(self.at(name), value)

    def numbers(self, name: str, default: Any = _REQUIRED) -> list[float]:
        value = self.take(name, default)
        if not isinstance(value, list | tuple):
            raise TypeError(f"{self.at(name)} must be a list of numbers, got {value!r}")
        return [_plain_number(f"{self.at(name)}[{i}]", item) for i, item in enumerate(value)]

    def count(self, name: str, default: Any = _REQUIRED, least: int = 0) -> Any:
        value = self.number(name, default)
        return value if value is None else shared.as_count(self.at(name), value, least)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise TypeError(f"{self.at(name)} must be True or False, got {value!r}")
        return value

    def choice(self, name: str, allowed: Iterable[Any], default: Any = _REQUIRED) -> Any:
        value = self.take(name, default)
        if value not in (allowed := tuple(allowed)):
            raise ValueError(f"{self.at(name)} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
        return value

    def counts(self, name: str) -> list[int]:
        return [shared.as_count(f"{self.at(name)}[{i}]", item) for i, item in enumerate(self.numbers(name))]

    def target(self, one: str, other: str, default: float | None = None) -> Callable[[float], float]:
        """From a base value to ``one``, or to the base times ``other``: exactly one of them is given.

        With a default for the first, at most one.
        """
        values: tuple[Any, Any] = self.number(one, None), self.number(other, None)
        if values == (None, None) and default is not None:
            values = default, None
        if (values[0] is None) == (values[1] is None):
            got = f"{values[0]!r} and {values[1]!r}"
            raise ValueError(f"{self.where}: give exactly one of {one!r} and {other!r}, got {got}")
        absolute, ratio = values
        return lambda base: base * ratio if absolute is None else absolute

    def finish(self, known: Iterable[str] = ()) -> None:
        """That nothing is left that was not taken; ``known`` are further names for the hint."""
        shared.check_names(self.where, list(self.values), [*self.taken, *known][: None if self.values else 0])


def _bounded(where: str, value: Any) -> Any:
    """``value``, unless an int in it is too large for a float."""
    for item in value if isinstance(value, list | tuple) else (value,):
        if isinstance(item, int) and item.bit_length() > 1023:
            raise ValueError(f"{where} holds a number that is too large for a float")
    return value


def _plain_number(where: str, value: Any) -> float:
    if isinstance(value, str):
        raise TypeError(f"{where} must be a number, got the text {value!r}")
    return shared.as_number(where, value)
