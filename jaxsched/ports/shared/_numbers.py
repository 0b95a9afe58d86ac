"""Checks of numbers and names in files of settings: numbers may be strings, names may be misspelt."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from jaxsched.checks import did_you_mean, one_line, short
from jaxsched.numerics import MAX_STEP


def as_number(where: str, value: Any) -> float:
    """A finite number. YAML reads ``5e-4`` as a string: a string that is a number is taken as one.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is not finite.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise TypeError(f"{where} must be a number, got the string {short(value)}") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{where} must be a number, got {short(value)}")
    if not abs(value) < 2.0**1023:
        raise ValueError(f"{where} must be finite, got {short(value)}")
    return value


def as_count(where: str, value: Any, least: int = 1) -> int:
    """A whole number that is at least ``least`` and below 2**31, since steps are int32."""
    number = as_number(where, value)
    if number > MAX_STEP:
        raise ValueError(f"{where} must be below 2**31, got {short(value)}")
    if number != int(number) or number < least:
        raise ValueError(f"{where} must be a whole number >= {least}, got {short(value)}")
    return int(number)


def within(where: str, value: float, low: float, high: float, *, open_end: bool = False) -> float:
    """``value``, if it lies in [low, high] ([low, high) with ``open_end``)."""
    if not (low <= value < high if open_end else low <= value <= high):
        raise ValueError(f"{where} must be in [{low}, {high}{')' if open_end else ']'}, got {short(value)}")
    return value


def as_beta(where: str, value: Any) -> float:
    """A number in [0, 1), such as a beta or a momentum."""
    return within(where, as_number(where, value), 0.0, 1.0, open_end=True)


def check_names(where: str, given: Collection[str], known: Collection[str], required: Collection[str] = ()) -> None:
    """Check that every name is known and every required one is present.

    Raises:
        ValueError: If not; the error names the first such name, and a known name that is similar.
    """
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"; known are {one_line(', '.join(sorted(set(known))), 300)}"
            raise ValueError(f"{where}: {one_line(repr(name))} is not known{hint}")
    missing = [name for name in required if name not in given]
    if missing:
        raise ValueError(
            f"{where}: {', '.join(map(repr, missing))} missing; add {'it' if len(missing) == 1 else 'them'}"
        )
