"""The functions and methods that code in a config may call: their cost is bounded, and they give plain data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from jaxsched.ports.shared._operators import Unclear, elements, key, number, scalar, whole
from jaxsched.ports.shared._python import MAX_LENGTH


def _format(template: str, *values: Any, **named: Any) -> str:
    if any(mark in template for mark in (":", "!", ".", "[")) and "{" in template:
        pieces = template.replace("{{", "").split("{")[1:]
        if any(set(piece.partition("}")[0]) & set(":!.[") for piece in pieces):
            raise Unclear("a format with more than names")
    if sum(len(str(scalar(value))) for value in (*values, *named.values())) * (template.count("{") + 1) > MAX_LENGTH:
        raise Unclear("a string that is too long")
    return template.format(*values, **named)


def _join(text: str, parts: Any) -> str:
    found = [part for part in elements(parts) if isinstance(part, str)]
    if sum(map(len, found)) + len(text) * len(found) > MAX_LENGTH or len(found) < len(elements(parts)):
        raise Unclear("a join of something other than a few strings")
    return text.join(found)


def _replace(text: str, old: str, new: str) -> str:
    if len(text) + (text.count(old) if old else len(text) + 1) * len(new) > MAX_LENGTH:
        raise Unclear("a string that is too long")
    return text.replace(old, new)


def _plain(value: Any) -> Any:
    """A value of scalars: comparing or writing nested ones can take exponential time."""
    return [scalar(one) for one in elements(value)] if isinstance(value, list | tuple | dict | range) else scalar(value)


def _of_plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values, **more: function(*map(_plain, values), **{name: _plain(one) for name, one in more.items()})


def as_dict(entries: Any = (), /, **more: Any) -> dict:
    """What ``dict`` of plain data gives."""
    if not isinstance(entries, dict):
        entries = {key(name): value for name, value in map(elements, elements(entries))}
    return {**whole(entries), **more}


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | list) else value


def _round(value: Any, ndigits: int | None = None) -> Any:
    if ndigits is not None and abs(ndigits) > 400:
        raise Unclear(f"rounding to {ndigits} digits")
    return round(value, ndigits)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{function.__name__: _of_plain(function) for function in (abs, bool, float, int, max, min, sorted, sum)},
    "dict": as_dict,
    "enumerate": lambda values, start=0: list(enumerate(elements(values), start)),
    "len": lambda values: len(elements(values)),
    "list": lambda values=(): elements(values),
    "print": lambda *values, **options: None,
    "range": range,
    "reversed": lambda values: elements(values)[::-1],
    "round": _of_plain(_round),
    "str": lambda value="": str(scalar(value)),
    "tuple": lambda values=(): tuple(elements(values)),
    "zip": lambda *several, strict=False: list(zip(*map(elements, several), strict=strict)),
    "all": lambda values: all(map(scalar, elements(values))),
    "any": lambda values: any(map(scalar, elements(values))),
}
"""Builtins by name. What gives an iterator in Python gives a list here."""

LIBRARY: Mapping[str, Callable[..., Any]] = {
    "copy.copy": _copied,
    "math.ceil": lambda value: math.ceil(number(value)),
    "math.floor": lambda value: math.floor(number(value)),
    "math.log": lambda value, *base: math.log(number(value), *map(number, base)),
    "math.log2": lambda value: math.log2(number(value)),
    "math.sqrt": lambda value: math.sqrt(number(value)),
    "numpy.ceil": lambda value: float(math.ceil(number(value))),
    "numpy.floor": lambda value: float(math.floor(number(value))),
    "numpy.sqrt": lambda value: math.sqrt(number(value)),
}
"""Functions of modules by path."""

METHODS: Mapping[type, Mapping[str, Callable[..., Any]]] = {
    dict: {
        "copy": lambda target: target.copy(),
        "get": lambda target, name, default=None: target.get(key(name), default),
        "items": lambda target: list(target.items()),
        "keys": lambda target: list(target),
        "pop": lambda target, name, *default: target.pop(key(name), *default),
        "setdefault": lambda target, name, default=None: target.setdefault(key(name), default),
        "update": lambda target, *other, **more: target.update(as_dict(*other, **more)),
        "values": lambda target: list(target.values()),
    },
    list: {
        "append": lambda target, value: target.append(value),
        "copy": list,
        "extend": lambda target, values: target.extend(elements(values)),
        "index": lambda target, value: [scalar(item) for item in target].index(scalar(value)),
        "insert": lambda target, at, value: target.insert(at, value),
        "pop": lambda target, *at: target.pop(*at),
    },
    str: {
        "endswith": lambda text, end: text.endswith(end),
        "format": _format,
        "join": _join,
        "lower": lambda text: text.lower(),
        "lstrip": lambda text, *chars: text.lstrip(*chars),
        "removeprefix": lambda text, prefix: text.removeprefix(prefix),
        "removesuffix": lambda text, suffix: text.removesuffix(suffix),
        "replace": _replace,
        "rstrip": lambda text, *chars: text.rstrip(*chars),
        "split": lambda text, *by: text.split(*by),
        "startswith": lambda text, start: text.startswith(start),
        "strip": lambda text, *chars: text.strip(*chars),
        "upper": lambda text: text.upper(),
    },
}
"""Methods by the type of their target, which is their first argument."""


def method(target: Any, name: str) -> Callable[..., Any] | None:
    """The bounded stand-in for ``target.name``, or None."""
    kind = next((kind for kind in METHODS if isinstance(target, kind)), None)
    return None if kind is None else METHODS[kind].get(name)
