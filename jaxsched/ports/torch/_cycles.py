"""torch's schedulers that go up and down, or down for good (torch 2.13.0, ``lr_scheduler.py`` and ``swa_utils.py``)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from jaxsched.checks import choice, short
from jaxsched.ports.shared import held, phases
from jaxsched.ports.torch._base import (
    Count,
    LastEpoch,
    Number,
    Positive,
    Rule,
    Scheduler,
    Share,
    WholeLength,
    why_untraceable,
)
from jaxsched.ports.torch._shapes import counted, faster, in_units, repeating
from jaxsched.schedules import (
    Schedule,
    Value,
    constant,
    cosine,
    cosine_restarts,
    cyclic,
    exponential,
    linear,
    per_epoch,
    step_decay,
    table,
)


@dataclasses.dataclass(frozen=True)
class CosineAnnealingWarmRestarts(Scheduler):
    """``eta_min + (lr - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2``, restarted at ``lr`` every ``T_i`` steps.

    The first cycle has ``T_0`` steps and each later one is ``T_mult`` times as long as the one before, without end.
    ``eta_min`` itself is never reached. Steps are whole: ``step(epoch + i / n)`` is not ported.

    Examples:
        >>> import jaxsched as js
        >>> lr = js.ports.torch.CosineAnnealingWarmRestarts(T_0=10, T_mult=2)(0.1)
        >>> [round(float(lr(step)), 4) for step in (0, 5, 10, 20, 30)]
        [0.1, 0.05, 0.1, 0.05, 0.1]
    """

    acts_on_lr = False
    T_0: WholeLength
    T_mult: WholeLength = 1
    eta_min: Number = 0.0
    last_epoch: LastEpoch = -1

    def _schedule(self, lr: Any) -> Schedule:
        return cosine_restarts(lr, self.T_0, self.eta_min, self.T_mult)


@dataclasses.dataclass(frozen=True)
class CyclicLR(Scheduler):
    """From ``base_lr`` up to ``max_lr`` in ``step_size_up`` steps and back in ``step_size_down``, without end.

    The amplitude is constant (``"triangular"``), halved after each cycle (``"triangular2"``), multiplied by
    ``gamma ** t`` (``"exp_range"``), or multiplied by ``scale_fn`` of the cycle (from 1) or of the step, depending on
    ``scale_mode``. Momentum goes the other way, from ``max_momentum`` to ``base_momentum``, with the same scaling. The
    optimizer's own learning rate is not used. If it is the first member of a `SequentialLR`, those after it start from
    ``base_lr``, as in torch. (In torch, a later member of a `ChainedScheduler` still has the optimizer's own learning
    rate at step 0.)

    Without ``steps``, ``scale_fn`` is traced by jax. With ``steps``, it is called on the host for that many steps, and
    its last value is held after them. ``cycle_momentum=False`` leaves the momentum as it is.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> cyclic = js.ports.torch.CyclicLR(base_lr=0.0, max_lr=1.0, step_size_up=2, mode="triangular2")
        >>> cyclic(0.1)(jnp.arange(7))
        Array([0.  , 0.5 , 1.  , 0.5 , 0.  , 0.25, 0.5 ], dtype=float32)
        >>> round(float(cyclic.momentum(2)), 2)
        0.8
    """

    acts_on_lr = False
    per_group = ("base_lr", "max_lr", "base_momentum", "max_momentum")
    base_lr: Number | Sequence[float]
    max_lr: Number | Sequence[float]
    step_size_up: Positive = 2000
    step_size_down: Number | None = None
    mode: str = "triangular"
    gamma: Positive = 1.0
    scale_fn: Callable[[Any], Any] | None = None
    scale_mode: Annotated[str, choice("cycle", "iterations")] = "cycle"
    cycle_momentum: bool = True
    base_momentum: Number | Sequence[float] = 0.8
    max_momentum: Number | Sequence[float] = 0.9
    last_epoch: LastEpoch = -1
    steps: WholeLength | None = None

    def _check(self) -> None:
        if self.mode not in ("triangular", "triangular2", "exp_range") and self.scale_fn is None:
            self._fail(
                f"mode must be 'triangular', 'triangular2' or 'exp_range', got {short(self.mode)}; or give scale_fn"
            )
        if self.scale_fn is not None and not callable(self.scale_fn):
            self._fail(f"scale_fn must be a function, got {short(self.scale_fn)}")
        if self.scale_fn is not None and self.steps is None and (trouble := why_untraceable(self.scale_fn)):
            self._fail(
                f"scale_fn cannot be traced by jax ({trouble}); give steps=..., the length of the run, and it is "
                "called on the host"
            )
        if self.step_size_down is not None and self.step_size_down < 0:
            self._fail(f"step_size_down must be >= 0, got {short(self.step_size_down)}")

    def _wave(self, low: Any, high: Any) -> Schedule:
        (up, down), units = in_units(
            self.step_size_up, self.step_size_up if self.step_size_down is None else self.step_size_down
        )
        height = self._height(up + down, units)
        if down:
            wave = cyclic(low, high, up, down, height)
        else:  # back at once
            wave = low + (high - low) * height * repeating(linear(0.0, 1.0, up), up)
        return wave if units == 1 else faster(wave, units)

    def _height(self, cycle: int, units: int) -> Value:
        if self.scale_fn is not None:
            by_cycle = self.scale_mode == "cycle"
            if self.steps is not None:
                every, first = (cycle, 1) if by_cycle else (units, 0)
                times = 1 + (self.steps - 1) * units // every
                return per_epoch(table([float(self.scale_fn(first + i)) for i in range(times)]), every)
            return counted(self.scale_fn, cycle if by_cycle else units, first=1 if by_cycle else 0)
        if self.mode == "triangular2":
            return step_decay(1.0, every=cycle, factor=0.5)
        return exponential(1.0, self.gamma, every=units) if self.mode == "exp_range" else 1.0

    def _schedule(self, lr: Any) -> Schedule:
        del lr
        return self._wave(self.base_lr, self.max_lr)

    def _momentum(self) -> Schedule | None:
        return self._wave(self.max_momentum, self.base_momentum) if self.cycle_momentum else None

    def _base_after(self, base: Any, first: bool) -> Any:
        return self.base_lr if first else base


@dataclasses.dataclass(frozen=True)
class OneCycleLR(Scheduler):
    """Up from ``max_lr / div_factor`` to ``max_lr``, then down to ``max_lr / (div_factor * final_div_factor)``.

    With ``T = total_steps`` (or ``epochs * steps_per_epoch``) the peak is at ``pct_start * T - 1`` and the end at
    ``T - 1``. With ``three_phase`` it returns to ``max_lr / div_factor`` at ``2 * pct_start * T - 2``, and then goes
    down. Momentum goes the other way between ``max_momentum`` and ``base_momentum``. The optimizer's own learning rate
    is not used, and is overwritten for the other schedulers of a `SequentialLR`, as in torch.

    ``anneal_strategy`` is ``"cos"`` (half cosines) or ``"linear"``. ``cycle_momentum=False`` leaves the momentum as it
    is. After ``T - 1`` the last value is held (torch takes one more step, which leaves the curve, and then raises).

    Examples:
        >>> import jaxsched as js
        >>> one = js.ports.torch.OneCycleLR(max_lr=1.0, total_steps=100)
        >>> [round(float(one(0.1)(step)), 6) for step in (0, 29, 99)], round(float(one.momentum(29)), 2)
        ([0.04, 1.0, 4e-06], 0.85)
    """

    acts_on_lr = False
    per_group = ("max_lr", "base_momentum", "max_momentum")
    max_lr: Number | Sequence[float]
    total_steps: WholeLength | None = None
    epochs: WholeLength | None = None
    steps_per_epoch: WholeLength | None = None
    pct_start: Share = 0.3
    anneal_strategy: Annotated[str, choice("cos", "linear")] = "cos"
    cycle_momentum: bool = True
    base_momentum: Number | Sequence[float] = 0.85
    max_momentum: Number | Sequence[float] = 0.95
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4
    three_phase: bool = False
    last_epoch: LastEpoch = -1

    def _check(self) -> None:
        if self.total_steps is None and (self.epochs is None or self.steps_per_epoch is None):
            self._fail("give total_steps, or both epochs and steps_per_epoch")
        if self._ends()[0] == 0:
            self._fail(
                f"pct_start {self.pct_start!r} of {self._steps()} steps is 1 step, in which nothing can go up; give "
                "another pct_start"
            )

    def _steps(self) -> int:
        if self.total_steps is not None:
            return int(self.total_steps)
        return int(self.epochs * self.steps_per_epoch)  # type: ignore[operator]

    def _ends(self) -> list[float]:
        """The step at which each phase ends; the first starts at 0."""
        steps, top = self._steps(), float(self.pct_start * self._steps()) - 1
        middle = [float(2 * self.pct_start * steps) - 2] if self.three_phase else []
        return [top, *middle, steps - 1]

    def _phases(self, *values: Any) -> Schedule:
        ends = self._ends()
        curve = phases(values, ends, self.anneal_strategy)
        # With pct_start above a half, three phases do not fit in: the last is never entered.
        return curve if ends[-1] > ends[-2] else held(curve, self._steps() - 1)

    def _schedule(self, lr: Any) -> Schedule:
        del lr
        start = self._base_after(None, False)
        end = start / self.final_div_factor
        return self._phases(start, self.max_lr, *([start] if self.three_phase else []), end)

    def _momentum(self) -> Schedule | None:
        if not self.cycle_momentum:
            return None
        high, low = self.max_momentum, self.base_momentum
        return self._phases(high, low, *([high] if self.three_phase else []), high)

    def _base_after(self, base: Any, first: bool) -> Any:
        del base, first
        return self.max_lr / self.div_factor  # type: ignore[operator]


@dataclasses.dataclass(frozen=True)
class SWALR(Scheduler):
    """From ``lr`` to ``swa_lr`` in ``anneal_epochs`` steps, along a cosine or a line, then ``swa_lr``.

    As ``torch.optim.swa_utils.SWALR``. ``lr`` is the learning rate before its first step: within `SequentialLR`,
    that of the previous step. With ``anneal_epochs=0`` it is ``swa_lr`` immediately.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> js.ports.torch.SWALR(swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")(1.0)(jnp.arange(4))
        Array([1.  , 0.75, 0.5 , 0.5 ], dtype=float32)
    """

    per_group = ("swa_lr",)
    swa_lr: Number | Sequence[float]
    anneal_epochs: Count = 10
    anneal_strategy: Annotated[str, choice("cos", "linear")] = "cos"
    last_epoch: LastEpoch = -1

    @property
    def continues_from_current(self) -> bool:  # type: ignore[override]
        return self.anneal_epochs > 0

    def _schedule(self, lr: Any) -> Schedule:
        end: Any = self.swa_lr
        if self.anneal_epochs == 0:
            return constant(end)
        if self.anneal_strategy == "cos":
            return cosine(lr, self.anneal_epochs, floor=end)
        return linear(lr, end, self.anneal_epochs)

    def _rule(self, base: float, steps: int) -> Rule:
        swa_lr = float(self.swa_lr)  # type: ignore[arg-type]

        def share(t: int) -> float:
            gone = max(0.0, min(1.0, t / max(1, self.anneal_epochs)))
            return gone if self.anneal_strategy == "linear" else (1 - math.cos(math.pi * gone)) / 2

        def rule(lr: float, t: int) -> float:
            if self.anneal_epochs == 0:
                t = max(1, t)
            before, now = share(t - 1), share(t)
            start = swa_lr if before == 1 else (lr - before * swa_lr) / (1 - before)
            return swa_lr * now + start * (1 - now)

        return rule

    def _taken_over(self, lr: float) -> float:
        return lr
