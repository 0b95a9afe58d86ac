"""A message of a ``pipeline.config``: fields that are taken one by one, with the defaults of its ``.proto``."""

from __future__ import annotations

from typing import Any, Self

from jaxsched.checks import short
from jaxsched.ports.shared import Settings


class Message(Settings):
    """The fields of a message; one that is there several times has a list of values."""

    def read(self, where: str, value: Any) -> Any:
        """The value of a field that is not repeated."""
        if not isinstance(value, list):
            return value
        if not value or any(item != value[0] for item in value[1:]):
            raise ValueError(f"{where} appears {len(value)} times; keep one")
        return value[0]

    def each(self, name: str) -> list[Any]:
        """The values of a repeated field."""
        self.taken.append(name)
        value = self.values.pop(name, [])
        return value if isinstance(value, list) else [value]

    def texts(self, name: str) -> list[str]:
        """The strings of a repeated field."""
        found = self.each(name)
        if not all(isinstance(item, str) for item in found):
            raise TypeError(f"{self.at(name)} must be strings, got {short(found)}")
        return found

    def one_of(self, names: tuple[str, ...]) -> tuple[str, Self]:
        """The one message that is set among ``names``, with its name."""
        there = [name for name in names if name in self.values]
        if len(there) != 1:
            got = " and ".join(there) or "none"
            raise ValueError(f"{self.where} must have one of {', '.join(names)}, got {got}")
        return there[0], self.section(there[0])
