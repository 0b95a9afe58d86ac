"""A config of ml_collections, of a file in Python, of JSON or of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jaxsched.ports.shared._config_dict import ConfigDict, as_config, override, resolved
from jaxsched.ports.shared._files import File, file_or_dict
from jaxsched.ports.shared._program import config_of


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
