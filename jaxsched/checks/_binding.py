"""Binding of the arguments of a call to their names, and the checks that the annotations hold."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from jaxsched.checks._did_you_mean import did_you_mean
from jaxsched.checks._numbers import Role, size
from jaxsched.checks._short import short

Check = Callable[[str, Any], Any]
"""Takes the name of an argument and its value, and returns the value in its canonical form or raises."""


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
    bound = bind(name, signature, args, kwargs)
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


def check_fields(record: Any, by_item: Collection[str] = ()) -> None:
    """Give each field of a frozen dataclass the canonical form that the check in its annotation gives it.

    Args:
        record: The dataclass, in its ``__post_init__``.
        by_item: Fields that may be a sequence, whose items are checked one by one.
    """
    for name, check in argument_checks(type(record)).items():  # type: ignore[arg-type]
        value = getattr(record, name)
        try:
            if name in by_item and isinstance(value, tuple | list):
                value = tuple(check(f"{name}[{i}]", item) for i, item in enumerate(value))
            else:
                value = check(name, value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{type(record).__name__}: {error}") from None
        object.__setattr__(record, name, value)


def bind(
    name: str,
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    other_words: Mapping[str, str] = types.MappingProxyType({}),
) -> inspect.BoundArguments:
    """The arguments of a call by name, defaults included.

    Raises:
        TypeError: If they do not fit, saying which was probably meant; ``other_words`` are those of other libraries.
    """
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(_explain_call(name, signature, kwargs, error, other_words)) from None
    bound.apply_defaults()
    return bound


def _explain_call(
    name: str, signature: inspect.Signature, kwargs: Mapping[str, Any], error: Exception, other_words: Mapping[str, str]
) -> str:
    known = list(signature.parameters)
    problems = []
    for given in kwargs:
        if given not in known:
            meant = f"; did you mean {other_words[given]!r}?" if given in other_words else did_you_mean(given, known)
            problems.append(f"there is no argument {short(given)}{meant or '.'}")
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    text = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    return f"{name}: {' '.join(problems) or f'{error}.'} It is called as {name}{text}."


@functools.cache
def argument_checks(function: Callable[..., Any]) -> dict[str, Check]:
    """The check of each parameter, from its annotation. Cached: the annotations of a function do not change."""
    hints = typing.get_type_hints(function, include_extras=True)
    found = {name: check_of(hint) for name, hint in hints.items()}
    return {name: check for name, check in found.items() if check}


def check_of(hint: Any) -> Check | None:
    """The check that an annotation stands for, or None where it has none.

    ``Annotated[..., check, ...]``: its checks in turn; ``Literal[...]``: one of these; ``bool``, ``str``: of this type;
    ``tuple[X, Y]``: two values, each with its own check; ``X | None``: None, or what X is.
    """
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _in_turn([check for check in hint.__metadata__ if callable(check)] or [check_of(options[0])])
    if origin in (typing.Union, types.UnionType):
        present = [option for option in options if option is not types.NoneType]
        if len(present) == len(options):
            return next(filter(None, map(check_of, present)), None)
        if len(present) == 1 and typing.get_origin(present[0]) is typing.Literal:
            return _one_of(None, *typing.get_args(present[0]))
        check = next(filter(None, map(check_of, present)), None)
        return check and _optional(check)
    if origin is typing.Literal:
        return _one_of(*options)
    if origin is tuple and Ellipsis not in options:
        return _tuple_of([check_of(option) for option in options])
    if hint in (str, bool):
        return functools.partial(_check_type, hint)
    return _check_callable if origin is collections.abc.Callable else None


def _in_turn(checks: Sequence[Check | None]) -> Check | None:
    given = [check for check in checks if check]
    if len(given) < 2:
        return given[0] if given else None

    def check_all(name: str, value: Any) -> Any:
        for check in given:
            value = check(name, value)
        return value

    return check_all


def _one_of(*allowed: Any) -> Check:
    def check(name: str, value: Any) -> Any:
        if not any(value is option or (isinstance(value, str) and value == option) for option in allowed):
            raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {short(value)}")
        return value

    return check


def _tuple_of(checks: Sequence[Check | None]) -> Check:
    def check_each(name: str, value: Any) -> Any:
        if not isinstance(value, tuple | list) or len(value) != len(checks):
            raise ValueError(f"{name} must be a tuple of {len(checks)} numbers, got {short(value)}")
        pairs = enumerate(zip(checks, value, strict=True))
        return tuple(check(f"{name}[{i}]", item) if check else item for i, (check, item) in pairs)

    return check_each


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
    """The parameters that are not numbers by their annotation: strings, bools, functions and sizes of arrays."""
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
