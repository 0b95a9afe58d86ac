"""The optimizers of optax by name, and what the signature of one says of its arguments."""

from __future__ import annotations

import collections.abc
import functools
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import numpy as np
import optax

from jaxsched.checks import short
from jaxsched.numerics import is_host_number
from jaxsched.optimizers._hyperparameters import Argument, Definition
from jaxsched.schedules.internal import check_value

Factory: TypeAlias = Callable[..., optax.GradientTransformation]
_NAME = re.compile(r"(optax|optax\.contrib)\.([a-z][a-z0-9_]*)")
_NUMBERS = {float, int, complex, bool, jax.Array, np.ndarray, np.bool_, np.number, types.NoneType}


def optax_factory(name: str) -> Factory | None:
    """The optimizer that ``"optax.lion"`` or ``"optax.contrib.prodigy"`` names, or None.

    A name comes from files too: nothing but these two packages is looked at, and of them only public functions that
    take a learning rate and are not pieces (``scale_by_...``).
    """
    found = _NAME.fullmatch(name)
    factory = found and getattr(importlib.import_module(found[1]), found[2], None)
    return factory if found and not found[2].startswith("scale_by_") and _takes_learning_rate(factory) else None


def optax_name(factory: Factory) -> str | None:
    """The name by which `optax_factory` finds it, or None."""
    for package in ("optax", "optax.contrib"):
        for name, value in vars(importlib.import_module(package)).items():
            if value is factory and optax_factory(f"{package}.{name}"):
                return f"{package}.{name}"
    return None


def _takes_learning_rate(value: Any) -> bool:
    if not callable(value) or isinstance(value, type):
        return False
    try:
        return any(name.endswith("learning_rate") for name in inspect.signature(value).parameters)
    except (TypeError, ValueError):  # an alias of typing
        return False


def definition_of_factory(factory: Factory) -> Definition:
    """The arguments of a factory. Nothing is known of their ranges: the factory checks them."""
    arguments = {
        parameter.name: _argument(parameter)
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    return Definition(optax_name(factory) or f"grouped({getattr(factory, '__name__', short(factory))})", arguments)


def _argument(parameter: inspect.Parameter) -> Argument:
    """Whether an argument is a number, which may be scheduled, or an option, which is passed on as it is.

    The annotation decides, and the default: a bool makes an option, and a whole number too, which counts iterations or
    is a rank.
    """
    default, hint = parameter.default, parameter.annotation
    members = set(typing.get_args(hint)) if typing.get_origin(hint) in (typing.Union, types.UnionType) else {hint}
    numbers = {member for member in members if typing.get_origin(member) is not collections.abc.Callable}
    may_be_none = default is None or types.NoneType in members
    if parameter.name.endswith("learning_rate"):
        return Argument(default, functools.partial(_number, may_be_none), False)
    if hint is inspect.Parameter.empty or isinstance(hint, str):
        return Argument(default, _as_given, isinstance(default, bool))
    if hint is bool or (isinstance(default, bool) and float in members):  # optax 0.2.5 calls a flag of adafactor so
        return Argument(default, _bool, True)
    if typing.get_origin(hint) is tuple and isinstance(default, tuple) and all(map(is_host_number, default)):
        return Argument(default, functools.partial(_tuple, len(default)), False)
    if numbers & {float, jax.Array} and numbers <= _NUMBERS and type(default) is not int:
        return Argument(default, functools.partial(_number, may_be_none), False)
    return Argument(default, _option, True)


def _as_given(name: str, value: Any) -> Any:
    del name
    return value


def _number(may_be_none: bool, name: str, value: Any) -> Any:
    return value if value is None and may_be_none else check_value(name, value)


def _tuple(length: int, name: str, value: Any) -> Any:
    if not isinstance(value, tuple | list) or len(value) != length:
        raise ValueError(f"{name} must be a tuple of {length} numbers, got {short(value)}")
    return tuple(_number(False, f"{name}[{i}]", item) for i, item in enumerate(value))


def _bool(name: str, value: Any) -> Any:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be a bool, got {short(value)}")
    return value


def _option(name: str, value: Any) -> Any:
    """An option as it is; a dtype by its name, which compares and can be written."""
    del name
    is_scalar_type = isinstance(value, type) and (hasattr(value, "dtype") or issubclass(value, np.generic))
    return str(np.dtype(value)) if is_scalar_type or isinstance(value, np.dtype) else value
