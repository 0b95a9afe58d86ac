"""mmengine's schedulers that multiply: Constant, Linear, MultiStep, Step, Exponential."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.ports.openmmlab.mmengine._compose import ClosedForm, Scheduler
from jaxsched.schedules import constant, exponential, linear, multi_step, piecewise, step_decay


class Window(NamedTuple):
    begin: int
    length: int
    tick: int
    scale: int
    """What turns a length in the config into ticks: the steps of an epoch for ``convert_to_iter_based``, else 1."""
    reach: int
    """Ticks of the run from ``begin`` on."""


def _factor(window: Window, acts: Sequence[int], form: ClosedForm) -> Scheduler:
    def rule(value: float, t: int, base: float) -> float:
        del base
        before = form.at(t - 1) if t else 1.0
        return value * form.at(t) / before if before else 0.0

    return Scheduler(window.begin, window.length, window.tick, acts, rule, factor=form)


def constant_factor(settings: Settings, window: Window) -> Scheduler:
    """``factor`` from ``begin``, restored one tick *before* ``end``; in a window of one tick never."""
    factor = settings.number("factor", 1 / 3)
    if not 0 < factor <= 1:
        raise ValueError(f"{settings.where}: factor must be in (0, 1], got {factor!r}")
    return _constant(factor, window)


def constant_factor_of_mmpose(settings: Settings, window: Window) -> Scheduler:
    """MMPose 1.3.2's ConstantLR, which takes any factor, such as 2.5."""
    factor = settings.number("factor", 1 / 3)
    if factor <= 0:
        raise ValueError(f"{settings.where}: factor must be positive, got {factor!r}")
    return _constant(factor, window)


def _constant(factor: float, window: Window) -> Scheduler:
    last = window.length - 1
    if factor == 1:
        return _factor(window, [], ClosedForm(constant(1.0), lambda t: 1.0, constant_after=True))
    if not last:
        return _factor(window, [0], ClosedForm(constant(factor), lambda t: factor, constant_after=True))
    form = ClosedForm(piecewise([factor, 1.0], at=[last]), lambda t: factor if t < last else 1.0, constant_after=True)
    return _factor(window, [0, last], form)


def linear_factor(settings: Settings, window: Window) -> Scheduler:
    """From ``start_factor`` at ``t = 0`` to ``end_factor`` at ``t = length - 1``, one tick earlier than mmcv's
    warm-up."""
    start, end = settings.number("start_factor", 1 / 3), settings.number("end_factor", 1.0)
    for name, value in (("start_factor", start), ("end_factor", end)):
        if not 0 <= value <= 1:
            raise ValueError(f"{settings.where}: {name} must be in [0, 1], got {value!r}")
    last = window.length - 1
    if not last:
        return _factor(
            window, [0] if start != 1 else [], ClosedForm(constant(start), lambda t: start, constant_after=True)
        )
    if not start:
        raise ValueError(f"{settings.where}: start_factor must be positive: a factor of 0 never grows")
    form = ClosedForm(linear(start, end, last), lambda t: start + (end - start) * t / last, constant_after=True)
    return _factor(window, range(0 if start != 1 else 1, window.length if start != end else 1), form)


def multi_step_factor(settings: Settings, window: Window) -> Scheduler:
    """``gamma`` at each milestone, counted from ``begin``. One at or beyond ``end - begin`` never comes."""
    gamma = settings.number("gamma", 0.1)
    milestones = [milestone * window.scale for milestone in settings.numbers("milestones")]
    for milestone in milestones:
        if milestone != int(milestone) or milestone < 0:
            raise ValueError(
                f"{settings.where}: milestone {milestone!r} is not a whole number >= 0: it would never be reached"
            )
    at = sorted(int(m) for m in milestones if m < window.length) if gamma != 1 else []
    counts = Counter(at)
    gone = dict(zip(counts, accumulate(counts.values()), strict=True))

    def value(t: int) -> float:
        return gamma ** max((n for m, n in gone.items() if m <= t), default=0)

    return _factor(window, sorted(counts), ClosedForm(multi_step(1.0, at, gamma), value, constant_after=True))


def step_factor(settings: Settings, window: Window) -> Scheduler:
    gamma = settings.number("gamma", 0.1)
    every = settings.count("step_size", least=1) * window.scale
    form = ClosedForm(step_decay(1.0, every, gamma), lambda t: gamma ** (t // every))
    return _factor(window, range(every, window.length, every), form)


def exponential_factor(settings: Settings, window: Window) -> Scheduler:
    gamma = settings.number("gamma")
    return _factor(window, range(1, window.length), ClosedForm(exponential(1.0, gamma), lambda t: gamma**t))
