"""A schedule written out, as its repr but with lengths in steps and in epochs, and broken where a line is too long."""

from __future__ import annotations

import inspect
from typing import Any

from jaxsched.report._moments import number, numbers
from jaxsched.report._table import epochs, short
from jaxsched.schedules import Schedule

LENGTHS = ("steps", "at", "every", "by", "after", "up", "down")
WIDTH = 110


def format_schedule(value: Any, steps_per_epoch: int | None = None, unit: str = "steps", width: int = WIDTH) -> str:
    """A number, a schedule or a pair of them.

    Args:
        value: What to write.
        steps_per_epoch: To give lengths in epochs too.
        unit: What ``value`` counts.
        width: Longer lines are broken.
    """
    if isinstance(value, tuple | list):
        return f"({', '.join(format_schedule(item, steps_per_epoch, unit, width) for item in value)})"
    if not isinstance(value, Schedule):
        known = number(value)
        return short(known) if known is not None else value if isinstance(value, str) else _other(value)
    if value.name == "constant":
        return format_schedule(value.arguments["value"])
    texts = list(_arguments(value, steps_per_epoch, unit, _inside(value, steps_per_epoch, unit), width - 2))
    line = f"{value.name}({', '.join(texts)})"
    if len(line) <= width and "\n" not in line:
        return line
    body = ",\n".join(texts).replace("\n", "\n  ")
    return f"{value.name}(\n  {body})"


def _inside(value: Schedule, steps_per_epoch: int | None, unit: str) -> str:
    """What is counted within a schedule that counts ``unit``."""
    per_epoch = number(value.arguments.get("steps_per_epoch"))
    if per_epoch is None:
        return unit
    if value.name == "by_update":
        return "updates"
    return "epochs" if per_epoch == steps_per_epoch and unit == "steps" else f"x {short(per_epoch)} {unit}"


def _arguments(value: Schedule, steps_per_epoch: int | None, unit: str, inside: str, width: int) -> Any:
    parameters = inspect.signature(value.maker).parameters
    for i, (name, argument) in enumerate(value.arguments.items()):
        parameter = parameters[name]
        if argument is None or (type(argument) in (bool, str, tuple) and argument == parameter.default):
            continue
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            yield from (format_schedule(item, steps_per_epoch, inside, width) for item in argument)
        elif name == "values" and value.name == "table":
            yield f"{len(argument)} values"
        elif name in ("schedules", "values"):
            items = [format_schedule(item, steps_per_epoch, inside, width) for item in argument]
            line = f"[{', '.join(items)}]"
            broken = "[" + ",\n".join(items).replace("\n", "\n ") + "]"
            yield line if len(line) <= width and "\n" not in line else broken
        elif isinstance(argument, Schedule) and i == 0:
            yield format_schedule(argument, steps_per_epoch, inside, width)
        elif name == "steps_per_epoch":
            yield short(number(argument))
        elif name in LENGTHS and not isinstance(argument, Schedule) and value.name != "by_update":
            yield f"{name}={_length(argument, steps_per_epoch, unit)}"
        else:
            yield f"{name}={format_schedule(argument, steps_per_epoch, inside, width)}"


def _length(value: Any, steps_per_epoch: int | None, unit: str) -> str:
    several = numbers(value)
    text = f"({', '.join(map(short, several))}{',' if len(several) == 1 else ''})" if several else short(number(value))
    if unit != "steps":
        return f"{text} {unit}"
    if not steps_per_epoch:
        return text
    return f"{text} [{', '.join(epochs(t, steps_per_epoch) for t in several or [number(value) or 0.0])} epochs]"


def _other(value: Any) -> str:
    return getattr(value, "__name__", repr(value)) if callable(value) else repr(value)
