"""The learning rates of RT-DETR, D-FINE and DEIM: a scheduler by the epoch after a warm-up, or DEIM's by the batch."""

from __future__ import annotations

from collections.abc import Callable

from jaxsched.checks import did_you_mean, short
from jaxsched.ports import shared
from jaxsched.ports.shared import Settings
from jaxsched.recipe import caution
from jaxsched.schedules import (
    Schedule,
    constant,
    delayed,
    flat_then_cosine,
    multi_step,
    per_epoch,
    periodic_cosine,
    piecewise,
    warmup,
)

Rates = Callable[[float], Schedule]
"""From the lr of a group to its schedule."""


def rates(a: Settings, nb: int, epochs: int, notes: list[str]) -> Rates:
    """What ``lr_scheduler``, ``lr_warmup_scheduler`` and DEIM's ``lrsheduler`` say.

    Args:
        a: The config.
        nb: Batches in an epoch.
        epochs: Epochs of the run.
        notes: Where to add notes.
    """
    name, warm = a.take("lrsheduler", None), _warmup(a)
    if name is None:
        return _by_epoch(_scheduler(a), warm, nb)
    if name != "flatcosine":
        notes.append(f"{a.at('lrsheduler')}: {short(name)} is taken for flatcosine, as DEIM takes any name")
    if a.take("lr_scheduler", None) is not None:
        text = "has no effect beside lrsheduler, and of lr_warmup_scheduler only its first step"
        notes.append(f"{a.at('lr_scheduler')} {text}")
    return _flat_cosine(a, warm, nb, epochs, notes)


def _warmup(a: Settings) -> int:
    """Batches of linear warm-up."""
    given = a.take("lr_warmup_scheduler", None)
    if given is None:
        return 0
    own = Settings(a.at("lr_warmup_scheduler"), given)
    own.choice("type", ("LinearWarmup",))
    steps: int = own.count("warmup_duration")
    own.take("last_step", None)
    own.finish()
    return steps


def _scheduler(a: Settings) -> Rates:
    """torch's scheduler, by the number of its steps."""
    own = a.section("lr_scheduler")
    name = own.take("type")
    for aside in ("last_epoch", "verbose"):
        own.take(aside, None)
    if name == "MultiStepLR":
        at, gamma = sorted(own.counts("milestones")), own.number("gamma", 0.1, low=0.0)
        own.finish()
        return lambda lr: multi_step(lr, at=at, factor=gamma) if at else constant(lr)
    if name == "CosineAnnealingLR":
        length, floor = own.count("T_max", least=1), own.number("eta_min", 0.0, low=0.0)
        own.finish()
        return lambda lr: periodic_cosine(lr, length, floor)
    known = ("MultiStepLR", "CosineAnnealingLR")
    raise ValueError(
        f"{own.at('type')} must be one of {', '.join(known)}, got {short(name)}{did_you_mean(name, known)}"
    )


def _by_epoch(scheduler: Rates, warm: int, nb: int) -> Rates:
    """The scheduler, which is stepped at the end of each epoch from the one on in which the warm-up ends."""
    late = max(-(-warm // nb) - 1, 0)

    def made(lr: float) -> Schedule:
        stepped = per_epoch(delayed(scheduler(lr), by=late) if late else scheduler(lr), nb)
        return warmup(stepped, warm - 1, lr / warm) if warm > 1 else stepped

    return made


def _flat_cosine(a: Settings, warm: int, nb: int, epochs: int, notes: list[str]) -> Rates:
    """DEIM's schedule, which sets the lr after each batch: the first batch has that of the warm-up's first step."""
    gamma, rise = a.number("lr_gamma", low=0.0), a.count("warmup_iter")
    total = shared.as_count("epoches x steps_per_epoch", epochs * nb)
    flat = shared.as_count(a.at("flat_epoch"), int(nb * a.number("flat_epoch", low=0.0)), 0)
    end = total - int(nb * a.number("no_aug_epoch", low=0.0))
    if not rise:
        text = f"{a.at('warmup_iter')}: DEIM divides by 0 at its first batch; it is read as no warm-up"
        notes.append(caution("left-out", text))

    def made(lr: float) -> Schedule:
        rising: Schedule = shared.power_rise(lr, rise, 2) if rise else constant(lr)
        if flat >= total:
            whole = rising
        elif flat < end:
            whole = piecewise([rising, flat_then_cosine(lr, end, flat, gamma * lr)], at=[max(flat, rise + 1)])
        else:
            whole = piecewise([rising, gamma * lr], at=[max(flat, rise) + 1])
        return piecewise([lr / max(warm, 1), delayed(whole, by=1)], at=[1])

    return made
