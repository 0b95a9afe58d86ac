"""A schedule written out, as its repr but with lengths in steps and in epochs, and broken where a line is too long."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxsched.checks import Role, argument_roles
from jaxsched.report._table import epochs, short
from jaxsched.schedules import Clock, Schedule
from jaxsched.schedules.internal import inner_clocks, number, numbers

WIDTH = 110
OF_THE_RUN = Clock()
MOST_LENGTHS = 50
"""Lengths and schedules of a sequence that are written one by one; of more, the first ones."""
MOST_NUMBERS = 6
"""Longer arrays are given by their length."""


def format_schedule(
    value: Any, steps_per_epoch: int | None = None, clock: Clock | None = OF_THE_RUN, width: int = WIDTH
) -> str:
    """A number, a schedule or a pair of them.

    Args:
        value: What to write.
        steps_per_epoch: Gives lengths in epochs too.
        clock: How ``value`` counts; None where that is not known.
        width: Longer lines are broken.
    """
    if isinstance(value, tuple | list):
        return f"({', '.join(format_schedule(item, steps_per_epoch, clock, width) for item in value)})"
    if not isinstance(value, Schedule):
        known = number(value)
        return short(known) if known is not None else value if isinstance(value, str) else _other(value)
    texts = list(_arguments(value, steps_per_epoch, clock, width - 2))
    line = f"{value.name}({', '.join(texts)})"
    if len(line) <= width and "\n" not in line:
        return line
    body = ",\n".join(texts).replace("\n", "\n  ")
    return f"{value.name}(\n  {body})"


def _arguments(value: Schedule, steps_per_epoch: int | None, clock: Clock | None, width: int) -> Iterator[str]:
    parameters = inspect.signature(value.maker).parameters
    roles = argument_roles(value.maker)
    inside = None if clock is None else inner_clocks(value, clock)
    for i, (name, argument) in enumerate(value.arguments.items()):
        parameter = parameters[name]
        its_clock = None if inside is None else inside.get(name, clock)
        if argument is None or (type(argument) in (bool, str, tuple) and argument == parameter.default):
            continue
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            yield from _first(argument, [its_clock] * len(argument), steps_per_epoch, width)
        elif roles.get(name) is Role.STEPS and not isinstance(argument, Schedule):
            yield f"{name}={_length(argument, steps_per_epoch, clock)}"
        elif isinstance(argument, tuple) and any(isinstance(item, Schedule) for item in argument):
            each = its_clock if isinstance(its_clock, list) else [its_clock] * len(argument)
            items = list(_first(argument, each, steps_per_epoch, width))
            line = f"[{', '.join(items)}]"
            broken = "[" + ",\n".join(items).replace("\n", "\n ") + "]"
            yield line if len(line) <= width and "\n" not in line else broken
        elif isinstance(argument, Schedule) and i == 0:
            yield format_schedule(argument, steps_per_epoch, its_clock, width)
        elif np.ndim(argument) and not isinstance(argument, Schedule) and np.size(argument) > MOST_NUMBERS:
            yield f"{np.size(argument)} values" if i == 0 else f"{name}={np.size(argument)} values"
        elif np.ndim(argument) and (several := numbers(argument)):
            yield f"{name}=[{', '.join(map(short, several))}]"
        else:
            yield f"{name}={format_schedule(argument, steps_per_epoch, its_clock, width)}"


def _first(items: Sequence[Any], clocks: Sequence[Clock | None], per_epoch: int | None, width: int) -> Iterator[str]:
    """The items written out; of many, the first ones and how many more there are."""
    for item, clock in zip(items[:MOST_LENGTHS], clocks, strict=False):
        yield format_schedule(item, per_epoch, clock, width)
    if len(items) > MOST_LENGTHS:
        yield f"... and {len(items) - MOST_LENGTHS:,} more"


def _length(value: Any, steps_per_epoch: int | None, clock: Clock | None) -> str:
    several = numbers(value)
    one = number(value)
    if several and len(several) > MOST_LENGTHS:
        several, rest = several[:MOST_LENGTHS], f", ... {len(several)} in all, to {short(several[-1])}"
        text = f"({', '.join(map(short, several))}{rest})"
    elif several:
        text = f"({', '.join(map(short, several))}{',' if len(several) == 1 else ''})"
    else:
        text = _other(value) if one is None else short(one)
    if clock is None:
        return text
    if clock.unit != "steps":
        return f"{text} {'epochs' if clock.unit == f'x {steps_per_epoch} steps' else clock.unit}"
    if not steps_per_epoch:
        return text
    return f"{text} [{', '.join(epochs(t, steps_per_epoch) for t in several or [one or 0.0])} epochs]"


def _other(value: Any) -> str:
    return getattr(value, "__name__", repr(value)) if callable(value) else repr(value)
