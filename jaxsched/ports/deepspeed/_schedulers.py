"""DeepSpeed's schedulers (0.19.8, ``deepspeed/runtime/lr_schedules.py``), by their arguments there less the optimizer.

Each counts updates. Called with the optimizer's lr it gives the schedule. DeepSpeed steps its scheduler after each
update, so that most lag by one: the update ``u`` has the value of the iteration ``u - 1``, and update 0 the value that
the scheduler starts from.
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Annotated, Any

from jaxsched.checks import check_fields, choice, not_negative, number, short, whole_length
from jaxsched.checks import count as whole
from jaxsched.ports.deepspeed._shapes import endless_line, in_stairs, log_rise
from jaxsched.ports.shared import shifted
from jaxsched.schedules import (
    Schedule,
    constant,
    cosine,
    delayed,
    inverse_time,
    linear,
    piecewise,
    sequential,
)


def _of_one_group(check: Any) -> Any:
    """A list with an entry for each group may have one entry: the settings do not say which group has what."""

    def checked(name: str, value: Any) -> Any:
        if isinstance(value, list | tuple):
            if len(value) != 1:
                raise ValueError(f"{name} is a list, one for each group of the script's own, got {short(value)}")
            value = value[0]
        return check(name, value)

    return checked


def _beta(name: str, value: Any) -> Any:
    if not 0 <= number(name, value) < 1:
        raise ValueError(f"{name} must be in [0, 1), got {short(value)}")
    return value


def _from_the_start(name: str, value: Any) -> Any:
    if isinstance(value, bool) or value != -1:
        raise ValueError(f"{name} must be -1: a recipe begins at step 0; got {short(value)}")
    return value


Lr = Annotated[float, _of_one_group(not_negative)]
Ratio = Annotated[float, not_negative]
Length = Annotated[int, whole_length]
Count = Annotated[int, whole]
Momentum = Annotated[float, _of_one_group(_beta)]
Type = Annotated[str, choice("log", "linear")]
Start = Annotated[int, _from_the_start]


@dataclasses.dataclass(frozen=True)
class Scheduler:
    """A scheduler of DeepSpeed with its arguments: called with the optimizer's lr it gives a `Schedule` by updates.

    ``last_batch_iteration`` must be -1: a schedule begins at step 0.
    """

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, lr: float) -> Schedule:
        raise NotImplementedError

    @property
    def momentum(self) -> Schedule | None:
        """The first beta at each update; None if the scheduler does not change it."""
        return None


@dataclasses.dataclass(frozen=True)
class WarmupLR(Scheduler):
    """From ``warmup_min_lr`` to ``warmup_max_lr`` over ``N = max(2, warmup_num_steps)`` iterations, then flat.

    ``min + (max - min) * log(i + 1) / log(N)`` at iteration ``i``, or ``i / N`` with ``warmup_type="linear"``. Updates
    0 and 1 have ``warmup_min_lr``; with ``"log"`` update ``N`` is the first at ``warmup_max_lr``, with ``"linear"``
    update ``N + 1``. If ``warmup_max_lr`` is left out, it is the lr of the optimizer.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.deepspeed.WarmupLR(warmup_num_steps=4, warmup_type="linear")(1.0)(jnp.arange(7))
        Array([0.  , 0.  , 0.25, 0.5 , 0.75, 1.  , 1.  ], dtype=float32)
    """

    warmup_min_lr: Lr = 0.0
    warmup_max_lr: Lr | None = None
    warmup_num_steps: Length = 1000
    warmup_type: Type = "log"
    last_batch_iteration: Start = -1

    def __call__(self, lr: float) -> Schedule:
        peak = lr if self.warmup_max_lr is None else self.warmup_max_lr
        return delayed(_rise(self.warmup_type, self.warmup_min_lr, peak, self.warmup_num_steps, constant(peak)), by=1)


@dataclasses.dataclass(frozen=True)
class WarmupDecayLR(Scheduler):
    """`WarmupLR`, then a line to ``warmup_min_lr`` at iteration ``total_num_steps``.

    With ``T`` that length, ``min + (max - min) * (T - i) / (T - N)`` at iteration ``i`` from ``N`` on, and ``min`` from
    ``T`` on, that is from update ``T + 1`` on.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> make = js.ports.deepspeed.WarmupDecayLR(
        ...     total_num_steps=6, warmup_max_lr=1.0, warmup_num_steps=2, warmup_type="linear")
        >>> make(0.1)(jnp.arange(9))
        Array([0.  , 0.  , 0.5 , 1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ], dtype=float32)
    """

    total_num_steps: Length
    warmup_min_lr: Lr = 0.0
    warmup_max_lr: Lr = 0.001
    warmup_num_steps: Length = 1000
    warmup_type: Type = "log"
    last_batch_iteration: Start = -1

    def __call__(self, lr: float) -> Schedule:
        del lr
        low, peak = self.warmup_min_lr, self.warmup_max_lr
        left = self.total_num_steps - max(2, self.warmup_num_steps)
        falls = linear(peak, low, left) if left > 0 else constant(low)
        return delayed(_rise(self.warmup_type, low, peak, self.warmup_num_steps, falls), by=1)


@dataclasses.dataclass(frozen=True)
class WarmupCosineLR(Scheduler):
    """Warm-up from ``warmup_min_ratio`` to 1 times the optimizer's lr, then half a cosine to ``cos_min_ratio``.

    The warm-up is that of `WarmupLR`, of the same ``warmup_type``. Update 0 has the lr 0 whatever the ratio. With ``T``
    the total and ``N`` the warm-up, iteration ``i`` from ``N`` on has
    ``cos_min_ratio + (1 - cos_min_ratio) * (1 + cos(pi * (i - N + 1) / (T - N))) / 2``, and ``cos_min_ratio`` from
    ``T - 1`` on. (Before DeepSpeed 0.19.3 it rises again after that.)

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> make = js.ports.deepspeed.WarmupCosineLR(total_num_steps=6, warmup_num_steps=2, cos_min_ratio=0.0)
        >>> [round(float(lr), 4) for lr in make(1.0)(jnp.arange(8))]
        [0.0, 0.0, 1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]
    """

    total_num_steps: Length
    warmup_min_ratio: Ratio = 0.0
    warmup_num_steps: Length = 1000
    cos_min_ratio: Ratio = 0.0001
    warmup_type: Type = "log"
    last_batch_iteration: Start = -1

    def __call__(self, lr: float) -> Schedule:
        wave = cosine(lr, max(1, self.total_num_steps - max(2, self.warmup_num_steps)), lr * self.cos_min_ratio)
        start = lr * self.warmup_min_ratio
        rest = delayed(_rise(self.warmup_type, start, lr, self.warmup_num_steps, shifted(wave, 1)), by=1)
        return piecewise([0.0, rest], at=[1]) if start else rest


@dataclasses.dataclass(frozen=True)
class LRRangeTest(Scheduler):
    """A line from ``lr_range_test_min_lr`` upwards, which does not end.

    ``lr_range_test_min_lr * (1 + lr_range_test_step_rate * u / lr_range_test_step_size)`` at update ``u``. With
    ``lr_range_test_staircase`` the quotient ``u / lr_range_test_step_size`` is rounded down.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.deepspeed.LRRangeTest(lr_range_test_min_lr=0.5, lr_range_test_step_size=2)(0.1)(jnp.arange(4))
        Array([0.5 , 0.75, 1.  , 1.25], dtype=float32)
    """

    lr_range_test_min_lr: Lr = 1e-3
    lr_range_test_step_size: Length = 2000
    lr_range_test_step_rate: Ratio = 1.0
    lr_range_test_staircase: bool = False
    last_batch_iteration: Start = -1

    def __call__(self, lr: float) -> Schedule:
        del lr
        return endless_line(
            self.lr_range_test_min_lr,
            self.lr_range_test_step_rate,
            self.lr_range_test_step_size,
            self.lr_range_test_staircase,
        )


@dataclasses.dataclass(frozen=True)
class OneCycle(Scheduler):
    """From ``cycle_min_lr`` to ``cycle_max_lr`` and back, then a decay with the inverse of the time.

    At update ``u`` lines over ``A = cycle_first_step_size`` and ``B = cycle_second_step_size`` updates (``A`` if left
    out), then ``cycle_min_lr / (1 + decay_lr_rate * (u - A - B) / decay_step_size)``; with a rate or a size of 0 it
    stays at ``cycle_min_lr``. ``cycle_first_stair_count`` and ``cycle_second_stair_count`` round the lines down to that
    many stairs; 0 leaves them as they are.

    The first beta goes the other way, from ``cycle_max_mom`` to ``cycle_min_mom`` and back, then grows with
    ``1 + decay_mom_rate * (u - A - B) / decay_step_size``; at update 0 it is ``cycle_min_mom``, as in DeepSpeed. The
    second beta is 0.99. Optimizers without betas keep their momentum, as all do with ``cycle_momentum=False``.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> cycle = js.ports.deepspeed.OneCycle(cycle_min_lr=0.5, cycle_max_lr=1.0, cycle_first_step_size=2)
        >>> cycle(0.1)(jnp.arange(6))
        Array([0.5 , 0.75, 1.  , 0.75, 0.5 , 0.5 ], dtype=float32)
        >>> [round(float(momentum), 2) for momentum in cycle.momentum(jnp.arange(5))]
        [0.8, 0.85, 0.8, 0.85, 0.9]
    """

    cycle_min_lr: Lr
    cycle_max_lr: Lr
    decay_lr_rate: Ratio = 0.0
    cycle_first_step_size: Length = 2000
    cycle_second_step_size: Count | None = None
    cycle_first_stair_count: Count = 0
    cycle_second_stair_count: Count | None = None
    decay_step_size: Ratio = 0
    cycle_momentum: bool = True
    cycle_min_mom: Momentum = 0.8
    cycle_max_mom: Momentum = 0.9
    decay_mom_rate: Ratio = 0.0
    last_batch_iteration: Start = -1

    def __call__(self, lr: float) -> Schedule:
        del lr
        low = self.cycle_min_lr
        decays = self.decay_step_size > 0 and self.decay_lr_rate > 0
        after = inverse_time(low, self.decay_lr_rate, every=self.decay_step_size) if decays else constant(low)
        return self._cycle(low, self.cycle_max_lr, after)

    @property
    def momentum(self) -> Schedule | None:
        if not self.cycle_momentum:
            return None
        high = self.cycle_max_mom
        grows = self.decay_step_size > 0 and self.decay_mom_rate > 0
        after = endless_line(high, self.decay_mom_rate, self.decay_step_size) if grows else constant(high)
        return piecewise([self.cycle_min_mom, self._cycle(high, self.cycle_min_mom, after)], at=[1])

    def _cycle(self, base: float, top: float, after: Schedule) -> Schedule:
        up = self.cycle_first_step_size
        down = up if self.cycle_second_step_size is None else self.cycle_second_step_size
        first = self.cycle_first_stair_count
        second = first if self.cycle_second_stair_count is None else self.cycle_second_stair_count
        rise = in_stairs(base, top, up, _width(up, first), first, down=False) if first else linear(base, top, up)
        if not down:
            return sequential([rise, after], at=[up])
        stairs = second and in_stairs(top, base, down, _width(down, second), second, down=True)
        fall = stairs or linear(top, base, down)
        return sequential([rise, fall, after], at=[up, up + down])


SCHEDULERS = {maker.__name__: maker for maker in (LRRangeTest, OneCycle, WarmupLR, WarmupDecayLR, WarmupCosineLR)}
"""By the names that a config's ``scheduler.type`` has."""


def _width(steps: int, count: int) -> float:
    """``steps / count`` as a float that is not above it: of a hair more, ``count`` would not fit into ``steps``."""
    width = steps / count
    return width if Fraction(width) <= Fraction(steps, count) else math.nextafter(width, 0.0)


def _rise(kind: str, start: float, peak: float, steps: int, after: Schedule) -> Schedule:
    """By iterations: from ``start`` to ``peak``, then the schedule from its beginning."""
    steps = max(2, steps)
    line = log_rise(start, peak, steps) if kind == "log" else linear(start, peak, steps)
    return sequential([line, after], at=[steps])
