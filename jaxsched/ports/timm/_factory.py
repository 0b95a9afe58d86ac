"""timm's create_scheduler_v2 (1.0.31): a scheduler from the arguments of its train.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxsched.checks import short
from jaxsched.ports.timm._schedulers import (
    CosineLRScheduler,
    InCycles,
    MultiStepLRScheduler,
    Noise,
    PlateauLRScheduler,
    PolyLRScheduler,
    Scheduler,
    StepLRScheduler,
    TanhLRScheduler,
    WSDLRScheduler,
)


def create_scheduler_v2(
    sched: str = "cosine",
    num_epochs: int = 300,
    decay_epochs: float | None = None,
    decay_milestones: Sequence[float] = (90, 180, 270),
    cooldown_epochs: int = 0,
    patience_epochs: int = 10,
    decay_rate: float = 0.1,
    min_lr: float = 0.0,
    warmup_lr: float = 1e-5,
    warmup_epochs: float = 0,
    warmup_prefix: bool = False,
    noise: Noise = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int = 42,
    cycle_mul: float = 1.0,
    cycle_decay: float = 0.1,
    cycle_limit: int = 1,
    k_decay: float = 1.0,
    decay_fn: str | None = None,
    stable_timescale: float | None = None,
    plateau_mode: str = "max",
    step_on_epochs: bool = True,
    updates_per_epoch: int = 0,
) -> tuple[Scheduler | None, int]:
    """The scheduler that timm's function of this name makes, and for how many epochs to train.

    The arguments are timm's, less the optimizer; ``noise`` must be None. The scheduler is None for ``sched="none"``.
    ``decay_rate`` is the power for ``"poly"``. ``warmup_prefix`` is passed to all, so that its default of True in
    some classes does not come into play.

    Args:
        sched: Name of the scheduler.
        num_epochs: Epochs of the schedule.
        warmup_epochs: Epochs of the warm-up.
        cooldown_epochs: Epochs after the schedule.
        decay_epochs: Epochs of a stair of ``"step"``; of ``"wsd"`` and ``"rsqrt"`` the length of the decay, as a share
            of the run if below 1.
        decay_milestones: Epochs at which ``"multistep"`` decays.
        patience_epochs: ``patience_t`` of `PlateauLRScheduler`.
        plateau_mode: ``mode`` of `PlateauLRScheduler`.
        decay_rate: Factor of a stair or reduction.
        min_lr: ``lr_min`` of `Scheduler`.
        warmup_lr: ``warmup_lr_init`` of `Scheduler`.
        warmup_prefix: As in `Scheduler`.
        cycle_mul: As in `Scheduler`.
        cycle_decay: As in `Scheduler`.
        cycle_limit: As in `Scheduler`.
        k_decay: As in `Scheduler`.
        noise: Must be None.
        noise_pct: No effect.
        noise_std: No effect.
        noise_seed: No effect.
        decay_fn: As in `WSDLRScheduler`.
        stable_timescale: As in `WSDLRScheduler`.
        step_on_epochs: Whether the scheduler counts epochs, or updates.
        updates_per_epoch: Updates in an epoch, needed to count updates.

    Raises:
        ValueError: If ``sched`` is not known, or the lengths do not fit.

    Examples:
        >>> from jaxsched.ports import timm
        >>> scheduler, epochs = timm.create_scheduler_v2("cosine", num_epochs=100, warmup_epochs=5, cooldown_epochs=10)
        >>> epochs, round(float(scheduler(0.1)(5)), 6)
        (110, 0.099384)
    """
    given = locals().copy()
    if sched not in _SCHEDULERS:
        raise ValueError(f"sched must be one of {', '.join(_SCHEDULERS)}, got {short(sched)}")
    if not step_on_epochs and not updates_per_epoch > 0:
        raise ValueError(f"step_on_epochs=False needs updates_per_epoch, got {short(updates_per_epoch)}")
    if noise is not None:
        raise ValueError(f"noise comes from torch's random numbers, which are not ported; got noise={noise!r}")
    if decay_epochs is None:
        given["decay_epochs"] = 0.2 if sched in ("wsd", "rsqrt") else 90
    unit = 1 if step_on_epochs else updates_per_epoch
    scheduler = _SCHEDULERS[sched](given, unit)
    if isinstance(scheduler, InCycles | WSDLRScheduler):
        length = scheduler.get_cycle_length() + cooldown_epochs * unit
        return scheduler, length if step_on_epochs else length // updates_per_epoch
    return scheduler, num_epochs + warmup_epochs if warmup_prefix else num_epochs  # type: ignore[return-value]


def _warmup(given: dict[str, Any], unit: int) -> dict[str, Any]:
    return {
        "warmup_t": given["warmup_epochs"] * unit,
        "warmup_lr_init": given["warmup_lr"],
        "warmup_prefix": given["warmup_prefix"],
    }


def _in_cycles(kind: Callable[..., Scheduler], **more: str) -> Callable[[dict[str, Any], int], Scheduler]:
    def make(given: dict[str, Any], unit: int) -> Scheduler:
        names = ("cycle_mul", "cycle_decay", "cycle_limit")
        return kind(
            t_initial=given["num_epochs"] * unit,
            lr_min=given["min_lr"],
            **{name: given[name] for name in names},
            **{name: given[source] for name, source in more.items()},
            **_warmup(given, unit),
        )

    return make


def _step(given: dict[str, Any], unit: int) -> Scheduler:
    return StepLRScheduler(given["decay_epochs"] * unit, given["decay_rate"], **_warmup(given, unit))


def _constant(given: dict[str, Any], unit: int) -> Scheduler:
    return StepLRScheduler(1, 1.0, **_warmup(given, unit))


def _multi_step(given: dict[str, Any], unit: int) -> Scheduler:
    milestones = [epoch * unit for epoch in given["decay_milestones"]]
    return MultiStepLRScheduler(milestones, given["decay_rate"], **_warmup(given, unit))


def _plateau(given: dict[str, Any], unit: int) -> Scheduler:
    if unit != 1 or not given["step_on_epochs"]:
        raise ValueError("sched='plateau' is stepped on epochs only; step_on_epochs=True")
    return PlateauLRScheduler(
        given["decay_rate"],
        given["patience_epochs"],
        warmup_t=given["warmup_epochs"],
        warmup_lr_init=given["warmup_lr"],
        lr_min=given["min_lr"],
        mode=given["plateau_mode"],
    )


def _wsd(given: dict[str, Any], unit: int) -> Scheduler:
    warmup = given["warmup_epochs"] * unit
    total = given["num_epochs"] * unit - (0 if given["warmup_prefix"] else warmup)
    decay = given["decay_epochs"]
    decay_t = round(decay * total if 0 < decay < 1 else decay * unit)
    if not 0 < decay_t <= total:
        raise ValueError(f"decay_epochs must leave a decay in (0, {total}] of what follows warm-up, got {short(decay)}")
    rsqrt, timescale = given["sched"] == "rsqrt", given["stable_timescale"]
    return WSDLRScheduler(
        total,
        decay_t,
        given["min_lr"],
        stable_fn="rsqrt" if rsqrt else "constant",
        stable_timescale=None if timescale is None else timescale * unit,
        decay_fn=given["decay_fn"] or ("linear" if rsqrt else "1-sqrt"),
        warmup_t=warmup,
        warmup_lr_init=given["warmup_lr"],
    )


_SCHEDULERS: dict[str, Callable[[dict[str, Any], int], Scheduler | None]] = {
    "cosine": _in_cycles(CosineLRScheduler, k_decay="k_decay"),
    "tanh": _in_cycles(TanhLRScheduler),
    "poly": _in_cycles(PolyLRScheduler, k_decay="k_decay", power="decay_rate"),
    "step": _step,
    "constant": _constant,
    "multistep": _multi_step,
    "plateau": _plateau,
    "wsd": _wsd,
    "rsqrt": _wsd,
    "none": lambda given, unit: None,
}
