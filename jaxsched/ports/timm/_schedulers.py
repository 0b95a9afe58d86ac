"""timm's scheduler classes (1.0.31), each with the arguments of its original, in their order.

A scheduler here is called with a base lr and gives a `Schedule` of ``t``, which is an epoch or an update, whichever the
scheduler is stepped on: at step ``t`` the lr that timm sets with ``step(t)`` or ``step_update(t)``. `per_epoch` turns
one of epochs into one of batches.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from jaxsched.checks import short
from jaxsched.metric import plateau
from jaxsched.ports import shared
from jaxsched.ports.timm import _shapes as shapes
from jaxsched.schedules import (
    Schedule,
    cooldown,
    inverse_power,
    linear,
    maximum,
    multi_step,
    piecewise,
    sequential,
    step_decay,
)

Noise = float | Sequence[float] | None


@dataclasses.dataclass(frozen=True)
class Scheduler:
    """What timm's schedulers share: called with a base lr, each gives the `Schedule` of one group.

    ``t`` counts epochs or updates, whichever the scheduler is stepped on.

    Attributes:
        lr_min: Value at the end of a decay, >= 0.
        cycle_mul: Length of a cycle over that of the one before.
        cycle_decay: Peak of a cycle over that of the one before.
        cycle_limit: Cycles, after which the value stays at ``lr_min``.
        warmup_t: Length of the warm-up in ``t``; 0 for none.
        warmup_lr_init: Value at step 0 of the warm-up, which is a line from there to the base lr.
        warmup_prefix: Whether the schedule starts at its step 0 after the warm-up. Otherwise its clock runs meanwhile.
        k_decay: Power of ``t / t_initial`` within the curve.
        noise_range_t: Must be None: timm's noise comes from torch's random numbers.
        t_in_epochs: Accepted as in timm, like all that follow; it does not change the values.
        noise_type: No effect.
        noise_pct: No effect.
        noise_std: No effect.
        noise_seed: No effect.
        initialize: No effect.

    Examples:
        >>> from jaxsched.ports import timm
        >>> lr = timm.CosineLRScheduler(t_initial=10, warmup_t=2, warmup_lr_init=0.1, warmup_prefix=True)(1.0)
        >>> [round(float(lr(t)), 4) for t in (0, 1, 2, 12)]
        [0.1, 0.55, 1.0, 0.0]
    """

    def __post_init__(self) -> None:
        name = type(self).__name__
        if getattr(self, "noise_range_t", None) is not None:
            raise ValueError(
                f"{name}: noise comes from torch's random numbers, which are not ported; noise_range_t=None"
            )
        for field in ("t_initial", "cycle_mul"):
            if hasattr(self, field) and not getattr(self, field) > 0:
                raise ValueError(f"{name}: {field} must be positive, got {short(getattr(self, field))}")
        for field in ("lr_min", "warmup_t", "warmup_lr_init", "cycle_limit"):
            if hasattr(self, field) and not getattr(self, field) >= 0:
                raise ValueError(f"{name}: {field} must be >= 0, got {short(getattr(self, field))}")

    def __call__(self, lr: float) -> Schedule:
        """The lr at each ``t`` of a group whose base lr is ``lr``."""
        return self._after_warmup(lr, self._schedule(lr))

    def _schedule(self, lr: float) -> Schedule:
        raise NotImplementedError

    def _after_warmup(self, lr: float, schedule: Schedule) -> Schedule:
        """A line up to the base lr, then the schedule, whose clock ran on unless warm-up is a prefix."""
        warmup_t, prefix = getattr(self, "warmup_t", 0), getattr(self, "warmup_prefix", False)
        if not warmup_t:
            return schedule
        if prefix and warmup_t != int(warmup_t):
            raise ValueError(
                f"{type(self).__name__}: a warmup_t before the schedule must be whole, got {short(warmup_t)}"
            )
        line = self._line(lr, schedule)
        return (sequential if prefix else piecewise)([line, schedule], at=[math.ceil(warmup_t)])

    def _line(self, lr: float, schedule: Schedule) -> Schedule:
        del schedule
        return linear(self.warmup_lr_init, lr, self.warmup_t)  # type: ignore[attr-defined]


class InCycles(Scheduler):
    """Schedulers that may repeat: each cycle is ``cycle_mul`` times as long, its peak ``cycle_decay`` times as high."""

    def _cycles(self) -> dict[str, Any]:
        names = {"steps": "t_initial", "floor": "lr_min", "decay": "cycle_decay", "cycles": "cycle_limit"}
        uneven = shared.unequal(self.t_initial, self.cycle_mul, self.cycle_limit)  # type: ignore[attr-defined]
        return {**{ours: getattr(self, theirs) for ours, theirs in names.items()}, **uneven}

    def get_cycle_length(self, cycles: int = 0) -> int:
        """The length of ``cycles`` cycles (``cycle_limit`` if 0), plus the warm-up where it is a prefix."""
        cycles = max(1, cycles or self.cycle_limit)  # type: ignore[attr-defined]
        length, mul = self.t_initial, self.cycle_mul  # type: ignore[attr-defined]
        total = length * cycles if mul == 1.0 else math.floor(-length * (mul**cycles - 1) / (1 - mul))
        return total + self.warmup_t if self.warmup_prefix else total  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class CosineLRScheduler(InCycles):
    """Half a cosine from the base lr to ``lr_min`` over ``t_initial``, then ``lr_min``, or further cycles.

    ``lr_min + (lr - lr_min) * (1 + cos(pi * t**k / t_initial**k)) / 2`` with ``k = k_decay``. The other arguments are
    those of `Scheduler`.

    Without ``warmup_prefix`` the clock of the cosine runs during warm-up: where warm-up ends, the lr jumps below the
    base lr. With ``cycle_mul`` below 1 all cycles end at ``t_initial / (1 - cycle_mul)``, where timm raises and this
    stays at ``lr_min``.

    Examples:
        >>> from jaxsched.ports import timm
        >>> lr = timm.CosineLRScheduler(t_initial=10, lr_min=0.1, warmup_t=2)(1.0)
        >>> [round(float(lr(t)), 4) for t in (0, 1, 2, 10)]
        [0.0, 0.5, 0.9141, 0.1]
    """

    t_initial: int
    lr_min: float = 0.0
    cycle_mul: float = 1.0
    cycle_decay: float = 1.0
    cycle_limit: int = 1
    warmup_t: float = 0
    warmup_lr_init: float = 0.0
    warmup_prefix: bool = False
    t_in_epochs: bool = True
    noise_range_t: Noise = None
    noise_pct: float = 0.67
    noise_std: float = 1.0
    noise_seed: int = 42
    k_decay: float = 1.0
    initialize: bool = True

    def _schedule(self, lr: float) -> Schedule:
        return shared.cosine_cycles(lr, **self._cycles(), k_decay=self.k_decay)


@dataclasses.dataclass(frozen=True)
class TanhLRScheduler(InCycles):
    """A hyperbolic tangent from ``lb`` to ``ub`` over ``t_initial``, then ``lr_min``, or further cycles.

    ``lr_min + (lr - lr_min) * (1 - tanh(lb * (1 - s) + ub * s)) / 2`` with ``s = t / t_initial``: it does not quite
    begin at the base lr nor end at ``lr_min``. Without ``warmup_prefix`` warm-up leads to the value at its end, so that
    there is no jump. The other arguments are those of `Scheduler`.

    Examples:
        >>> from jaxsched.ports import timm
        >>> lr = timm.TanhLRScheduler(t_initial=10)(1.0)
        >>> [round(float(lr(t)), 4) for t in (0, 5, 9, 10)]
        [1.0, 0.982, 0.018, 0.0]
    """

    t_initial: int
    lb: float = -7.0
    ub: float = 3.0
    lr_min: float = 0.0
    cycle_mul: float = 1.0
    cycle_decay: float = 1.0
    cycle_limit: int = 1
    warmup_t: float = 0
    warmup_lr_init: float = 0.0
    warmup_prefix: bool = False
    t_in_epochs: bool = True
    noise_range_t: Noise = None
    noise_pct: float = 0.67
    noise_std: float = 1.0
    noise_seed: int = 42
    initialize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lb < self.ub:
            raise ValueError(f"TanhLRScheduler: lb must be below ub, got {short(self.lb)} and {self.ub!r}")

    def _schedule(self, lr: float) -> Schedule:
        return shared.tanh_cycles(lr, lb=self.lb, ub=self.ub, **self._cycles())

    def _line(self, lr: float, schedule: Schedule) -> Schedule:
        if self.warmup_prefix:
            return super()._line(lr, schedule)
        if self.warmup_t != int(self.warmup_t):
            raise ValueError(f"TanhLRScheduler: warmup_t must be whole, got {short(self.warmup_t)}")
        rest = linear(self.warmup_lr_init, 0.0, self.warmup_t)
        return rest + linear(0.0, 1.0, self.warmup_t) * shapes.at_step(schedule, at=int(self.warmup_t))


@dataclasses.dataclass(frozen=True)
class PolyLRScheduler(InCycles):
    """A power of what is left of ``t_initial``, then ``lr_min``, or further cycles.

    ``lr_min + (lr - lr_min) * (1 - t**k / t_initial**k) ** power`` with ``k = k_decay``. The other arguments are those
    of `Scheduler`.

    Examples:
        >>> from jaxsched.ports import timm
        >>> lr = timm.PolyLRScheduler(t_initial=10, power=2.0)(1.0)
        >>> [round(float(lr(t)), 4) for t in (0, 5, 10)]
        [1.0, 0.25, 0.0]
    """

    t_initial: int
    power: float = 0.5
    lr_min: float = 0.0
    cycle_mul: float = 1.0
    cycle_decay: float = 1.0
    cycle_limit: int = 1
    warmup_t: float = 0
    warmup_lr_init: float = 0.0
    warmup_prefix: bool = False
    t_in_epochs: bool = True
    noise_range_t: Noise = None
    noise_pct: float = 0.67
    noise_std: float = 1.0
    noise_seed: int = 42
    k_decay: float = 1.0
    initialize: bool = True

    def _schedule(self, lr: float) -> Schedule:
        return shared.poly_cycles(lr, power=self.power, **self._cycles(), k_decay=self.k_decay)


@dataclasses.dataclass(frozen=True)
class StepLRScheduler(Scheduler):
    """``lr * decay_rate ** floor(t / decay_t)``, without end; ``decay_t`` need not be whole.

    The other arguments are those of `Scheduler`.

    Examples:
        >>> from jaxsched.ports import timm
        >>> lr = timm.StepLRScheduler(decay_t=2, decay_rate=0.5)(1.0)
        >>> [float(lr(t)) for t in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    decay_t: float
    decay_rate: float = 1.0
    warmup_t: float = 0
    warmup_lr_init: float = 0.0
    warmup_prefix: bool = True
    t_in_epochs: bool = True
    noise_range_t: Noise = None
    noise_pct: float = 0.67
    noise_std: float = 1.0
    noise_seed: int = 42
    initialize: bool = True

    def _schedule(self, lr: float) -> Schedule:
        return step_decay(lr, every=self.decay_t, factor=self.decay_rate)


@dataclasses.dataclass(frozen=True)
class MultiStepLRScheduler(Scheduler):
    """``lr * decay_rate ** k``, where ``k`` is the number of milestones in ``decay_t`` at or before ``t + 1``.

    A milestone acts one ``t`` before its number, as in timm, which keeps that on purpose. The other arguments are those
    of `Scheduler`.

    Examples:
        >>> from jaxsched.ports import timm
        >>> lr = timm.MultiStepLRScheduler(decay_t=[2, 4], decay_rate=0.5)(1.0)
        >>> [float(lr(t)) for t in range(5)]
        [1.0, 0.5, 0.5, 0.25, 0.25]
    """

    decay_t: Sequence[float]
    decay_rate: float = 1.0
    warmup_t: float = 0
    warmup_lr_init: float = 0.0
    warmup_prefix: bool = True
    t_in_epochs: bool = True
    noise_range_t: Noise = None
    noise_pct: float = 0.67
    noise_std: float = 1.0
    noise_seed: int = 42
    initialize: bool = True

    def _schedule(self, lr: float) -> Schedule:
        return multi_step(lr, at=[max(math.ceil(t) - 1, 0) for t in self.decay_t], factor=self.decay_rate)


@dataclasses.dataclass(frozen=True)
class PlateauLRScheduler(Scheduler):
    """Warm-up up to and including epoch ``warmup_t``, then torch's ReduceLROnPlateau, of a metric that should rise.

    `report_metric` is called after each epoch, during warm-up too, when it is not looked at. (timm calls
    ``step(epoch + 1, metric)`` then.)

    Attributes:
        decay_rate: Factor of a reduction, in (0, 1).
        patience_t: Epochs without improvement after which the lr is reduced at the next.
        threshold: Relative change that counts as an improvement.
        cooldown_t: Epochs after a reduction in which no other is counted.
        lr_min: The lowest value.
        mode: ``"max"`` for a metric that should rise, ``"min"`` for one that should fall.

    The other arguments are those of `Scheduler`.

    Examples:
        >>> from jaxsched.ports import timm
        >>> timm.PlateauLRScheduler(patience_t=3)(0.1).arguments["patience"]
        3
    """

    decay_rate: float = 0.1
    patience_t: int = 10
    threshold: float = 1e-4
    cooldown_t: int = 0
    warmup_t: int = 0
    warmup_lr_init: float = 0.0
    lr_min: float = 0.0
    mode: str = "max"
    noise_range_t: Noise = None
    noise_type: str = "normal"
    noise_pct: float = 0.67
    noise_std: float = 1.0
    noise_seed: int | None = None
    initialize: bool = True

    def _schedule(self, lr: float) -> Schedule:
        if self.mode not in ("min", "max"):
            raise ValueError(f"PlateauLRScheduler: mode must be 'min' or 'max', got {short(self.mode)}")
        return plateau(
            lr,
            self.decay_rate,
            self.patience_t,
            threshold=self.threshold,
            maximize=self.mode == "max",
            cooldown=self.cooldown_t,
            floor=self.lr_min,
            since=self.warmup_t,
        )


@dataclasses.dataclass(frozen=True)
class WSDLRScheduler(Scheduler):
    """Warm-up, a stable phase, and a decay to ``lr_min`` over the last ``decay_t`` of ``t_initial``.

    With ``stable_fn="constant"`` the stable phase is constant. Otherwise it falls as
    ``(1 + t / stable_timescale) ** -power``, with power 0.5 for ``"rsqrt"`` and ``stable_power``
    for ``"power"``, but not below ``lr_min``. Warm-up always comes before ``t_initial``.

    With ``s`` from 0 to 1 over ``decay_t``, the value above ``lr_min`` falls in proportion to ``1 - s``
    (``decay_fn="linear"``), ``1 - sqrt(s)`` (``"1-sqrt"``), ``(1 + cos(pi * s)) / 2`` (``"cosine"``),
    ``1 - s ** decay_power`` (``"power"``), or ``(r**s - r) / (1 - r)`` with ``r = decay_ratio`` (``"exp"``). The other
    arguments are those of `Scheduler`.

    Examples:
        >>> from jaxsched.ports import timm
        >>> lr = timm.WSDLRScheduler(t_initial=10, decay_t=4, decay_fn="linear")(1.0)
        >>> [float(lr(t)) for t in (0, 6, 8, 10)]
        [1.0, 1.0, 0.5, 0.0]
    """

    t_initial: int
    decay_t: int
    lr_min: float = 0.0
    stable_fn: str = "constant"
    stable_timescale: float | None = None
    stable_power: float = 0.5
    decay_fn: str = "1-sqrt"
    decay_power: float = 0.5
    decay_ratio: float = 0.1
    warmup_t: int = 0
    warmup_lr_init: float = 0.0
    t_in_epochs: bool = True
    noise_range_t: Noise = None
    noise_pct: float = 0.67
    noise_std: float = 1.0
    noise_seed: int = 42
    initialize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.decay_t <= self.t_initial:
            raise ValueError(f"WSDLRScheduler: decay_t must be in (0, {self.t_initial}], got {short(self.decay_t)}")
        for field, known in (("stable_fn", ("constant", "rsqrt", "power")), ("decay_fn", _DECAY_FNS)):
            if getattr(self, field) not in known:
                raise ValueError(
                    f"WSDLRScheduler: {field} must be one of {', '.join(known)}, got {short(getattr(self, field))}"
                )
        if not 0.0 < self.decay_ratio < 1.0:
            raise ValueError(f"WSDLRScheduler: decay_ratio must be in (0, 1), got {short(self.decay_ratio)}")
        if self.stable_fn != "constant" and not self._timescale() > 0:
            raise ValueError(
                f"WSDLRScheduler: stable_fn={self.stable_fn!r} needs a stable_timescale > 0, "
                f"got {short(self._timescale())}"
            )

    warmup_prefix = True

    def _timescale(self) -> float:
        return self.warmup_t if self.stable_timescale is None else self.stable_timescale

    def _schedule(self, lr: float) -> Schedule:
        stable: Any = lr if lr > self.lr_min else self.lr_min
        if self.stable_fn != "constant":
            power = 0.5 if self.stable_fn == "rsqrt" else self.stable_power
            stable = maximum(inverse_power(lr, rate=1.0, power=power, every=self._timescale()), self.lr_min)
        at = self.t_initial - self.decay_t
        if self.decay_fn in _CORE_SHAPES:
            return cooldown(stable, at=at, steps=self.decay_t, end=self.lr_min, shape=_CORE_SHAPES[self.decay_fn])
        if self.decay_fn == "power":
            return shapes.power_ending(stable, at, self.decay_t, self.lr_min, self.decay_power)
        return shapes.exponential_ending(stable, at, self.decay_t, self.lr_min, self.decay_ratio)

    def get_cycle_length(self, cycles: int = 0) -> int:
        """The length of the warm-up, the stable phase and the decay."""
        del cycles
        return self.warmup_t + self.t_initial


_CORE_SHAPES = {"linear": "linear", "1-sqrt": "sqrt", "cosine": "cosine"}
_DECAY_FNS = (*_CORE_SHAPES, "power", "exp")
