"""The functions and methods that a config may call: those that give plain data and whose cost is bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jaxsched.ports.openmmlab.config._values import MAX_LENGTH, Inherited, inherit

SCALARS = (bool, int, float, str, bytes, type(None))
CONTAINERS = (list, dict)  # what a call can change


class CannotTell(Exception):
    """Evaluation stops here; the message says why."""


def scalar(value: Any) -> Any:
    if not isinstance(value, SCALARS):
        raise CannotTell(f"a {type(value).__name__} is not a plain number or string")
    return value


def number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise CannotTell(f"a {type(value).__name__} is not a number")
    return value


def elements(values: Any) -> list:
    if not isinstance(values, list | tuple | dict | range | str):
        raise CannotTell(f"a {type(values).__name__} is not iterated over")
    if len(values) > MAX_LENGTH:
        raise CannotTell(f"{len(values)} elements are more than {MAX_LENGTH}")
    return list(values)


def key(value: Any) -> Any:
    """A dict key: hashing a nested tuple can take exponential time."""
    return tuple(scalar(part) for part in value) if isinstance(value, tuple) else scalar(value)


def joined(parts: list) -> str:
    if sum(len(part) for part in parts) > MAX_LENGTH:
        raise CannotTell(f"the text would have more than {MAX_LENGTH} characters")
    return "".join(parts)


def _best(choose: Callable[..., Any]) -> Callable[..., Any]:
    """``max`` or ``min`` of plain values: comparing nested ones can take exponential time."""
    return lambda *values: choose([scalar(value) for value in elements(values[0] if len(values) == 1 else values)])


def _round(value: Any, digits: int | None = None) -> Any:
    if digits is not None and abs(digits) > 400:
        raise CannotTell(f"rounding to {digits} digits")
    return round(scalar(value), digits)


def _dict(entries: Any = (), /, **more: Any) -> dict:
    if isinstance(entries, dict):
        return {**entries, **more}
    pairs = [elements(pair) for pair in elements(entries)]
    return {**{key(name): value for name, value in pairs}, **more}


def _length(value: Any) -> int:
    return len(value if isinstance(value, dict | range | str) else elements(value))


def _attribute(target: Any, name: str, *default: Any) -> Any:
    if not isinstance(target, Inherited) or not isinstance(name, str) or not (default or name in target):
        raise CannotTell("attributes are known of inherited settings only")
    return target.get(name, *default)


_MISSING = object()
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": lambda value: abs(number(value)),
    "dict": _dict,
    "enumerate": lambda values, start=0: [(start + i, value) for i, value in enumerate(elements(values))],
    "float": lambda value=0.0: float(scalar(value)),
    "getattr": _attribute,
    "hasattr": lambda target, name: _attribute(target, name, _MISSING) is not _MISSING,
    "int": lambda value=0: int(scalar(value)),
    "len": _length,
    "list": lambda values=(): elements(values),
    "max": _best(max),
    "min": _best(min),
    "print": lambda *values, **options: None,
    "range": lambda *bounds: range(*bounds),
    "reversed": lambda values: elements(values)[::-1],
    "round": _round,
    "sorted": lambda values, reverse=False: sorted(map(scalar, elements(values)), reverse=reverse),
    "str": lambda value="": str(scalar(value)),
    "sum": lambda values, start=0: sum(number(value) for value in elements(values)) + number(start),
    "tuple": lambda values=(): tuple(elements(values)),
    "zip": lambda *values: list(zip(*map(elements, values), strict=False)),
}
"""Builtins by name. Those that give an iterator in Python give its list."""


def copied(value: Any) -> Any:
    if isinstance(value, dict):
        return type(value)(value)
    return list(value) if isinstance(value, list) else value


def _pop(target: dict | list, *which: Any) -> Any:
    if isinstance(target, Inherited):
        return target.pop(key(which[0]), which[1] if len(which) > 1 else None)  # as ConfigDict: no KeyError
    return target.pop(*(key(which[0]), *which[1:]) if which else ())


def _update(target: dict, other: Any = (), /, **more: Any) -> None:
    for name, value in _dict(other, **more).items():
        if not isinstance(target, Inherited):
            target[name] = value
        elif isinstance(target.get(name), Inherited) and isinstance(value, dict):
            _update(target[name], value)
        else:
            target[name] = inherit(value)


def _merge(target: dict, other: Any) -> None:
    """ConfigDict.merge: recursive, and ``_delete_=True`` drops what was there."""

    def merged(new: Any, old: Any) -> Any:
        if not isinstance(new, dict):
            return new
        if not isinstance(old, dict):
            return {name: value for name, value in new.items() if name != "_delete_"}
        kept = {} if new.get("_delete_", False) else old
        names = [name for name in dict.fromkeys((*kept, *new)) if name != "_delete_"]
        return {name: merged(new[name], kept.get(name)) if name in new else kept[name] for name in names}

    if not isinstance(target, Inherited) or not isinstance(other, dict):
        raise CannotTell("merge is known of inherited settings only")
    entries = merged(other, target)
    target.clear()
    target.update({name: inherit(value) for name, value in entries.items()})


METHODS: Mapping[type, Mapping[str, Callable[..., Any]]] = {
    dict: {
        "copy": copied,
        "get": lambda target, name, default=None: target.get(key(name), default),
        "items": lambda target: list(target.items()),
        "keys": lambda target: list(target),
        "merge": _merge,
        "pop": _pop,
        "update": _update,
        "values": lambda target: list(target.values()),
    },
    list: {
        "append": lambda target, value: target.append(value),
        "copy": copied,
        "extend": lambda target, values: target.extend(elements(values)),
        "pop": _pop,
    },
}
"""Methods by the type of their target, which is their first argument."""

HOLDING = (_dict, _update)
"""Those whose keyword arguments are only stored, so that an unreadable one does no harm."""


def method(target: Any, name: str) -> Callable[..., Any] | None:
    """The bounded stand-in for ``target.name``, or None."""
    kind = next((kind for kind in METHODS if isinstance(target, kind)), None)
    return None if kind is None else METHODS[kind].get(name)
