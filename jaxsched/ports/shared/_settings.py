"""Reading the fields of a source's own settings: numbers that may come as texts, names that may be misspelt."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from jaxsched.checks import extra

LARGEST_FILE = 2**20
"""Bytes of a file of settings, which are read in pure Python."""


def as_number(where: str, value: Any) -> float:
    """A finite number. YAML reads ``5e-4`` as a text: a text that is a number is taken as one.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not finite.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise TypeError(f"{where} must be a number, got the text {value!r}") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{where} must be a number, got {value!r}")
    if not abs(value) < 2.0**1023:
        raise ValueError(f"{where} must be finite, got {value!r}")
    return value


def as_count(where: str, value: Any, least: int = 1) -> int:
    """A whole number that is at least ``least``."""
    number = as_number(where, value)
    if number != int(number) or number < least:
        raise ValueError(f"{where} must be a whole number >= {least}, got {value!r}")
    return int(number)


def within(where: str, value: float, low: float, high: float, *, open_end: bool = False) -> float:
    """``value``, if it lies in [low, high] ([low, high) with ``open_end``)."""
    if not (low <= value < high if open_end else low <= value <= high):
        raise ValueError(f"{where} must be in [{low}, {high}{')' if open_end else ']'}, got {value!r}")
    return value


def as_beta(where: str, value: Any) -> float:
    """A number in [0, 1), as a beta or a momentum is."""
    return within(where, as_number(where, value), 0.0, 1.0, open_end=True)


def check_names(where: str, given: Collection[str], known: Collection[str], required: Collection[str] = ()) -> None:
    """That every name is known and every required one is there.

    Raises:
        ValueError: Naming the first that is not, and what was probably meant.
    """
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), list(known), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
            raise ValueError(f"{where}: {name!r} is not known; {hint}")
    missing = [name for name in required if name not in given]
    if missing:
        raise ValueError(
            f"{where}: {', '.join(map(repr, missing))} missing; add {'it' if len(missing) == 1 else 'them'}"
        )


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file, read without making objects.

    Raises:
        ImportError: If PyYAML is not installed.
        ValueError: If it is no YAML, or holds no mapping.
    """
    yaml = extra("yaml", "yaml")
    size = Path(path).stat().st_size
    if size > LARGEST_FILE:
        raise ValueError(f"{path} has {size} bytes; settings have at most {LARGEST_FILE}")
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path} is no YAML of settings: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: of UTF-8, dates, whole numbers of thousands of digits
        raise ValueError(f"{path} is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold names and values, got {type(content).__name__}")
    return content


def read_json(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: If it is no JSON, holds no object, or is too large.
    """
    size = Path(path).stat().st_size
    if size > LARGEST_FILE:
        raise ValueError(f"{path} has {size} bytes; settings have at most {LARGEST_FILE}")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path} is no JSON of settings: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold names and values, got {type(content).__name__}")
    return content


def read(source: str | Path | Mapping[str, Any], name: str = "hyp") -> tuple[str, dict[str, Any]]:
    """A mapping as it is, or from the YAML file at a path; with what to call it in errors: ``name``, or the path."""
    if isinstance(source, Mapping):
        return name, dict(source)
    if isinstance(source, str | Path):
        return str(source), read_yaml(source)
    raise TypeError(f"expected a path to a YAML file or a dict, got {source!r}")
