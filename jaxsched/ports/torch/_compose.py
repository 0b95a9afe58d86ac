"""torch's schedulers of schedulers: one after another, and all at once (torch 2.13.0, ``lr_scheduler.py``)."""

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
    """What the two have in common."""

    schedulers: Members

    def for_group(self, group: int) -> Any:
        return dataclasses.replace(self, schedulers=[member.for_group(group) for member in self.schedulers])

    def _need_one_group(self) -> None:
        for member in self.schedulers:
            member._need_one_group()

    def _bases(self, base: Any) -> list[Any]:
        """For each member the base that it finds when it is constructed, and the one that all of them leave."""
        bases = [base]
        for i, member in enumerate(self.schedulers):
            bases.append(member._base_after(bases[-1], i == 0))
        return bases

    def _base_after(self, base: Any, first: bool) -> Any:
        for i, member in enumerate(self.schedulers):
            base = member._base_after(base, first and i == 0)
        return base

    def _followed(self, lr: Any, steps: int) -> Schedule:
        """The table that the rule gives, for a group with this learning rate."""
        base = host_base(type(self).__name__, lr)
        rule = self._rule(base, steps)
        values = np.empty(steps)
        value = base
        for t in range(steps):
            value = values[t] = rule(value, t)
        return table(values)


@dataclasses.dataclass(frozen=True)
class SequentialLR(_Composed):
    """One scheduler after another: ``schedulers[k]`` from step ``milestones[k - 1]`` on, its clock at 0 there.

    As in torch each begins from the base learning rate, whatever the one before it came to, and stays at its own value
    until the next begins. `MultiplicativeLR` and `SWALR` go on from what they find instead: for these ``steps``, the
    length of the run, is needed, and so is a learning rate that is a number. An `OneCycleLR` in the list sets the base
    of all; a `CyclicLR` that is first that of those after it.

    Not as in torch, where they raise or are one step early: a `ChainedScheduler` or `SequentialLR` within it is begun
    like any other.

    Args:
        schedulers: The members.
        milestones: Where each but the first begins, ascending.
        last_epoch: The last step that was taken; -1 from the beginning.
        steps: The length of the run, where there is no closed form; after it the last value stays.

    Example:
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
        return self.schedulers[i].carries and i > 0 and self.milestones[i - 1] > 0

    def _schedule(self, lr: Any) -> Schedule:
        if any(map(self._is_carried, range(len(self.schedulers)))):
            return self._followed(lr, self.steps)  # type: ignore[arg-type]
        bases = self._bases(lr)
        first = bisect.bisect_right(self.milestones, 0)
        if self.schedulers[first].acts_on_lr:
            bases[first] = bases[-1]  # the learning rate is set back to what the last construction left
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
            if self.schedulers[i].carries:
                return self.schedulers[i]._taken_over(lr)
            return rules[i](bases[i], 0)

        return rule

    def _momentum(self) -> Schedule | None:
        cycled = [member._momentum() for member in self.schedulers]
        if all(part is None for part in cycled):
            return None
        # Each sets the momentum when it is constructed; one that does not cycle it leaves it as it is.
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

    Those that multiply (`StepLR`, `MultiStepLR`, `ConstantLR`, `LinearLR`, `ExponentialLR`, `PolynomialLR`) give the
    product of their factors. Others overwrite what the ones before them did, or add to it; with these the rules are
    followed on the host in float64 for ``steps`` steps, for a learning rate that is a number. What comes out is what
    torch does: a `CosineAnnealingLR` with a floor, beside another decay, may go below that floor, and below 0 after
    its ``T_max``.

    Args:
        schedulers: The members, in their order.
        steps: The length of the run, where there is no closed form; after it the last value stays.

    Example:
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
