"""mmengine's schedulers that interpolate to a value: CosineAnnealing, Poly, CosineRestart, OneCycle, and MMDetection's
QuadraticWarmup."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from jaxsched.ports.openmmlab._one_cycle import one_cycle
from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.ports.openmmlab.mmengine._compose import ClosedForm, Scheduler
from jaxsched.ports.openmmlab.mmengine._factors import Window
from jaxsched.ports.shared import MOST_CYCLES, cosine_and_back, phases_at, quadratic_rise
from jaxsched.schedules import cosine, polynomial, sequential


def cosine_interpolation(settings: Settings, window: Window) -> Scheduler:
    """Half a cosine over ``T_max`` (default: the window), which it passes and climbs again. In a window of ``T_max``
    the floor is not reached: the last tick is ``t = T_max - 1``."""
    length = settings.number("T_max", None)
    if length is not None and length <= 0:
        raise ValueError(f"{settings.where}: T_max must be positive, got {length!r}")
    length = window.length if length is None else _whole(length * window.scale)
    floor = settings.target("eta_min", "eta_min_ratio", 0.0)
    acts = range(1, window.length)

    def wave(t: float) -> float:
        return (1 + math.cos(math.pi * t / length)) / 2

    def rule(value: float, t: int, base: float) -> float:
        least = floor(base)
        if t == 0:
            return value
        if (t - 1 - length) % (2 * length) == 0:
            return value + (base - least) * wave(length + 1)
        return wave(t) / wave(t - 1) * (value - least) + least

    def interpolation(entry: float, base: float) -> ClosedForm:
        least = floor(base)
        if window.length - 1 <= length:
            return ClosedForm(cosine(entry, length, least), lambda t: least + (entry - least) * wave(t))
        schedule = cosine_and_back(entry, base, length, least)
        return ClosedForm(schedule, lambda t: least + ((entry if t <= length else base) - least) * wave(t))

    falls_to_zero = floor(1.0) == 0 and window.length - 1 <= length
    factor = ClosedForm(cosine(1.0, length), wave) if falls_to_zero else None
    return Scheduler(*window[:3], acts, rule, factor=factor, interpolation=None if falls_to_zero else interpolation)


def _whole(number: float) -> Any:
    """The number, as an int where it is whole."""
    return int(number) if number == int(number) else number


def poly_interpolation(settings: Settings, window: Window) -> Scheduler:
    """A power of the remaining fraction; reaches ``eta_min`` at ``t = length - 1``."""
    least = settings.number("eta_min", 0.0)
    return _poly(settings, window, lambda base: least)


def poly_ratio_interpolation(settings: Settings, window: Window) -> Scheduler:
    """MMSegmentation 1.2.2's PolyLRRatio: ``eta_min_ratio`` of the base value, where it is set, in place of
    ``eta_min``."""
    least, ratio = settings.number("eta_min", 0.0), settings.number("eta_min_ratio", None)
    return _poly(settings, window, lambda base: least if ratio is None else base * ratio)


def _poly(settings: Settings, window: Window, floor: Callable[[float], float]) -> Scheduler:
    power, last = settings.number("power", 1.0), window.length - 1

    def share(t: int) -> float:
        return (1 - t / last) ** power

    def rule(value: float, t: int, base: float) -> float:
        least = floor(base)
        return (value - least) * (1 - 1 / (last - t + 1)) ** power + least if t else value

    def interpolation(entry: float, base: float) -> ClosedForm:
        least = floor(base)
        schedule = polynomial(entry, least, last, power)
        return ClosedForm(schedule, lambda t: least + (entry - least) * share(t), constant_after=True)

    factor = (
        ClosedForm(polynomial(1.0, 0.0, last, power), share, constant_after=True) if last and not floor(1.0) else None
    )
    acts = range(1, window.length)
    return Scheduler(*window[:3], acts, rule, factor=factor, interpolation=interpolation if factor is None else None)


def cosine_restart_interpolation(settings: Settings, window: Window) -> Scheduler:
    """At the start of each period the base value times its weight, whatever was before; after the last, what is
    left."""
    floor = settings.target("eta_min", "eta_min_ratio")
    periods = [period * window.scale for period in settings.counts("periods")]
    weights = settings.numbers("restart_weights", [1])
    if len(periods) > MOST_CYCLES // 2:
        raise ValueError(f"{settings.where}: at most {MOST_CYCLES // 2} periods are read, got {len(periods)}")
    if not periods or len(periods) != len(weights):
        raise ValueError(f"{settings.where}: {len(periods)} periods need as many restart_weights, got {weights}")
    ends = list(accumulate(periods))

    def place(t: int) -> tuple[int, int]:
        k = next((k for k, end in enumerate(ends) if t < end), len(ends) - 1)
        return k, min(t, ends[-1] - 1) - (ends[k - 1] if k else 0)

    def value(t: int, base: float) -> float:
        k, step = place(t)
        least = floor(base)
        return least + (base * weights[k] - least) * (1 + math.cos(math.pi * step / periods[k])) / 2

    def rule(now: float, t: int, base: float) -> float:
        if t >= ends[-1]:
            return now
        k, step = place(t)
        if not step:
            return base * weights[k]
        wave = [1 + math.cos(math.pi * s / periods[k]) for s in (step, step - 1)]
        return wave[0] / wave[1] * (now - floor(base)) + floor(base)

    def interpolation(entry: float, base: float) -> ClosedForm:
        del entry
        parts = [cosine(base * weight, period, floor(base)) for weight, period in zip(weights, periods, strict=True)]
        return ClosedForm(sequential(parts, at=ends[:-1]), lambda t: value(t, base))

    acts = range(min(window.length, ends[-1]))
    # held where its last period ends, rather than at its floor
    return Scheduler(window.begin, len(acts), window.tick, acts, rule, interpolation=interpolation, absolute=True)


def one_cycle_interpolation(settings: Settings, window: Window) -> Scheduler:
    """As torch's; the optimizer's learning rate does not matter, and ``eta_max / div_factor`` is the new base value."""
    total = settings.count("total_steps", None, least=1)
    settings.values["total_steps"] = total * window.scale if total else None
    schedule = one_cycle(settings, "eta_max", window.length, min(window.length, window.reach))
    form = ClosedForm(schedule, lambda t: phases_at(t, **schedule.arguments))

    def rule(value: float, t: int, base: float) -> float:
        del value, base
        return form.at(t)

    def interpolation(entry: float, base: float) -> ClosedForm:
        del entry, base
        return form

    acts, base = range(window.length), schedule.arguments["values"][0]
    return Scheduler(*window[:3], acts, rule, interpolation=interpolation, absolute=True, base=base)


def quadratic_warmup_interpolation(settings: Settings, window: Window) -> Scheduler:
    """``base * ((t + 1) / length) ** 2``, whatever was before; equal to the warm-up of mmcv's YOLOX policy."""
    del settings

    def rule(value: float, t: int, base: float) -> float:
        return (value if t else 0.0) + base * (2 * t + 1) / window.length**2

    def interpolation(entry: float, base: float) -> ClosedForm:
        del entry
        return ClosedForm(
            quadratic_rise(base, window.length), lambda t: base * ((t + 1) / window.length) ** 2, constant_after=True
        )

    return Scheduler(*window[:3], range(window.length), rule, interpolation=interpolation, absolute=True)
