"""The arguments of the functions that make schedules, bound to their names and checked by their annotations."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxsched.checks._did_you_mean import did_you_mean
from jaxsched.checks._short import short

Check = Callable[[str, Any], Any]
"""From the name of an argument and its value to the value in its canonical form; raises if it is not right."""


def checked(
    function: Callable[..., Any],
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    otherwise: Check,
    check_all: Callable[..., None] | None = None,
) -> dict[str, Any]:
    """All arguments by name, defaults included, each in the canonical form that its check gives it.

    A check is part of the annotation; ``otherwise`` is for arguments without one, and ``check_all`` takes all by name.
    """
    name = function.__name__
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(_explain_call(name, signature, kwargs, error)) from None
    bound.apply_defaults()
    checks = argument_checks(function)
    arguments: dict[str, Any] = {}
    try:
        for parameter, argument in bound.arguments.items():
            check = checks.get(parameter, otherwise)
            if signature.parameters[parameter].kind is inspect.Parameter.VAR_POSITIONAL:
                arguments[parameter] = tuple(check(f"{parameter}[{i}]", x) for i, x in enumerate(argument))
            else:
                arguments[parameter] = check(parameter, argument)
        if check_all:
            check_all(**arguments)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    return arguments


def _explain_call(name: str, signature: inspect.Signature, kwargs: Mapping[str, Any], error: Exception) -> str:
    known = list(signature.parameters)
    problems = []
    for given in kwargs:
        if given not in known:
            problems.append(f"there is no argument {short(given)}{did_you_mean(given, known) or '.'}")
    text = ", ".join(str(p.replace(annotation=inspect.Parameter.empty)) for p in signature.parameters.values())
    return f"{name}: {' '.join(problems) or f'{error}.'} It is called as {name}({text})."


@functools.cache
def argument_checks(function: Callable[..., Any]) -> dict[str, Check]:
    """The check of each parameter, from its annotation. Cached: the annotations of a function do not change."""
    checks: dict[str, Check] = {}
    for name, hint in typing.get_type_hints(function, include_extras=True).items():
        options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
        for option in options:
            for extra in getattr(option, "__metadata__", ()):
                if callable(extra):
                    checks[name] = _optional(extra) if types.NoneType in options else extra
        if hint in (str, bool):
            checks[name] = functools.partial(_check_type, hint)
        elif typing.get_origin(hint) is collections.abc.Callable:
            checks[name] = _check_callable
    return checks


def _optional(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _check_type(wanted: type, name: str, value: Any) -> Any:
    if isinstance(value, np.bool_):
        value = bool(value)
    if not isinstance(value, wanted):
        raise TypeError(f"{name} must be a {wanted.__name__}, got {short(value)}")
    return value


def _check_callable(name: str, value: Any) -> Any:
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {short(value)}")
    return value
