"""The base class of torch's schedulers: checked arguments, groups, and how they act on a learning rate.

A scheduler of torch is a rule that changes the learning rate of a group step by step. Most have a closed form, which
becomes a `Schedule`. Several schedulers on one learning rate may have none: then the rules are run on the host in
float64, and their values become a table.
"""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched.checks import check_fields, count, did_you_mean, not_negative, number, positive, short, whole_length
from jaxsched.numerics import is_host_number
from jaxsched.ports.shared import shifted
from jaxsched.schedules import Schedule

Rule = Callable[[float, int], float]
"""Maps the current learning rate and the step to the new learning rate, on the host; step 0 is construction."""
S = TypeVar("S", bound="Scheduler")


@dataclasses.dataclass(frozen=True)
class Scheduler:
    """A scheduler of torch with its arguments: called with a learning rate it gives the `Schedule`.

    If an argument is a list with an entry for each group, `for_group` returns the scheduler of one group. Where a
    scheduler has ``last_epoch``, it is torch's: the number of steps taken less one, -1 at the start of the run; step 0
    of the schedule is then step ``last_epoch + 1`` of the run.

    Attributes:
        acts_on_lr: Whether it changes the current learning rate, rather than overwriting it.
        is_factor: Whether it multiplies by a factor that does not depend on the learning rate, so that others may act
            too.
        continues_from_current: Whether it starts from the current learning rate, not from the base, if it starts in the
            middle of a run.
        per_group: The arguments that may be lists.
    """

    acts_on_lr: ClassVar[bool] = True
    is_factor: ClassVar[bool] = False
    continues_from_current: ClassVar[bool] = False
    per_group: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Raise an error with the remedy if the optimizer is passed, as in torch, or a keyword is misspelt."""
        fields = [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
        if "optimizer" in kwargs or any(hasattr(value, "param_groups") for value in args):
            raise TypeError(
                f"{cls.__name__}: leave the optimizer out, and call what you get with the base lr: "
                f"{cls.__name__}({', '.join(fields[:1])}=...)(0.1)"
            )
        for name in kwargs:
            if name not in fields:
                hint = did_you_mean(name, fields) or f"; there are {', '.join(fields)}"
                raise TypeError(f"{cls.__name__}: there is no argument {short(name)}{hint}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        check_fields(self, by_item=self.per_group)
        self._check()

    def __call__(self, lr: Any) -> Schedule:
        """The learning rate of a group at each step.

        Args:
            lr: The group's base learning rate (torch's ``initial_lr``).

        Raises:
            TypeError: If it is a step: a whole number other than 1, or an array of them.
        """
        if _is_step(lr):
            name = type(self).__name__
            raise TypeError(
                f"{name}: it is called with the base lr, which gives the schedule, and that with a step: "
                f"{name}(...)(0.1)({short(lr)}); a base lr that is whole is written as a float"
            )
        lr = number("lr", lr)
        self._need_one_group()
        return self._from_last_epoch(self._schedule(lr))

    @property
    def momentum(self) -> Schedule | None:
        """The momentum (or first beta) at each step; None if the scheduler does not change it."""
        self._need_one_group()
        momentum = self._momentum()
        return None if momentum is None else self._from_last_epoch(momentum)

    def for_group(self: S, group: int) -> S:
        """The scheduler of one group, with its entry of each list."""
        lists = {name: getattr(self, name) for name in self.per_group if isinstance(getattr(self, name), tuple)}
        for name, values in lists.items():
            if not 0 <= group < len(values):
                raise ValueError(f"{type(self).__name__}: {name} has {len(values)} entries, none for group {group}")
        return dataclasses.replace(self, **{name: values[group] for name, values in lists.items()})

    def _from_last_epoch(self, schedule: Schedule) -> Schedule:
        taken = getattr(self, "last_epoch", -1) + 1
        return shifted(schedule, taken) if taken else schedule

    def _need_one_group(self) -> None:
        for name in self.per_group:
            value = getattr(self, name)
            if isinstance(value, tuple):
                kind = type(self).__name__
                raise ValueError(f"{kind}: {name} is a list, one for each group; take {kind}(...).for_group(0)")

    def _check(self) -> None:
        """Check the arguments together."""

    def _fail(self, message: str) -> typing.NoReturn:
        raise ValueError(f"{type(self).__name__}: {message}")

    def _schedule(self, lr: Any) -> Schedule:
        """The closed form, from step 0 on."""
        raise NotImplementedError

    def _momentum(self) -> Schedule | None:
        return None

    def _rule(self, base: float, steps: int) -> Rule:
        """The rule for a group with this base, for ``steps`` steps; this one is for schedulers that overwrite."""
        values = exact(self._schedule(base), steps)
        return lambda lr, step: float(values[step])

    def _taken_over(self, lr: float) -> float:
        """Its first value after the learning rate ``lr``, if it starts in the middle of a run."""
        raise NotImplementedError

    def _base_after(self, base: Any, first: bool) -> Any:
        """The base of schedulers that are constructed after it."""
        del first
        return base


def _is_step(value: Any) -> bool:
    if isinstance(value, bool | jax.core.Tracer):
        return False
    if isinstance(value, int):
        return value != 1
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.integer)


def exact(of: Schedule, steps: int) -> np.ndarray:
    """The values at the first ``steps`` steps in float64."""
    home: Any = jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")  # before jax 0.8
    with home.enable_x64(True):
        return np.asarray(of(np.arange(steps)), np.float64)


def why_untraceable(function: Callable[[Any], Any]) -> str:
    """Why jax cannot trace a function of a whole number; empty if it can."""
    try:
        jax.eval_shape(function, jax.ShapeDtypeStruct((), np.int32))
    except Exception as error:  # whatever the user's function raises
        return type(error).__name__
    return ""


def host_base(where: str, lr: Any) -> float:
    """A learning rate as a Python number, as a table needs."""
    if not is_host_number(lr):
        raise TypeError(f"{where}: without a closed form lr must be a Python number, not traced; got {short(lr)}")
    return float(lr)


def _on_host(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def checked(name: str, value: Any) -> Any:
        if hasattr(value, "dtype") and not is_host_number(value):
            raise TypeError(
                f"{name} must be a Python number; only the learning rate may be an array; got {short(value)}"
            )
        return check(name, value)

    return checked


def _share(name: str, value: Any) -> Any:
    value = number(name, value)
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {short(value)}")
    return value


def _last_epoch(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int) or value < -1:
        raise ValueError(f"{name} must be -1, or the index of the last step that was taken; got {short(value)}")
    return value


LastEpoch = Annotated[int, _last_epoch]
"""-1 to start from the beginning; otherwise the last step that was taken."""
Number = Annotated[float, _on_host(number)]
Positive = Annotated[float, _on_host(positive)]
Factor = Annotated[float, _on_host(not_negative)]
Share = Annotated[float, _on_host(_share)]
WholeLength = Annotated[int, _on_host(whole_length)]
Count = Annotated[int, _on_host(count)]
