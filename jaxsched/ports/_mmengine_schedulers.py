"""mmengine 0.10.7's param_scheduler: the rules of ``mmengine/optim/scheduler/param_scheduler.py``, and MMDetection
3.3.0's QuadraticWarmup, as schedules. The two generations of OpenMMLab differ by a step here and there: see each
rule."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from jaxsched._plateau import plateau
from jaxsched.ports._mm_settings import Settings
from jaxsched.ports._mm_shapes import cosine_and_back, phases_at, quadratic_rise
from jaxsched.ports._mmcv_policies import Curve, Run, one_cycle
from jaxsched.ports._mmengine_compose import Form, Scheduler, compose
from jaxsched.schedules import (
    constant,
    cosine,
    exponential,
    linear,
    multi_step,
    piecewise,
    polynomial,
    sequential,
    step_decay,
)


class Window(NamedTuple):
    begin: int
    length: int
    tick: int
    scale: int
    """What turns a length in the config into ticks: the steps of an epoch for ``convert_to_iter_based``, else 1."""


def curve(
    config: Any, run: Run, what: str = "lr", validated: Sequence[int] | None = None, notes: list[str] | None = None
) -> Curve:
    """The schedule that ``param_scheduler`` gives each base value of ``what``: ``lr`` or ``momentum``.

    Args:
        config: A scheduler or a list of them.
        run: The run.
        what: Whose schedulers to take.
        validated: The epochs, from 1, after which a metric is reported; all where left out.
        notes: Where to say what the user has to do for a scheduler that follows a metric.

    Raises:
        TypeError, ValueError: If a setting is missing, unknown, contradictory or out of its range.
    """
    if config is None:
        return constant
    entries = list(config) if isinstance(config, list | tuple) else [config]
    schedulers = []
    followers = []
    for i, entry in enumerate(entries):
        where = f"param_scheduler[{i}]" if isinstance(config, list | tuple) else "param_scheduler"
        settings = Settings(where, entry)
        kind, of = _kind(settings)
        if kind == "ReduceOnPlateau":
            metric = settings.values.get("monitor", "loss")
            follower = _reduce_on_plateau(settings, run, validated)
            if of == what:
                followers.append(follower)
                if notes is not None:
                    notes.append(f"{where}: pass {metric!r} to jaxsched.report_metric after each validation")
            continue
        made = _scheduler(kind, settings, run)
        if of == what:
            schedulers.append(made)
    if not followers:
        return lambda base: compose(schedulers, base, run.steps)
    if len(followers) > 1 or any(one.course for one in schedulers):
        raise ValueError(
            "param_scheduler: ReduceOnPlateau can stand beside schedulers that multiply (Linear, Constant, MultiStep, "
            "Step, Exponential), not beside others that lead to a value of their own"
        )
    if not schedulers:
        return followers[0]
    return lambda base: followers[0](base) * compose(schedulers, 1.0, run.steps)


def moves_momentum(config: Any) -> bool:
    entries = config if isinstance(config, list | tuple) else [config]
    return any(str(entry.get("type")).endswith("Momentum") for entry in entries if isinstance(entry, Mapping))


def _kind(settings: Settings) -> tuple[str, str]:
    name = settings.take("type")
    if not isinstance(name, str):
        raise TypeError(f"{settings.where}: type must be a name, got {name!r}")
    bare = name.rpartition(".")[2]  # without its scope, as in mmdet.QuadraticWarmupLR
    for ending, what in (("LR", "lr"), ("Momentum", "momentum")):
        kind = bare.removesuffix(ending)
        if (
            kind != bare
            and (kind in _KINDS or kind == "ReduceOnPlateau")
            and not (kind == "OneCycle" and what == "momentum")
        ):
            return kind, what
    known = ", ".join(f"{kind}LR" for kind in sorted(_KINDS))
    raise ValueError(f"{settings.where}: type {name!r} is not known; known are {known}, and their Momentum twins")


def _scheduler(kind: str, settings: Settings, run: Run) -> Scheduler:
    for name, usual in (("last_step", -1), ("verbose", False), ("_scope_", None)):
        value = settings.take(name, usual)
        if name == "last_step" and value != -1:
            raise ValueError(f"{settings.where}: last_step={value!r} resumes a run; take it out")
    by_epoch = settings.flag("by_epoch", True)
    convert = settings.flag("convert_to_iter_based")
    if convert and not by_epoch:
        raise ValueError(f"{settings.where}: convert_to_iter_based needs by_epoch=True")
    scale = run.steps_per_epoch if convert else 1
    # a run that counts iterations is one epoch, which ends when all is over
    epoch = run.steps_per_epoch if run.epochs is not None else run.steps
    begin = settings.number("begin", 0)
    end = settings.number("end", (run.epochs or 1) if by_epoch else run.steps)
    begin, end = (int(begin * scale), int(end * scale)) if convert else (begin, end)
    for name, value in (("begin", begin), ("end", end)):
        if value != int(value) or value < 0:
            raise ValueError(f"{settings.where}: {name} must be a whole number >= 0, got {value!r}")
    if end <= begin:
        raise ValueError(f"{settings.where}: end must be larger than begin, got begin={begin} and end={end}")
    window = Window(int(begin), int(end - begin), epoch if by_epoch and not convert else 1, scale)
    made = _KINDS[kind](settings, window)
    settings.finish()
    return made


def _reduce_on_plateau(settings: Settings, run: Run, validated: Sequence[int] | None) -> Curve:
    """A metric is looked at if it is reported after an epoch (from 1) in [begin, end)."""
    for name in ("monitor", "verbose", "_scope_"):
        settings.take(name, None)
    if settings.take("last_step", -1) != -1:
        raise ValueError(f"{settings.where}: last_step resumes a run; take it out")
    if not settings.flag("by_epoch", True) or settings.flag("convert_to_iter_based"):
        raise ValueError(f"{settings.where}: ReduceOnPlateau goes by epoch: take by_epoch=False out")
    begin, end = settings.count("begin", 0), settings.count("end", run.epochs or 1)
    if end <= begin:
        raise ValueError(f"{settings.where}: end must be larger than begin, got begin={begin} and end={end}")
    if run.epochs is None:  # no epoch ends before the run does, so all reports come in epoch 0
        if begin:
            raise ValueError(f"{settings.where}: begin={begin} never comes in a run by iteration")
        since, until = 0, None
    else:
        epochs = range(1, run.epochs + 1) if validated is None else validated
        since, until = sum(e < begin for e in epochs), sum(e < end for e in epochs)
    floor = settings.take("min_value", 0.0)
    if not isinstance(floor, int | float):
        raise TypeError(f"{settings.where}: min_value must be one number for all groups here, got {floor!r}")
    options = {
        "factor": settings.number("factor", 0.1),
        "patience": settings.count("patience", 10),
        "threshold": settings.number("threshold", 1e-4),
        "relative": settings.choice("threshold_rule", ("rel", "abs"), "rel") == "rel",
        "maximize": settings.choice("rule", ("less", "greater"), "less") == "greater",
        "cooldown": settings.count("cooldown", 0),
        "floor": floor,
        "least_change": settings.number("eps", 1e-8),
        "since": since,
        "until": until,
    }
    settings.finish()
    return lambda base: plateau(base, **options)


# Factors: they multiply the number


def _factor(window: Window, acts: Sequence[int], form: Form) -> Scheduler:
    def rule(value: float, t: int, base: float) -> float:
        del base
        before = form.at(t - 1) if t else 1.0
        return value * form.at(t) / before if before else 0.0

    return Scheduler(window.begin, window.length, window.tick, acts, rule, factor=form)


def _constant(settings: Settings, window: Window) -> Scheduler:
    """``factor`` from ``begin``, restored one tick *before* ``end``; in a window of one tick never."""
    factor = settings.number("factor", 1 / 3)
    if not 0 < factor <= 1:
        raise ValueError(f"{settings.where}: factor must be in (0, 1], got {factor!r}")
    last = window.length - 1
    if factor == 1:
        return _factor(window, [], Form(constant(1.0), lambda t: 1.0, settles=True))
    if not last:
        return _factor(window, [0], Form(constant(factor), lambda t: factor, settles=True))
    form = Form(piecewise([factor, 1.0], at=[last]), lambda t: factor if t < last else 1.0, settles=True)
    return _factor(window, [0, last], form)


def _linear(settings: Settings, window: Window) -> Scheduler:
    """From ``start_factor`` at ``t = 0`` to ``end_factor`` at ``t = length - 1``, one tick earlier than mmcv's
    warm-up."""
    start, end = settings.number("start_factor", 1 / 3), settings.number("end_factor", 1.0)
    for name, value in (("start_factor", start), ("end_factor", end)):
        if not 0 <= value <= 1:
            raise ValueError(f"{settings.where}: {name} must be in [0, 1], got {value!r}")
    last = window.length - 1
    if not last:
        return _factor(window, [0] if start != 1 else [], Form(constant(start), lambda t: start, settles=True))
    if not start:
        raise ValueError(f"{settings.where}: start_factor must be positive: nothing leads away from 0")
    form = Form(linear(start, end, last), lambda t: start + (end - start) * t / last, settles=True)
    return _factor(window, range(0 if start != 1 else 1, window.length if start != end else 1), form)


def _multi_step(settings: Settings, window: Window) -> Scheduler:
    """``gamma`` at each milestone, counted from ``begin``. One at or beyond ``end - begin`` never comes."""
    gamma = settings.number("gamma", 0.1)
    milestones = [milestone * window.scale for milestone in settings.numbers("milestones")]
    for milestone in milestones:
        if milestone != int(milestone) or milestone < 0:
            raise ValueError(f"{settings.where}: milestone {milestone!r} is no whole number >= 0: it would never come")
    at = sorted(int(m) for m in milestones if m < window.length)
    counts = Counter(at)
    gone = dict(zip(counts, accumulate(counts.values()), strict=True))

    def value(t: int) -> float:
        return gamma ** max((n for m, n in gone.items() if m <= t), default=0)

    return _factor(window, sorted(counts), Form(multi_step(1.0, at, gamma), value, settles=True))


def _step(settings: Settings, window: Window) -> Scheduler:
    gamma = settings.number("gamma", 0.1)
    every = settings.count("step_size", least=1) * window.scale
    form = Form(step_decay(1.0, every, gamma), lambda t: gamma ** (t // every))
    return _factor(window, range(every, window.length, every), form)


def _exponential(settings: Settings, window: Window) -> Scheduler:
    gamma = settings.number("gamma")
    return _factor(window, range(1, window.length), Form(exponential(1.0, gamma), lambda t: gamma**t))


# Courses: they lead the number to a floor


def _cosine(settings: Settings, window: Window) -> Scheduler:
    """Half a cosine over ``T_max`` (default: the window), which it passes and climbs again. In a window of ``T_max``
    the floor is not reached: the last tick is ``t = T_max - 1``."""
    length = settings.count("T_max", None, least=1)
    length = window.length if length is None else length * window.scale
    floor = settings.target("eta_min", "eta_min_ratio", 0.0)
    acts = range(1, window.length)

    def wave(t: int) -> float:
        return (1 + math.cos(math.pi * t / length)) / 2

    def rule(value: float, t: int, base: float) -> float:
        least = floor(base)
        if t == 0:
            return value
        if (t - 1 - length) % (2 * length) == 0:
            return value + (base - least) * wave(length + 1)
        return wave(t) / wave(t - 1) * (value - least) + least

    def course(entry: float, base: float) -> Form:
        least = floor(base)
        if window.length - 1 <= length:
            return Form(cosine(entry, length, least), lambda t: least + (entry - least) * wave(t))
        schedule = cosine_and_back(entry, base, length, least)
        return Form(schedule, lambda t: least + ((entry if t <= length else base) - least) * wave(t))

    falls_to_zero = floor(1.0) == 0 and window.length - 1 <= length
    factor = Form(cosine(1.0, length), wave) if falls_to_zero else None
    return Scheduler(*window[:3], acts, rule, factor=factor, course=None if falls_to_zero else course)


def _poly(settings: Settings, window: Window) -> Scheduler:
    """A power of what is left, which reaches ``eta_min`` at ``t = length - 1``."""
    power, least = settings.number("power", 1.0), settings.number("eta_min", 0.0)
    last = window.length - 1

    def share(t: int) -> float:
        return (1 - t / last) ** power

    def rule(value: float, t: int, base: float) -> float:
        del base
        return (value - least) * (1 - 1 / (last - t + 1)) ** power + least if t else value

    def course(entry: float, base: float) -> Form:
        del base
        schedule = polynomial(entry, least, last, power)
        return Form(schedule, lambda t: least + (entry - least) * share(t), settles=True)

    factor = Form(polynomial(1.0, 0.0, last, power), share, settles=True) if last and not least else None
    acts = range(1, window.length)
    return Scheduler(*window[:3], acts, rule, factor=factor, course=course if factor is None else None)


def _cosine_restart(settings: Settings, window: Window) -> Scheduler:
    """At the start of each period the base value times its weight, whatever was before; after the last, what is
    left."""
    floor = settings.target("eta_min", "eta_min_ratio")
    periods = [period * window.scale for period in settings.counts("periods")]
    weights = settings.numbers("restart_weights", [1])
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

    def course(entry: float, base: float) -> Form:
        del entry
        parts = [cosine(base * weight, period, floor(base)) for weight, period in zip(weights, periods, strict=True)]
        return Form(sequential(parts, at=ends[:-1]), lambda t: value(t, base))

    acts = range(min(window.length, ends[-1]))
    # held where its last period ends, rather than at its floor
    return Scheduler(window.begin, len(acts), window.tick, acts, rule, course=course, absolute=True)


def _one_cycle(settings: Settings, window: Window) -> Scheduler:
    """As torch's; the optimizer's learning rate does not matter, and ``eta_max / div_factor`` is the new base value."""
    total = settings.count("total_steps", None, least=1)
    settings.values["total_steps"] = total * window.scale if total else None
    schedule = one_cycle(settings, "eta_max", window.length)
    form = Form(schedule, lambda t: phases_at(t, **schedule.arguments))

    def rule(value: float, t: int, base: float) -> float:
        del value, base
        return form.at(t)

    def course(entry: float, base: float) -> Form:
        del entry, base
        return form

    acts, base = range(window.length), schedule.arguments["values"][0]
    return Scheduler(*window[:3], acts, rule, course=course, absolute=True, base=base)


def _quadratic_warmup(settings: Settings, window: Window) -> Scheduler:
    """``base * ((t + 1) / length) ** 2``, whatever was before; equal to the warm-up of mmcv's YOLOX policy."""
    del settings

    def rule(value: float, t: int, base: float) -> float:
        return (value if t else 0.0) + base * (2 * t + 1) / window.length**2

    def course(entry: float, base: float) -> Form:
        del entry
        return Form(quadratic_rise(base, window.length), lambda t: base * ((t + 1) / window.length) ** 2, settles=True)

    return Scheduler(*window[:3], range(window.length), rule, course=course, absolute=True)


_KINDS: Mapping[str, Callable[[Settings, Window], Scheduler]] = {
    "Constant": _constant,
    "CosineAnnealing": _cosine,
    "CosineRestart": _cosine_restart,
    "Exponential": _exponential,
    "Linear": _linear,
    "MultiStep": _multi_step,
    "OneCycle": _one_cycle,
    "Poly": _poly,
    "QuadraticWarmup": _quadratic_warmup,
    "Step": _step,
}
