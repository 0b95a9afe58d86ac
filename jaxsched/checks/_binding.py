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
from jaxsched.checks._numbers import Role, size
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
        options = _options(hint)
        for extra in _metadata(options):
            if callable(extra):
                checks[name] = _optional(extra) if types.NoneType in options else extra
        if hint in (str, bool):
            checks[name] = functools.partial(_check_type, hint)
        elif typing.get_origin(hint) is collections.abc.Callable:
            checks[name] = _check_callable
    return checks


@functools.cache
def argument_roles(function: Callable[..., Any]) -> dict[str, Role]:
    """The `Role` of each parameter that has one, from its annotation."""
    return {
        name: extra
        for name, hint in typing.get_type_hints(function, include_extras=True).items()
        for extra in _metadata(_options(hint))
        if isinstance(extra, Role)
    }


@functools.cache
def static_arguments(function: Callable[..., Any]) -> frozenset[str]:
    """The parameters that are no numbers by their annotation: strings, bools, functions and sizes of arrays."""
    return frozenset(
        name for name, hint in typing.get_type_hints(function, include_extras=True).items() if _is_static(hint)
    )


def _is_static(hint: Any) -> bool:
    types_ = [typing.get_args(option)[0] if _metadata((option,)) else option for option in _options(hint)]
    named = [option for option in types_ if option is not types.NoneType]
    return (
        bool(named)
        and all(option in (str, bool) or typing.get_origin(option) is collections.abc.Callable for option in named)
    ) or size in _metadata(_options(hint))


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union; of anything else the hint itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _metadata(options: tuple[Any, ...]) -> list[Any]:
    return [extra for option in options for extra in getattr(option, "__metadata__", ())]


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
