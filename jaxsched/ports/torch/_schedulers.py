"""torch's schedulers that change the current learning rate (torch 2.13.0, ``torch/optim/lr_scheduler.py``)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from jaxsched.checks import choice, number, short
from jaxsched.metric import plateau
from jaxsched.metric.internal import below_one
from jaxsched.ports.torch._base import Count, Factor, LastEpoch, Number, Positive, Rule, Scheduler, Share, WholeLength
from jaxsched.schedules import (
    Schedule,
    constant,
    exponential,
    linear,
    multi_step,
    periodic_cosine,
    piecewise,
    polynomial,
    step_decay,
    table,
)


def _milestones(name: str, value: Any) -> tuple[int, ...]:
    """Milestones in any order, as in torch; one that would never act is an error."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be a sequence of steps such as [30, 60], got {short(value)}")
    steps = [number(f"{name}[{i}]", step) for i, step in enumerate(value)]
    for i, step in enumerate(steps):
        if step != int(step) or step < 0:
            raise ValueError(f"{name}[{i}] must be a whole number >= 0, got {short(step)}; torch would never act on it")
    return tuple(sorted(map(int, steps)))


@dataclasses.dataclass(frozen=True)
class StepLR(Scheduler):
    """``lr * gamma ** (t // step_size)`` at step ``t``, without end.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.torch.StepLR(step_size=2, gamma=0.5)(1.0)(jnp.arange(5))
        Array([1.  , 1.  , 0.5 , 0.5 , 0.25], dtype=float32)
    """

    is_factor = True
    step_size: WholeLength
    gamma: Factor = 0.1
    last_epoch: LastEpoch = -1

    def _schedule(self, lr: Any) -> Schedule:
        return step_decay(lr, self.step_size, self.gamma)

    def _rule(self, base: float, steps: int) -> Rule:
        return lambda lr, t: lr * self.gamma if t and t % self.step_size == 0 else lr


@dataclasses.dataclass(frozen=True)
class MultiStepLR(Scheduler):
    """``lr * gamma ** k`` with ``k`` the number of milestones at or before the step, without end.

    As in torch their order does not matter, one given twice acts twice, and one at 0 acts from the start. A negative or
    fractional one, on which torch never acts, is an error.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.torch.MultiStepLR(milestones=[3, 2], gamma=0.5)(1.0)(jnp.arange(5))
        Array([1.  , 1.  , 0.5 , 0.25, 0.25], dtype=float32)
    """

    is_factor = True
    milestones: Annotated[Sequence[int], _milestones]
    gamma: Factor = 0.1
    last_epoch: LastEpoch = -1

    def _schedule(self, lr: Any) -> Schedule:
        return multi_step(lr, self.milestones, self.gamma) if self.milestones else constant(lr)

    def _rule(self, base: float, steps: int) -> Rule:
        return lambda lr, t: lr * self.gamma ** self.milestones.count(t)


@dataclasses.dataclass(frozen=True)
class ConstantLR(Scheduler):
    """``lr * factor`` for ``t < total_iters``, then ``lr``.

    As in torch, a ``total_iters`` that is not a whole number above 0 is never reached: the value is ``lr * factor``
    forever. (Unlike in torch: with ``factor=0`` torch divides by zero at ``total_iters``, where this returns to ``lr``;
    and torch treats a ``total_iters`` of 0 as over if it starts at a milestone of a `SequentialLR`.)

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.torch.ConstantLR(factor=0.5, total_iters=2)(1.0)(jnp.arange(4))
        Array([0.5, 0.5, 1. , 1. ], dtype=float32)
    """

    is_factor = True
    factor: Share = 1.0 / 3
    total_iters: Number = 5
    last_epoch: LastEpoch = -1

    def _schedule(self, lr: Any) -> Schedule:
        if self.total_iters <= 0 or self.total_iters != int(self.total_iters):
            return constant(lr * self.factor)
        return piecewise([lr * self.factor, lr], at=[int(self.total_iters)])

    def _rule(self, base: float, steps: int) -> Rule:
        back = 1.0 / self.factor if self.factor else math.inf

        def rule(lr: float, t: int) -> float:
            if t == 0:
                return lr * self.factor
            return lr * back if t == self.total_iters else lr

        return rule


@dataclasses.dataclass(frozen=True)
class LinearLR(Scheduler):
    """``lr * (start_factor + (end_factor - start_factor) * t / total_iters)``, then ``lr * end_factor``.

    As in torch, with a ``total_iters`` of 0 or below it stays at ``lr * start_factor``, and with a fractional one it
    stops at the last whole step before it.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.torch.LinearLR(start_factor=0.5, total_iters=2)(1.0)(jnp.arange(4))
        Array([0.5 , 0.75, 1.  , 1.  ], dtype=float32)
    """

    is_factor = True
    start_factor: Share = 1.0 / 3
    end_factor: Share = 1.0
    total_iters: Number = 5
    last_epoch: LastEpoch = -1

    def _check(self) -> None:
        if self.start_factor == 0:
            self._fail("start_factor must be above 0, got 0: torch divides by it; give a small number such as 1e-6")

    def _schedule(self, lr: Any) -> Schedule:
        whole = math.floor(self.total_iters)
        if whole <= 0:
            return constant(lr * self.start_factor)
        end = self.end_factor
        if whole != self.total_iters:
            end = self.start_factor + (self.end_factor - self.start_factor) * whole / self.total_iters
        return linear(lr * self.start_factor, lr * end, whole)

    def _rule(self, base: float, steps: int) -> Rule:
        start, change = self.start_factor, self.end_factor - self.start_factor

        def rule(lr: float, t: int) -> float:
            if t == 0:
                return lr * start
            return lr if t > self.total_iters else lr * (1.0 + change / (self.total_iters * start + (t - 1) * change))

        return rule


@dataclasses.dataclass(frozen=True)
class ExponentialLR(Scheduler):
    """``lr * gamma ** t``, without end.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.torch.ExponentialLR(gamma=0.5)(1.0)(jnp.arange(4))
        Array([1.   , 0.5  , 0.25 , 0.125], dtype=float32)
    """

    is_factor = True
    gamma: Factor
    last_epoch: LastEpoch = -1

    def _schedule(self, lr: Any) -> Schedule:
        return exponential(lr, self.gamma)

    def _rule(self, base: float, steps: int) -> Rule:
        return lambda lr, t: lr * self.gamma if t else lr


@dataclasses.dataclass(frozen=True)
class PolynomialLR(Scheduler):
    """``lr * (1 - t / total_iters) ** power``, then 0.

    As in torch, with a ``total_iters`` of 0 or below it stays at ``lr``, and with a fractional one it stops at the last
    whole step before it.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.torch.PolynomialLR(total_iters=2, power=2.0)(1.0)(jnp.arange(4))
        Array([1.  , 0.25, 0.  , 0.  ], dtype=float32)
    """

    is_factor = True
    total_iters: Number = 5
    power: Factor = 1.0
    last_epoch: LastEpoch = -1

    def _schedule(self, lr: Any) -> Schedule:
        whole = math.floor(self.total_iters)
        if whole <= 0 or self.power == 0:
            return constant(lr)
        if whole == self.total_iters:
            return polynomial(lr, 0.0, whole, self.power)
        left = (1.0 - np.arange(whole + 1) / self.total_iters) ** self.power
        return lr * table(left)

    def _rule(self, base: float, steps: int) -> Rule:
        def rule(lr: float, t: int) -> float:
            if t == 0 or t > self.total_iters:
                return lr
            return lr * ((1.0 - t / self.total_iters) / (1.0 - (t - 1) / self.total_iters)) ** self.power

        return rule


@dataclasses.dataclass(frozen=True)
class CosineAnnealingLR(Scheduler):
    """``eta_min + (lr - eta_min) * (1 + cos(pi * t / T_max)) / 2``: ``lr`` at step 0, ``eta_min`` at ``T_max``.

    As in torch it then rises again, to ``lr`` at ``2 * T_max``, and so on (``js.cosine`` stays at its floor). ``T_max``
    need not be whole, and ``eta_min`` may be above ``lr``.

    Examples:
        >>> import jaxsched as js
        >>> lr = js.ports.torch.CosineAnnealingLR(T_max=100)(0.1)
        >>> [round(float(lr(step)), 4) for step in (0, 50, 100, 150, 200)]
        [0.1, 0.05, 0.0, 0.05, 0.1]
    """

    T_max: Positive
    eta_min: Number = 0.0
    last_epoch: LastEpoch = -1

    def _schedule(self, lr: Any) -> Schedule:
        return periodic_cosine(lr, self.T_max, self.eta_min)

    def _rule(self, base: float, steps: int) -> Rule:
        end, low = self.T_max, self.eta_min

        def rule(lr: float, t: int) -> float:
            if t == 0:
                return lr
            if (t - 1 - end) % (2 * end) == 0:
                return lr + (base - low) * (1 - math.cos(math.pi / end)) / 2
            now, before = (1 + math.cos(math.pi * at / end) for at in (t, t - 1))
            return now / before * (lr - low) + low

        return rule


@dataclasses.dataclass(frozen=True)
class ReduceLROnPlateau(Scheduler):
    """`plateau` by torch's names: called with a learning rate it gives the value for ``lr=`` of an optimizer.

    Metrics are reported with ``js.report_metric(opt_state, metric)``. ``min_lr`` may be a list, one for each group.
    If it is multiplied by another schedule, ``min_lr`` and ``eps`` act on its own value; in torch they act on the
    learning rate. ``js.lint`` reports this.

    Attributes:
        mode: ``"min"`` if the metric should fall, ``"max"`` if it should rise.
        factor: Factor of a reduction, in [0, 1).
        patience: Reports without improvement after which the next one reduces the lr.
        threshold: Change that counts as an improvement, as a share of the best (``threshold_mode="rel"``) or absolute
            (``"abs"``).
        threshold_mode: See ``threshold``.
        cooldown: Reports after a reduction that are not counted.
        min_lr: The lowest learning rate.
        eps: A reduction by less is left out.

    Examples:
        >>> import jaxsched as js
        >>> js.ports.torch.ReduceLROnPlateau(patience=5)(0.1).arguments["patience"]
        5
    """

    per_group = ("min_lr",)
    mode: Annotated[str, choice("min", "max")] = "min"
    factor: Annotated[float, below_one] = 0.1
    patience: Count = 10
    threshold: Number = 1e-4
    threshold_mode: Annotated[str, choice("rel", "abs")] = "rel"
    cooldown: Count = 0
    min_lr: Number | Sequence[float] = 0.0
    eps: Number = 1e-8

    def _schedule(self, lr: Any) -> Schedule:
        return plateau(
            lr,
            self.factor,
            self.patience,
            threshold=self.threshold,
            relative=self.threshold_mode == "rel",
            maximize=self.mode == "max",
            cooldown=self.cooldown,
            floor=self.min_lr,  # type: ignore[arg-type]
            least_change=self.eps,
        )
