"""The scheduler that a config names, and how often Lightning steps it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import did_you_mean, short
from jaxsched.ports import shared
from jaxsched.ports.torch import _compose, _cycles, _functions, _schedulers
from jaxsched.ports.torch._base import Scheduler
from jaxsched.ports.torch.config._nodes import node_at
from jaxsched.schedules import Schedule, per_epoch

SCHEDULERS: dict[str, type[Scheduler]] = {
    name: value
    for module in (_compose, _cycles, _functions, _schedulers)
    for name, value in vars(module).items()
    if inspect.isclass(value) and issubclass(value, Scheduler) and not name.startswith("_") and value is not Scheduler
}
"""torch's schedulers by the names of their classes."""
_DROPPED = ("optimizer", "verbose", "monitor")
"""Arguments that the program gives, that torch no longer has, or that are Lightning's."""


def scheduler_of(where: str, name: str, arguments: Mapping[str, Any], steps: int | None) -> Scheduler:
    """The scheduler of a class of torch, with those within it.

    Args:
        where: The setting, in errors.
        name: The class, without its module.
        arguments: Its arguments, references resolved.
        steps: How often it is stepped in the run, which some that hold others need.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If the class is not known, or an argument is out of its range.
    """
    if name not in SCHEDULERS:
        raise ValueError(
            f"{where} must be one of torch's {', '.join(sorted(SCHEDULERS))}, got {short(name)}"
            f"{did_you_mean(name, SCHEDULERS)}"
        )
    if name in ("LambdaLR", "MultiplicativeLR"):
        raise ValueError(
            f"{where}: {name} calls a function, and no code of a config is run; write js.ports.torch.{name} into the "
            "recipe"
        )
    made = SCHEDULERS[name]
    given: dict[str, Any] = {}
    for key, value in arguments.items():
        if key == "schedulers" and isinstance(value, list):
            given[key] = [_member(f"{where}: schedulers[{i}]", item, steps) for i, item in enumerate(value)]
        elif key not in _DROPPED:
            given[key] = _number(f"{where}: {key}", value)
    if steps is not None and issubclass(made, _compose.SequentialLR | _compose.ChainedScheduler):
        given["steps"] = steps
    required = [f.name for f in dataclasses.fields(made) if f.default is f.default_factory is dataclasses.MISSING]
    shared.check_names(where, given, [field.name for field in dataclasses.fields(made)], required)
    try:
        return made(**given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from None


def _member(where: str, value: Any, steps: int | None) -> Scheduler:
    node = node_at(where, value, {})
    if node is None:
        raise TypeError(f"{where} must name a class, got {short(value)}")
    return scheduler_of(where, node.short_name, node.arguments, steps)


def _number(where: str, value: Any) -> Any:
    """A number that YAML reads as a string, such as 1e-3; lists of them; anything else as it is."""
    if isinstance(value, list):
        return [_number(f"{where}[{i}]", item) for i, item in enumerate(value)]
    return shared.as_number(where, value) if isinstance(value, str) and value[:1].isdigit() else value


@dataclasses.dataclass(frozen=True)
class Clock:
    """How often a scheduler is stepped.

    Attributes:
        interval: ``"epoch"`` or ``"step"``, which is an update.
        frequency: Once in so many epochs or batches.
        every: Batches per update; the last batch of an epoch is an update too.
        steps_per_epoch: Batches in an epoch, where that matters.
    """

    interval: str
    frequency: int
    every: int
    steps_per_epoch: int | None

    def by_batch(self, schedule: Schedule) -> Schedule:
        """A schedule that counts the scheduler's steps, by batches."""
        if self.interval == "epoch":
            assert self.steps_per_epoch
            return per_epoch(schedule, self.steps_per_epoch * self.frequency)
        if self.frequency > 1:
            return per_epoch(schedule, self.frequency)
        if self.every > 1:
            assert self.steps_per_epoch
            return shared.by_update(schedule, self.every, self.steps_per_epoch)
        return schedule

    def counts(self, steps: int | None) -> int | None:
        """How often the scheduler is stepped in a run of so many batches, rounded up."""
        if steps is None:
            return None
        if self.interval == "epoch":
            assert self.steps_per_epoch
            return -(-steps // (self.steps_per_epoch * self.frequency))
        return -(-steps // self.frequency)
