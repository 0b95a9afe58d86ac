"""Darknet's ``.cfg`` files: sections of names and values, read as Darknet does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import one_line, short
from jaxsched.ports.shared import File, Settings, as_count

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_WHOLE = re.compile(r"[-+]?\d+")
_MOST_SECTIONS = 5_000
"""Most sections; the largest of Darknet's own files has 400."""


def sections(file: File) -> list[tuple[str, dict[str, str]]]:
    """The sections of a file in order. White space is dropped everywhere; of a name given twice the first counts.

    Raises:
        ValueError: If the first section is not ``[net]``, it has a line without ``=``, or there are too many.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for number, line in enumerate(file.text.split("\n"), 1):
        line = re.sub(r"[ \t\r]", "", line)
        if line.startswith("["):
            found.append((line.strip("[]"), {}))
            if len(found) > _MOST_SECTIONS:
                raise ValueError(f"{file.name} has more than {_MOST_SECTIONS} sections, which no network has")
        elif line and line[0] not in "#;" and found:
            name, equals, value = line.partition("=")
            if equals:
                found[-1][1].setdefault(name, value)
            elif len(found) == 1:
                raise ValueError(f"{file.name}:{number}: {one_line(repr(line), 80)} has no =; remove it or add a value")
    if not found or found[0][0] not in ("net", "network"):
        raise ValueError(f"{file.name} does not begin with the section [net]")
    return found


class Net(Settings):
    """The section ``[net]``: its values are strings, of which Darknet reads the number that they begin with.

    A comment after a number is ignored. What Darknet would cut silently, such as ``5e5`` where it reads a whole
    number, is an error.
    """

    def as_number(self, where: str, value: Any) -> float:
        if isinstance(value, str):
            found = _NUMBER.match(value[:100])
            if found is None or value[found.end() :][:1] not in ("", "#", ";"):
                raise TypeError(f"{where} must be a number, got {short(value)}")
            value = float(found[0])
        return super().as_number(where, value)

    def whole(self, name: str, default: int | None = None, least: int = 0) -> int:
        """A whole number, as C's ``atoi`` reads it."""
        value = self.take(name) if default is None else self.take(name, default)
        if isinstance(value, str):
            found = _WHOLE.match(value[:100])
            if found is None or value[found.end() :][:1] not in ("", "#", ";"):
                raise ValueError(f"{self.at(name)} must be a whole number in digits, got {short(value)}")
            value = int(found[0])
        return as_count(self.at(name), value, least)

    def each(self, name: str) -> list[float]:
        """Numbers with commas between them."""
        value = self.take(name)
        if isinstance(value, str):
            value = value.partition("#")[0].split(",")
        if not isinstance(value, list | tuple):
            raise TypeError(f"{self.at(name)} must be numbers with commas between them, got {short(value)}")
        return [self.as_number(f"{self.at(name)}[{i}]", item) for i, item in enumerate(value)]


def layers_apart(layers: list[tuple[str, dict[str, str]]]) -> list[str]:
    """The settings of layers that let them learn otherwise than the rest."""
    found = []
    for i, (kind, values) in enumerate(layers):
        for name, usual in _USUAL.items():
            if name in values and values[name] != usual:
                found.append(f"layer {i} [{one_line(kind, 30)}] {name}={one_line(values[name], 30)}")
    return found


_USUAL: Mapping[str, str] = {"learning_rate": "1", "stopbackward": "0", "train_only_bn": "0", "dont_update": "0"}
