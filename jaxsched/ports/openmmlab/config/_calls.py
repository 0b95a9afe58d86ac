"""The functions and methods that a config may call: those that give plain data and whose cost is bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jaxsched.ports.openmmlab.config._values import MAX_LENGTH, Inherited, inherit

SCALARS = (bool, int, float, str, bytes, type(None))
CONTAINERS = (list, dict, set)  # what a call can change


class CannotTell(Exception):
    """Evaluation stops here; the message says why."""


def scalar(value: Any) -> Any:
    if not isinstance(value, SCALARS):
        raise CannotTell(f"a {type(value).__name__} is not a plain number or string")
    return value


def scalars(values: Any) -> list:
    """The elements, all plain: comparing nested ones can take exponential time."""
    return [scalar(value) for value in elements(values)]


def elements(values: Any) -> list:
    if not isinstance(values, (list, tuple, dict, set, range, str)):
        raise CannotTell(f"a {type(values).__name__} is not iterated over")
    if len(values) > MAX_LENGTH:
        raise CannotTell(f"{len(values)} elements are more than {MAX_LENGTH}")
    return list(values)


def key(value: Any) -> Any:
    """A dict key or set element: hashing a nested tuple can take exponential time."""
    return tuple(scalar(part) for part in value) if isinstance(value, tuple) else scalar(value)


def _round(number: Any, digits: int | None = None) -> Any:
    if digits is not None and abs(digits) > 400:
        raise CannotTell(f"rounding to {digits} digits")
    return round(scalar(number), digits)


def _dict(entries: Any = (), /, **more: Any) -> dict:
    if isinstance(entries, dict):
        return {**entries, **more}
    pairs = [elements(pair) for pair in elements(entries)]
    return {**{key(name): value for name, value in pairs}, **more}


def _length(value: Any) -> int:
    if not isinstance(value, (list, tuple, dict, set, range, str, bytes)):
        raise TypeError(f"a {type(value).__name__} has no len()")
    return len(value)


def _get(target: Any, name: str, *default: Any) -> Any:
    if not isinstance(target, Inherited) or not isinstance(name, str) or not (default or name in target):
        raise CannotTell("getattr is known of inherited settings only")
    return target.get(name, *default)


def _has(target: Any, name: str) -> bool:
    if not isinstance(target, Inherited) or not isinstance(name, str):
        raise CannotTell("hasattr is known of inherited settings only")
    return name in target


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return type(value)(value)
    return list(value) if isinstance(value, list) else value


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": lambda number: abs(scalar(number)),
    "bool": lambda value=False: bool(value),
    "dict": _dict,
    "enumerate": lambda values, start=0: [(start + i, value) for i, value in enumerate(elements(values))],
    "float": lambda value=0.0: float(scalar(value)),
    "getattr": _get,
    "hasattr": lambda target, name: _has(target, name),
    "int": lambda value=0: int(scalar(value)),
    "len": _length,
    "list": lambda values=(): elements(values),
    "max": lambda *values: max(scalars(values[0] if len(values) == 1 else values)),
    "min": lambda *values: min(scalars(values[0] if len(values) == 1 else values)),
    "print": lambda *values, **options: None,
    "range": lambda *bounds: range(*bounds),
    "reversed": lambda values: elements(values)[::-1],
    "round": _round,
    "set": lambda values=(): {key(value) for value in elements(values)},
    "sorted": lambda values, reverse=False: sorted(scalars(values), reverse=reverse),
    "str": lambda value="": str(scalar(value)),
    "sum": lambda values, start=0: sum(number(value) for value in elements(values)) + number(start),
    "tuple": lambda values=(): tuple(elements(values)),
    "zip": lambda *values: list(zip(*map(elements, values), strict=False)),
}
"""Builtins by name. Those that give an iterator in Python give its list."""


def number(value: Any) -> Any:
    if not isinstance(value, (int, float)):
        raise CannotTell(f"a {type(value).__name__} is not a number")
    return value


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


def _merge(target: Inherited, other: Mapping) -> None:
    """ConfigDict.merge: recursive, and ``_delete_=True`` drops what was there."""

    def merged(new: Any, old: Any) -> Any:
        if not isinstance(new, dict):
            return new
        if not isinstance(old, dict):
            return {name: value for name, value in new.items() if name != "_delete_"}
        kept = {} if new.get("_delete_", False) else old
        names = [name for name in (*kept, *new) if name != "_delete_"]
        return {name: merged(new[name], kept.get(name)) if name in new else kept[name] for name in names}

    if not isinstance(other, dict):
        raise TypeError(f"merge of a {type(other).__name__}")
    entries = merged(other, target)
    target.clear()
    target.update({name: inherit(value) for name, value in entries.items()})


def _setdefault(target: dict, name: Any, value: Any = None) -> Any:
    return target.setdefault(key(name), inherit(value) if isinstance(target, Inherited) else value)


def _replace(text: str, old: str, new: str) -> str:
    if (len(text) + 1) * (len(new) + 1) > MAX_LENGTH:
        raise CannotTell("the result of replace may be huge")
    return text.replace(old, new)


METHODS: Mapping[type, Mapping[str, Callable[..., Any]]] = {
    dict: {
        "copy": _copied,
        "get": lambda target, name, default=None: target.get(key(name), default),
        "items": lambda target: list(target.items()),
        "keys": lambda target: list(target),
        "values": lambda target: list(target.values()),
        "clear": lambda target: target.clear(),
        "pop": _pop,
        "setdefault": _setdefault,
        "update": _update,
    },
    Inherited: {"merge": _merge},
    list: {
        "copy": _copied,
        "append": lambda target, value: target.append(value),
        "clear": lambda target: target.clear(),
        "extend": lambda target, values: target.extend(elements(values)),
        "insert": lambda target, index, value: target.insert(index, value),
        "pop": _pop,
        "reverse": lambda target: target.reverse(),
    },
    set: {"add": lambda target, value: target.add(key(value))},
    str: {
        "endswith": lambda text, end: text.endswith(end),
        "join": lambda text, parts: joined(text, elements(parts)),
        "lower": lambda text: text.lower(),
        "lstrip": lambda text, *chars: text.lstrip(*chars),
        "replace": _replace,
        "rstrip": lambda text, *chars: text.rstrip(*chars),
        "split": lambda text, *how: text.split(*how),
        "startswith": lambda text, start: text.startswith(start),
        "strip": lambda text, *chars: text.strip(*chars),
        "upper": lambda text: text.upper(),
    },
}
"""Methods by the type of their target, which is their first argument."""

HOLDING = (_dict, _update)
"""Those whose keyword arguments are only stored, so that an unreadable one does no harm."""

IMPORTED: Mapping[str, Callable[..., Any]] = {"copy.copy": _copied}
"""Functions by where they are imported from (``copy.deepcopy`` is the evaluator's, which bounds it)."""


def joined(text: str, parts: list) -> str:
    if len(text) * len(parts) + sum(len(part) for part in parts) > MAX_LENGTH:
        raise CannotTell(f"the text would have more than {MAX_LENGTH} characters")
    return text.join(parts)


def method(target: Any, name: str) -> Callable[..., Any] | None:
    """The bounded stand-in for ``target.name``, or None."""
    for kind in type(target).__mro__:
        found = METHODS.get(kind, {}).get(name)
        if found is not None:
            return found
    return None
