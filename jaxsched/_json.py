"""A recipe as JSON: all of its numbers to the last digit, and no code.

Numbers, texts, lists and names with values are written as JSON has them. Anything else is an object whose first name
begins with ``$``: ``{"$schedule": "cosine", "peak": 0.1, "steps": 100, "floor": 0.0}``. A public schedule of jaxsched
has its bare name, one that a port defines is ``"jaxsched.ports.timm:tanh"``; no other names are read. What a text
claims is checked as if a user had typed it.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from jax.core import Tracer

import jaxsched
from jaxsched import groups as grouping
from jaxsched import schedules
from jaxsched.recipe import Accumulate, Recipe
from jaxsched.schedules import LogRate, Ratio, Schedule
from jaxsched.schedules._checks import is_host_number

VERSION = 1
LONGEST = 2**27
"""Characters: enough for a table of five million steps."""
MOST_ITEMS = 2**20
"""Names and numbers, those in arrays apart: each is looked at in Python."""
DEEPEST = 64
"""How deep schedules and conditions may be nested."""

_LARGEST = 2.0**1023
_RECORDS: dict[str, type] = {"$recipe": Recipe, "$accumulate": Accumulate}
_PORT = re.compile(r"jaxsched\.ports(\.[A-Za-z_][A-Za-z_0-9]*)+")
_DTYPES = ("float64", "float32", "float16", "int64", "int32", "bool")


def to_json(recipe: Recipe) -> str:
    """The text of a recipe; see `Recipe.to_json`."""
    return json.dumps(_written(_Place("", "recipe"), recipe), indent=1, allow_nan=False)


def from_json(text: str | bytes) -> Recipe:
    """The recipe in a text; see `Recipe.from_json`."""
    content = _parsed(text)
    if not isinstance(content, dict) or "$recipe" not in content:
        raise ValueError('this is no recipe: it must be a JSON object with "$recipe"')
    _check_size(content)
    recipe = _read(_Place("", "recipe"), content, 0)
    _made("recipe", recipe.by_group)  # checks the hyperparameters, as build() would
    return recipe


class _Place(NamedTuple):
    """Where in a recipe: its text is made only if there is something to say about it."""

    outer: _Place | str
    inner: str | int

    def __str__(self) -> str:
        if not self.outer:
            return str(self.inner)
        return f"{self.outer}[{self.inner}]" if isinstance(self.inner, int) else f"{self.outer}.{_short(self.inner)}"


# Writing


def _written(where: _Place, value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Tracer):
        raise TypeError(f"{where} is traced: write a recipe outside jit, where its numbers are known")
    if is_host_number(value):
        number = value.item() if hasattr(value, "item") else value
        return number if math.isfinite(number) else {"$number": str(number)}
    if isinstance(value, Schedule):
        return {"$schedule": _maker_name(where, value.maker), **_written(where, value.arguments)}
    if isinstance(value, Ratio):
        return float(value)
    if isinstance(value, LogRate):
        if value.value is not None:
            return {"$rate": value.value}
        return {"$log_rate": [_written(where, value.high), _written(where, value.low)]}
    if hasattr(value, "dtype"):
        array = np.asarray(value)
        if array.dtype.name not in _DTYPES:
            raise TypeError(f"{where}: an array of {array.dtype.name} cannot be written; convert it to float32")
        written = {"$array": _written(where, array.tolist()), "dtype": array.dtype.name}
        return written if array.size else {**written, "shape": list(array.shape)}  # lists that hold nothing have none
    if isinstance(value, grouping.Condition):
        return {"$condition": value.kind, "of": _written(where, value.arguments)}
    if isinstance(value, grouping.Rule):
        rule = {"$rule": _written(_Place(where, value.group), value.match), "group": value.group}
        return {**rule, "optional": True} if value.optional else rule
    for kind, record in _RECORDS.items():
        if type(value) is record:
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(record)}
            return {
                kind: VERSION,
                **{name: _written(_Place(where, name), item) for name, item in fields.items() if item is not None},
            }
    if isinstance(value, tuple | list):
        return [_written(_Place(where, i), item) for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str) or name.startswith("$"):
                raise TypeError(f"{where}: the name {name!r} cannot be written; it must be a text without $ before it")
        return {name: _written(_Place(where, name), item) for name, item in value.items()}
    if callable(value):
        raise TypeError(
            f"{where} is the function {getattr(value, '__qualname__', value)!r}, which is code: JSON has no place for "
            "it. Write a schedule with js.tabulate, a rule with js.glob, js.contains, js.role or js.ndim."
        )
    raise TypeError(f"{where} cannot be written to JSON: {value!r}")


def _maker_name(where: _Place, maker: Callable[..., Schedule]) -> str:
    module, name = maker.__module__, maker.__name__
    if _public(name) is maker:
        return name
    if _PORT.fullmatch(module) and getattr(importlib.import_module(module), name, None) is maker:
        return f"{module}:{name}"
    raise TypeError(
        f"{where} is made by {module}.{maker.__qualname__}, which is code outside jaxsched: JSON has no place for it. "
        "Write it with js.tabulate."
    )


def _public(name: str) -> Any:
    return getattr(schedules, name, None) or getattr(jaxsched, name, None)


# Reading


def _parsed(text: str | bytes) -> Any:
    if not isinstance(text, str | bytes):
        raise TypeError(f"a recipe is read from a text, got {type(text).__name__}; for a file: Path(...).read_text()")
    if len(text) > LONGEST:
        raise ValueError(f"the text has {len(text)} characters; a recipe has at most {LONGEST}")
    try:
        return json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("this is no recipe: it is nested too deeply") from None
    except ValueError as error:  # of JSON, of UTF-8, or of a whole number with thousands of digits
        raise ValueError(f"this is no recipe: {error}") from None


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
    raise ValueError(f"{name} is no JSON number")


def _read(where: _Place, value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"{where}: nested more than {DEEPEST} deep")
    if isinstance(value, int | float) and not abs(value) < _LARGEST:
        raise ValueError(f"{where}: the number is too large")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return tuple(_read(_Place(where, i), item, depth + 1) for i, item in enumerate(value))
    kind = next((name for name in value if name.startswith("$")), None)
    if kind is None:
        return {name: _read(_Place(where, name), item, depth + 1) for name, item in value.items()}
    if kind not in _READERS:
        raise ValueError(f"{where}: {_short(kind)} is not known; there are {', '.join(_READERS)}")
    return _READERS[kind](where, value, kind, depth + 1)


def _fields(where: _Place, value: dict[str, Any], kind: str, depth: int) -> dict[str, Any]:
    """What stands beside the kind."""
    beside = {name: item for name, item in value.items() if name != kind}
    return {name: _read(_Place(where, name), item, depth) for name, item in beside.items()}


def _schedule(where: _Place, value: dict[str, Any], kind: str, depth: int) -> Schedule:
    maker = _maker(where, value[kind])
    arguments = _fields(where, value, kind, depth)
    parameters = inspect.signature(maker).parameters.values()
    star = next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), None)
    several = arguments.pop(star, ()) if star else ()
    if not isinstance(several, tuple):
        raise ValueError(f"{where}: {star} must be a list, got {_short(several)}")
    return _made(where, maker, *several, **arguments)


def _maker(where: _Place, name: Any) -> Callable[..., Schedule]:
    module, colon, attribute = name.rpartition(":") if isinstance(name, str) else ("", "", "")
    maker: Any = None
    if not colon:
        maker = _public(attribute)
    elif _PORT.fullmatch(module):
        try:
            maker = getattr(importlib.import_module(module), attribute, None)
        except ImportError:
            maker = None
    # What ``schedule`` has decorated wraps a function of the step and says that it returns a Schedule.
    is_maker = inspect.isfunction(maker) and hasattr(maker, "__wrapped__")
    if not is_maker or inspect.signature(maker).return_annotation != "Schedule":
        raise ValueError(f"{where}: {_short(name)} is no schedule of jaxsched")
    return maker


def _made(where: _Place | str, make: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    try:
        return make(*args, **kwargs)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: {error}") from None


def _record(where: _Place, value: dict[str, Any], kind: str, depth: int) -> Any:
    record = _RECORDS[kind]
    known = {field.name: field for field in dataclasses.fields(record)}
    missing = dataclasses.MISSING
    required = [name for name, field in known.items() if field.default is field.default_factory is missing]
    _check_names(where, value, {kind, *known}, required)
    if value[kind] != VERSION or isinstance(value[kind], bool):
        raise ValueError(f"{where}: {kind} is version {_short(value[kind])}; this jaxsched reads {VERSION}")
    return _made(where, record, **_fields(where, value, kind, depth))


def _rule(where: _Place, value: dict[str, Any], kind: str, depth: int) -> grouping.Rule:
    _check_names(where, value, (kind, "group", "optional"), ("group",))
    rule = grouping.Rule(_read(where, value[kind], depth), value["group"], value.get("optional", False))
    if not isinstance(rule.match, str | grouping.Condition) or not isinstance(rule.optional, bool):
        raise ValueError(f"{where}: a rule has a glob or a condition, a group, and true or false; got {_short(value)}")
    return _made(where, grouping.as_rules, (rule,))[0]


_CONDITIONS: dict[str, tuple[int | None, type]] = {
    "role": (None, str),
    "glob": (1, str),
    "contains": (1, str),
    "ndim": (2, int),
    "all": (None, grouping.Condition),
    "any": (None, grouping.Condition),
    "not": (1, grouping.Condition),
}
"""How many arguments a condition takes (None: any number), and of which type."""


def _condition(where: _Place, value: dict[str, Any], kind: str, depth: int) -> grouping.Condition:
    _check_names(where, value, (kind, "of"), ("of",))
    name, of = value[kind], _read(where, value["of"], depth)
    if not isinstance(name, str) or name not in _CONDITIONS:
        raise ValueError(f"{where}: {_short(name)} is no condition; there are {', '.join(_CONDITIONS)}")
    count, wanted = _CONDITIONS[name]
    fits = isinstance(of, tuple) and count in (None, len(of)) and all(type(item) is wanted for item in of)
    if not fits:
        raise ValueError(f"{where}: {name} takes {count or 'a list'} of {wanted.__name__}, got {_short(of)}")
    return _made(where, grouping.role, *of) if name == "role" else grouping.Condition(name, of)


def _array(where: _Place, value: dict[str, Any], kind: str, depth: int) -> np.ndarray:
    del depth
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


def _rate(where: _Place, value: dict[str, Any], kind: str, depth: int) -> LogRate:
    del depth
    _check_names(where, value, (kind,))
    rate = value[kind]
    if not is_host_number(rate) or not 0 <= rate < math.inf:
        raise ValueError(f"{where}: a rate is a number >= 0, got {_short(rate)}")
    return LogRate.of(rate)


def _log_rate(where: _Place, value: dict[str, Any], kind: str, depth: int) -> LogRate:
    _check_names(where, value, (kind,))
    pair = _read(where, value[kind], depth)
    if not isinstance(pair, tuple) or len(pair) != 2 or not all(is_host_number(x) or hasattr(x, "dtype") for x in pair):
        raise ValueError(f"{where}: $log_rate is a pair of numbers, got {_short(pair)}")
    return LogRate(*pair)


def _number(where: _Place, value: dict[str, Any], kind: str, depth: int) -> float:
    del depth
    _check_names(where, value, (kind,))
    if value[kind] not in ("inf", "-inf", "nan"):
        raise ValueError(f"{where}: $number is for 'inf', '-inf' and 'nan', got {_short(value[kind])}")
    return float(value[kind])


_READERS: dict[str, Callable[[_Place, dict[str, Any], str, int], Any]] = {
    "$schedule": _schedule,
    "$condition": _condition,
    "$rule": _rule,
    "$array": _array,
    "$rate": _rate,
    "$log_rate": _log_rate,
    "$number": _number,
    **dict.fromkeys(_RECORDS, _record),
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
    """``value`` for an error: the whole of it may be as long as the file."""
    text = value if isinstance(value, str) and value.isidentifier() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
