"""Recipes as JSON: every number exactly, and no code.

Numbers, strings, lists and dicts are written as JSON values. Anything else is an object whose first name begins
with ``$``: ``{"$schedule": "cosine", "peak": 0.1, "steps": 100, "floor": 0.0}``. A schedule is named by its
key: ``"cosine"`` for one of the core, ``"timm.cosine_cycles"`` for one that a port defines. Values from a file are
checked in the same way as arguments from a user.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from jax.core import Tracer

from jaxsched import groups as grouping
from jaxsched.numerics import Kept, LogRate, is_host_number
from jaxsched.recipe._keys import key_of, maker_of
from jaxsched.schedules import Schedule

VERSION = 1
LONGEST = 2**27
"""Most characters in a file: enough for a table of five million steps."""
MOST_ITEMS = 2**20
"""Most names and numbers outside arrays, since each is checked in Python."""
DEEPEST = 64
"""Most levels of nesting of schedules and conditions."""
LONGEST_PLACE = 120
"""Characters of a path in an error."""

_LARGEST = 2.0**1023
_DTYPES = ("float64", "float32", "float16", "int64", "int32", "bool")


Records = Mapping[str, type]
"""The dataclasses that a file may hold, by their kind: ``{"$recipe": Recipe, ...}``."""


def to_json(value: Any, records: Records) -> str:
    """A record as a JSON string; see `Recipe.to_json`."""
    return json.dumps(_written(_Place("", "recipe"), value, records), indent=1, allow_nan=False)


def from_json(text: str | bytes, records: Records) -> Any:
    """The record in a JSON string, of the first kind in ``records``; see `Recipe.from_json`."""
    content = _parsed(text)
    outermost = next(iter(records))
    if not isinstance(content, dict) or outermost not in content:
        raise ValueError(f'this is not a recipe: it must be a JSON object with "{outermost}"')
    _check_size(content)
    return _read(_Place("", "recipe"), content, _At(records))


class _Place(NamedTuple):
    """A path within a recipe, for errors; it is formatted only when an error needs it."""

    outer: _Place | str
    inner: str | int

    def __str__(self) -> str:
        whole = self._whole()
        return whole if len(whole) <= LONGEST_PLACE else f"{whole[:40]}...{whole[43 - LONGEST_PLACE :]}"

    def _whole(self) -> str:
        if not isinstance(self.outer, _Place):
            return str(self.inner)
        outer = self.outer._whole()
        return f"{outer}[{self.inner}]" if isinstance(self.inner, int) else f"{outer}.{_short(self.inner)}"


# Writing


def _written(where: _Place, value: Any, records: Records) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Tracer):
        raise TypeError(f"{where} is traced: write a recipe outside jit, where its numbers are known")
    if is_host_number(value):
        number = value.item() if hasattr(value, "item") else value
        return number if math.isfinite(number) else {"$number": str(number)}
    if isinstance(value, Schedule):
        return {"$schedule": _key(where, value.maker), **_written(where, value.arguments, records)}
    if isinstance(value, Kept):
        return float(value)
    if isinstance(value, LogRate):
        if value.value is not None:
            return {"$rate": value.value}
        return {"$log_rate": [_written(where, value.high, records), _written(where, value.low, records)]}
    if hasattr(value, "dtype"):
        array = np.asarray(value)
        if array.dtype.name not in _DTYPES:
            raise TypeError(f"{where}: an array of {array.dtype.name} cannot be written; convert it to float32")
        written = {"$array": _written(where, array.tolist(), records), "dtype": array.dtype.name}
        return written if array.size else {**written, "shape": list(array.shape)}  # empty lists have no shape
    if isinstance(value, grouping.Condition):
        return {"$condition": value.kind, "of": _written(where, value.arguments, records)}
    if isinstance(value, grouping.Rule):
        rule = {"$rule": _written(_Place(where, value.group), value.match, records), "group": value.group}
        return {**rule, "optional": True} if value.optional else rule
    for kind, record in records.items():
        if type(value) is record:
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(record)}
            return {
                kind: VERSION,
                **{
                    name: _written(_Place(where, name), item, records)
                    for name, item in fields.items()
                    if item is not None
                },
            }
    if isinstance(value, tuple | list):
        return [_written(_Place(where, i), item, records) for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str) or name.startswith("$"):
                raise TypeError(
                    f"{where}: the name {name!r} cannot be written; it must be a string that does not begin with $"
                )
        return {name: _written(_Place(where, name), item, records) for name, item in value.items()}
    if callable(value):
        raise TypeError(
            f"{where} is the function {getattr(value, '__qualname__', value)!r}, which is code: JSON has no place for "
            "it. Write a schedule with js.tabulate, a rule with a glob, js.role, js.groups.contains or js.groups.ndim."
        )
    raise TypeError(f"{where} cannot be written to JSON: {value!r}")


def _key(where: _Place, maker: Callable[..., Schedule]) -> str:
    key = key_of(maker)
    if key is None:
        raise TypeError(
            f"{where} is made by {maker.__module__}.{maker.__qualname__}, which is code outside jaxsched: JSON has no "
            "place for it. Write it with js.tabulate."
        )
    return key


# Reading


class _At(NamedTuple):
    """The depth of nesting, and the records that a file may hold."""

    records: Records
    depth: int = 0

    @property
    def inside(self) -> _At:
        return self._replace(depth=self.depth + 1)


def _parsed(text: str | bytes) -> Any:
    if not isinstance(text, str | bytes):
        raise TypeError(f"a recipe is read from a string, got {type(text).__name__}; for a file: Path(...).read_text()")
    if len(text) > LONGEST:
        raise ValueError(f"the text has {len(text)} characters; a recipe has at most {LONGEST}")
    try:
        return json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("this is not a recipe: it is nested too deeply") from None
    except ValueError as error:  # of JSON, of UTF-8, or of a whole number with thousands of digits
        raise ValueError(f"this is not a recipe: {error}") from None


def _check_size(content: Any) -> None:
    items, waiting = 0, [content]
    while waiting:
        node = waiting.pop()
        inside = [v for k, v in node.items() if k != "$array"] if isinstance(node, dict) else node
        if isinstance(inside, list):
            items += len(inside)
            if items > MOST_ITEMS:
                raise ValueError(f"the text holds more than {MOST_ITEMS} names and numbers outside of arrays")
            waiting += inside


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name is given twice in one object")
    return names


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _read(where: _Place, value: Any, at: _At) -> Any:
    if at.depth > DEEPEST:
        raise ValueError(f"{where}: nested more than {DEEPEST} deep")
    if isinstance(value, int | float) and not abs(value) < _LARGEST:
        raise ValueError(f"{where}: the number is too large")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return tuple(_read(_Place(where, i), item, at.inside) for i, item in enumerate(value))
    kind = next((name for name in value if name.startswith("$")), None)
    if kind is None:
        return {name: _read(_Place(where, name), item, at.inside) for name, item in value.items()}
    if kind in at.records:
        return _record(where, value, kind, at.inside)
    if kind not in _READERS:
        raise ValueError(f"{where}: {_short(kind)} is not known; there are {', '.join((*at.records, *_READERS))}")
    return _READERS[kind](where, value, kind, at.inside)


def _fields(where: _Place, value: dict[str, Any], kind: str, at: _At) -> dict[str, Any]:
    """The entries other than the kind."""
    beside = {name: item for name, item in value.items() if name != kind}
    return {name: _read(_Place(where, name), item, at) for name, item in beside.items()}


def _schedule(where: _Place, value: dict[str, Any], kind: str, at: _At) -> Schedule:
    maker = maker_of(value[kind])
    if maker is None:
        raise ValueError(f"{where}: {_short(value[kind])} is not a schedule of jaxsched")
    arguments = _fields(where, value, kind, at)
    parameters = inspect.signature(maker).parameters.values()
    star = next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), None)
    several = arguments.pop(star, ()) if star else ()
    if not isinstance(several, tuple):
        raise ValueError(f"{where}: {star} must be a list, got {_short(several)}")
    return _made(where, maker, *several, **arguments)


def _made(where: _Place | str, make: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    try:
        return make(*args, **kwargs)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: {error}") from None


def _record(where: _Place, value: dict[str, Any], kind: str, at: _At) -> Any:
    record = at.records[kind]
    known = {field.name: field for field in dataclasses.fields(record)}
    missing = dataclasses.MISSING
    required = [name for name, field in known.items() if field.default is field.default_factory is missing]
    _check_names(where, value, {kind, *known}, required)
    version = value[kind]
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"{where}: the version of {kind} must be a whole number >= 1, got {_short(version)}")
    if version > VERSION:
        raise ValueError(
            f"{where}: {kind} is of version {version}; this jaxsched reads up to {VERSION}: upgrade jaxsched to read it"
        )
    return _made(where, record, **_fields(where, value, kind, at))


def _rule(where: _Place, value: dict[str, Any], kind: str, at: _At) -> grouping.Rule:
    _check_names(where, value, (kind, "group", "optional"), ("group",))
    rule = grouping.Rule(_read(where, value[kind], at), value["group"], value.get("optional", False))
    if not isinstance(rule.match, str | grouping.Condition) or not isinstance(rule.optional, bool):
        raise ValueError(f"{where}: a rule has a glob or a condition, a group, and true or false; got {_short(value)}")
    return _made(where, grouping.as_rules, (rule,))[0]


_CONDITIONS: dict[str, tuple[int | None, type]] = {
    "role": (None, str),
    "glob": (1, str),
    "contains": (1, str),
    "regex": (1, str),
    "ndim": (2, int),
    "all": (None, grouping.Condition),
    "any": (None, grouping.Condition),
    "not": (1, grouping.Condition),
}
"""The number of arguments of each condition (None: any number), and their type."""


def _condition(where: _Place, value: dict[str, Any], kind: str, at: _At) -> grouping.Condition:
    _check_names(where, value, (kind, "of"), ("of",))
    name, of = value[kind], _read(where, value["of"], at)
    if not isinstance(name, str) or name not in _CONDITIONS:
        raise ValueError(f"{where}: {_short(name)} is not a condition; there are {', '.join(_CONDITIONS)}")
    count, wanted = _CONDITIONS[name]
    fits = isinstance(of, tuple) and count in (None, len(of)) and all(type(item) is wanted for item in of)
    if not fits:
        raise ValueError(f"{where}: {name} takes {count or 'a list'} of {wanted.__name__}, got {_short(of)}")
    if name in ("role", "regex"):  # which check what they are given
        return _made(where, getattr(grouping, name), *of)
    return grouping.Condition(name, of)


def _array(where: _Place, value: dict[str, Any], kind: str, at: _At) -> np.ndarray:
    del at
    _check_names(where, value, (kind, "dtype", "shape"), ("dtype",))
    if value["dtype"] not in _DTYPES:
        raise ValueError(f"{where}: dtype must be one of {', '.join(_DTYPES)}, got {_short(value['dtype'])}")
    wide = _made(where, np.asarray, value[kind])
    if wide.size and wide.dtype.kind not in "ifb":
        raise ValueError(f"{where}: an array holds numbers, got {_short(value[kind])}")
    with np.errstate(over="ignore"):
        array = wide.astype(value["dtype"])
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{where}: a number is too large for {value['dtype']}")
    return _made(where, array.reshape, value.get("shape", array.shape))


def _rate(where: _Place, value: dict[str, Any], kind: str, at: _At) -> LogRate:
    del at
    _check_names(where, value, (kind,))
    rate = value[kind]
    if not is_host_number(rate) or not 0 <= rate < math.inf:
        raise ValueError(f"{where}: a rate is a number >= 0, got {_short(rate)}")
    return LogRate.of(rate)


def _log_rate(where: _Place, value: dict[str, Any], kind: str, at: _At) -> LogRate:
    _check_names(where, value, (kind,))
    pair = _read(where, value[kind], at)
    if not isinstance(pair, tuple) or len(pair) != 2 or not all(is_host_number(x) or hasattr(x, "dtype") for x in pair):
        raise ValueError(f"{where}: $log_rate is a pair of numbers, got {_short(pair)}")
    return LogRate(*pair)


def _number(where: _Place, value: dict[str, Any], kind: str, at: _At) -> float:
    del at
    _check_names(where, value, (kind,))
    if value[kind] not in ("inf", "-inf", "nan"):
        raise ValueError(f"{where}: $number is for 'inf', '-inf' and 'nan', got {_short(value[kind])}")
    return float(value[kind])


_READERS: dict[str, Callable[[_Place, dict[str, Any], str, _At], Any]] = {
    "$schedule": _schedule,
    "$condition": _condition,
    "$rule": _rule,
    "$array": _array,
    "$rate": _rate,
    "$log_rate": _log_rate,
    "$number": _number,
}


def _check_names(
    where: _Place, value: Mapping[str, Any], known: Collection[str], required: Collection[str] = ()
) -> None:
    for name in value:
        if name not in known:
            raise ValueError(f"{where}: {_short(name)} is not known; there are {', '.join(sorted(known))}")
    for name in required:
        if name not in value:
            raise ValueError(f"{where}: {name!r} is missing")


def _short(value: Any) -> str:
    """``value`` shortened for an error: it may be as long as the file."""
    text = value if isinstance(value, str) and value.isidentifier() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
