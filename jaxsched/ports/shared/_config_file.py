"""A config of ml_collections, of a file in Python, of JSON or of values; and its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jaxsched.checks import did_you_mean, short
from jaxsched.ports.shared._config_dict import ConfigDict, as_config, resolved
from jaxsched.ports.shared._files import File, file_or_dict
from jaxsched.ports.shared._program import config_of
from jaxsched.ports.shared._python import Budget, Unknown
from jaxsched.ports.shared._settings import Settings


def read_config(
    config: Any, arg: Any, overrides: Any, known: Mapping[str, Callable[..., Any]]
) -> tuple[str, ConfigDict]:
    """The name of a config in errors, and its values.

    Args:
        config: A file or its path, in Python or JSON; or the values.
        arg: What ``get_config`` is called with.
        overrides: Values in place of the config's, by dotted name.
        known: As for `config_of`.

    Raises:
        OSError: If the file cannot be opened.
        TypeError: If ``config`` is of another type.
        ValueError: If the file cannot be read, an override has no place, or ``arg`` no meaning.
    """
    given = file_or_dict(config, "a config")
    if isinstance(given, File):
        where = given.name
        values = as_config(given.content) if is_json(given) else config_of(given, arg, known)
    else:
        where, values = "config", as_config(given)
    if arg is not None and (not isinstance(given, File) or is_json(given)):
        raise ValueError(f"{where}: arg is for a config in Python; give overrides")
    override(where, values, overrides)
    found: ConfigDict = resolved(values)
    return where, found


def is_json(file: File) -> bool:
    """Whether a file is the JSON of a config, rather than Python."""
    return file.text.lstrip().startswith("{")


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
        owner.put(last, owner.adopted(value, Budget()))
