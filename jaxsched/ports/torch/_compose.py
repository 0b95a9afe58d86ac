"""torch's SequentialLR and ChainedScheduler (torch 2.13.0, ``torch/optim/lr_scheduler.py``)."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from jaxsched import checks as _checks
from jaxsched.checks import short
from jaxsched.ports.torch._base import LastEpoch, Rule, Scheduler, WholeLength, host_base
from jaxsched.ports.torch._schedulers import ReduceLROnPlateau
from jaxsched.schedules import Schedule, product, sequential, table


def _members(name: str, value: Any) -> tuple[Scheduler, ...]:
    if isinstance(value, str | Scheduler) or not isinstance(value, Sequence) or not value:
        raise TypeError(f"{name} must be a list of schedulers, got {short(value)}")
    for i, member in enumerate(value):
        if isinstance(member, ReduceLROnPlateau):
            raise ValueError(f"{name}[{i}] is a ReduceLROnPlateau, which needs metrics; multiply the schedules instead")
        if not isinstance(member, Scheduler):
            raise TypeError(
                f"{name}[{i}] must be a scheduler of ports.torch, without a learning rate; got {short(member)}"
            )
    return tuple(value)


Members = Annotated[Sequence[Scheduler], _members]


@dataclasses.dataclass(frozen=True)
class _Composed(Scheduler):
    """The base class of schedulers with members."""

    schedulers: Members

    def for_group(self, group: int) -> Any:
        return dataclasses.replace(self, schedulers=[member.for_group(group) for member in self.schedulers])

    def _need_one_group(self) -> None:
        for member in self.schedulers:
            member._need_one_group()

    def _bases(self, base: Any) -> list[Any]:
        """The base that each member finds at its construction, and the base after all of them."""
        bases = [base]
        for i, member in enumerate(self.schedulers):
            bases.append(member._base_after(bases[-1], i == 0))
        return bases

    def _base_after(self, base: Any, first: bool) -> Any:
        for i, member in enumerate(self.schedulers):
            base = member._base_after(base, first and i == 0)
        return base

    def _followed(self, lr: Any, steps: int) -> Schedule:
        """The table of values from running the rule, for a group with this learning rate."""
        base = host_base(type(self).__name__, lr)
        rule = self._rule(base, steps)
        values = np.empty(steps)
        value = base
        for t in range(steps):
            value = values[t] = rule(value, t)
        return table(values)


@dataclasses.dataclass(frozen=True)
class SequentialLR(_Composed):
    """One scheduler after another: ``schedulers[k]`` starts at step ``milestones[k - 1]``, and counts from there.

    As in torch, each member starts from the base learning rate, whatever the previous one reached, and holds its own
    last value until the next starts. `MultiplicativeLR` and `SWALR` continue from the current learning rate instead:
    they need ``steps``, the length of the run, and a learning rate that is a Python number. A `OneCycleLR` in the list
    sets the base of all members; a `CyclicLR` that comes first sets the base of those after it.

    Unlike in torch, a `ChainedScheduler` or `SequentialLR` may be a member like any other (torch raises, or is one step
    early).

    Args:
        schedulers: The members.
        milestones: The steps at which the second and later members start, ascending.
        last_epoch: The last step that was taken; -1 to start from the beginning.
        steps: The length of the run, needed where there is no closed form; the last value is held after it.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> t = js.ports.torch
        >>> warm, decay = t.LinearLR(start_factor=0.5, total_iters=2), t.ExponentialLR(gamma=0.5)
        >>> t.SequentialLR([warm, decay], milestones=[2])(1.0)(jnp.arange(5))
        Array([0.5 , 0.75, 1.  , 0.5 , 0.25], dtype=float32)
    """

    milestones: Annotated[Sequence[int], _checks.milestones]
    last_epoch: LastEpoch = -1
    steps: WholeLength | None = None

    def _check(self) -> None:
        if len(self.milestones) != len(self.schedulers) - 1:
            self._fail(
                f"{len(self.schedulers)} schedulers need {len(self.schedulers) - 1} milestones, "
                f"got {short(self.milestones)}"
            )
        for i, member in enumerate(self.schedulers):
            if getattr(member, "last_epoch", -1) != -1:
                self._fail(f"schedulers[{i}] has a last_epoch; give it to SequentialLR alone")
            if self._is_carried(i) and self.steps is None:
                self._fail(
                    f"schedulers[{i}] ({type(member).__name__}) goes on from the learning rate it finds, so there is "
                    "no closed form; give steps=..., the length of the run"
                )

    def _is_carried(self, i: int) -> bool:
        return self.schedulers[i].continues_from_current and i > 0 and self.milestones[i - 1] > 0

    def _schedule(self, lr: Any) -> Schedule:
        if any(map(self._is_carried, range(len(self.schedulers)))):
            return self._followed(lr, self.steps)  # type: ignore[arg-type]
        bases = self._bases(lr)
        first = bisect.bisect_right(self.milestones, 0)
        if self.schedulers[first].acts_on_lr:
            bases[first] = bases[-1]  # torch resets the learning rate to what the last construction left
        parts = [member._schedule(base) for member, base in zip(self.schedulers, bases, strict=False)]
        return sequential(parts, at=self.milestones) if self.milestones else parts[0]

    def _rule(self, base: float, steps: int) -> Rule:
        bases = self._bases(base)
        rules = [member._rule(at, steps) for member, at in zip(self.schedulers, bases, strict=False)]

        def rule(lr: float, t: int) -> float:
            i = bisect.bisect_right(self.milestones, t)
            since = t - (self.milestones[i - 1] if i else 0)
            if since:
                return rules[i](lr, since)
            if t == 0:
                return rules[i](bases[-1], 0)
            if self.schedulers[i].continues_from_current:
                return self.schedulers[i]._taken_over(lr)
            return rules[i](bases[i], 0)

        return rule

    def _momentum(self) -> Schedule | None:
        cycled = [member._momentum() for member in self.schedulers]
        if all(part is None for part in cycled):
            return None
        # Each member that cycles the momentum sets it at construction; the others leave it unchanged.
        stands = float([part for part in cycled if part is not None][-1](0))
        parts: list[Any] = []
        begins = [0, *self.milestones]
        for part, begin, end in zip(cycled, begins, [*self.milestones, None], strict=True):
            parts.append(stands if part is None else part)
            if part is not None and end is not None and end > begin:
                stands = float(part(end - begin - 1))
        return sequential(parts, at=self.milestones)


@dataclasses.dataclass(frozen=True)
class ChainedScheduler(_Composed):
    """All schedulers at each step, one after another on the same learning rate.

    Schedulers that multiply (`StepLR`, `MultiStepLR`, `ConstantLR`, `LinearLR`, `ExponentialLR`, `PolynomialLR`) give
    the product of their factors. Other schedulers overwrite the current value or add to it: with these the rules are
    run on the host in float64 for ``steps`` steps, and the learning rate must be a Python number. The result is that
    of torch: a `CosineAnnealingLR` with a floor, combined with another decay, may go below that floor, and below 0
    after its ``T_max``.

    Args:
        schedulers: The members, in order.
        steps: The length of the run, needed where there is no closed form; the last value is held after it.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> t = js.ports.torch
        >>> both = t.ChainedScheduler([t.ConstantLR(factor=0.1, total_iters=2), t.ExponentialLR(gamma=0.5)])
        >>> both(1.0)(jnp.arange(4))
        Array([0.1  , 0.05 , 0.25 , 0.125], dtype=float32)
    """

    steps: WholeLength | None = None

    def _check(self) -> None:
        if len({getattr(member, "last_epoch", -1) for member in self.schedulers}) > 1:
            self._fail("the last_epoch of all schedulers must be the same")
        others = [type(member).__name__ for member in self.schedulers if not member.is_factor]
        if others and len(self.schedulers) > 1 and self.steps is None:
            self._fail(f"with {' and '.join(others)} there is no closed form; give steps=..., the length of the run")

    @property
    def last_epoch(self) -> int:
        return getattr(self.schedulers[0], "last_epoch", -1)

    @property
    def is_factor(self) -> bool:  # type: ignore[override]
        return all(member.is_factor for member in self.schedulers)

    def _schedule(self, lr: Any) -> Schedule:
        if len(self.schedulers) == 1:
            return self.schedulers[0]._schedule(lr)
        if self.is_factor:
            return product(lr, *(member._schedule(1.0) for member in self.schedulers))
        return self._followed(lr, self.steps)  # type: ignore[arg-type]

    def _rule(self, base: float, steps: int) -> Rule:
        bases = self._bases(base)
        rules = [member._rule(at, steps) for member, at in zip(self.schedulers, bases, strict=False)]

        def rule(lr: float, t: int) -> float:
            for each in rules:
                lr = each(lr, t)
            return lr

        return rule

    def _momentum(self) -> Schedule | None:
        cycled = [momentum for member in self.schedulers if (momentum := member._momentum()) is not None]
        return cycled[-1] if cycled else None
