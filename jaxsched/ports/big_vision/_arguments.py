"""big_vision's helpers for configs (``configs/common.py``): the argument of ``get_config``, parsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jaxsched.checks import did_you_mean, short
from jaxsched.ports.shared import ConfigDict, Imported, SourceError, Unknown, as_config


def parse_arg(arg: Any, lazy: bool = False, **spec: Any) -> ConfigDict:
    """The options in ``--config file.py:res=128,runlocal``, over the defaults in ``spec``.

    An option has the type of its default, or that beside it in a pair such as ``(224, int)``. One word without ``=`` is
    a flag if an option has that name, else the value of the first option.
    """
    text = arg or ""
    if not isinstance(text, str):
        raise SourceError(f"arg must be a string such as 'res=128,runlocal', got {short(arg)}")
    if text and "," not in text and "=" not in text:
        text = f"{text}=True" if text in spec or not spec else f"{next(iter(spec))}={text}"
    given = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        given[name] = value if "=" in part else "True"
    result = {name: _converted(name, default, given.pop(name, None)) for name, default in spec.items()}
    for name in given:
        if not lazy:
            raise SourceError(
                f"arg: {short(name)} is not an option{did_you_mean(name, spec)}; it has {', '.join(spec)}"
            )
    config: ConfigDict = as_config({**result, **{name: _guessed(value) for name, value in given.items()}})
    return config


def _converted(name: str, default: Any, text: str | None) -> Any:
    kind: Any = type(default)
    if isinstance(default, tuple | list):
        default, kind = default[0], default[1]
        kind = _TYPES.get(kind.path) if isinstance(kind, Imported) else None
    if text is None:
        return default
    if kind is bool:
        if text.lower() not in ("true", "false", ""):
            raise SourceError(f"arg: {name} must be true or false, got {short(text)}")
        return text.lower() == "true"
    if kind not in (int, float, str):
        raise SourceError(f"arg: {name} cannot be given, as its default is {short(default)}")
    try:
        return kind(text)
    except ValueError:
        raise SourceError(f"arg: {name} must be of the type {kind.__name__}, got {short(text)}") from None


_TYPES = {"bool": bool, "int": int, "float": float, "str": str}


def _guessed(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _packed(**options: Any) -> str:
    return ",".join(f"{name}={value}" for name, value in options.items())


def _quick(config: ConfigDict, quick: Any) -> None:
    if quick:
        config |= {"batch_size": 8, "shuffle_buffer_size": 10, "cache_raw": False}


def _formatted(*arguments: Any) -> Any:
    """A string that follows later changes of the config, which no recipe needs."""
    del arguments
    return Unknown(1, "format_str(...)", "it follows later changes of the config")


KNOWN: Mapping[str, Callable[..., Any]] = {
    "configs.common.parse_arg": parse_arg,
    "configs.common.pack_arg": _packed,
    "configs.common.arg": lambda **options: {"config_arg": _packed(**options), **options},
    "configs.common.format_str": _formatted,
    "configs.common.input_for_quicktest": _quick,
}
