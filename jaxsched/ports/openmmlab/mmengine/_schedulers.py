"""mmengine 0.10.7's param_scheduler: the rules of ``mmengine/optim/scheduler/param_scheduler.py``, and MMDetection
3.3.0's QuadraticWarmup, as schedules. The two generations of OpenMMLab differ by a step here and there: see each
rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jaxsched.metric import plateau
from jaxsched.ports.openmmlab._policies import Curve, Run
from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.ports.openmmlab.mmengine import _courses as courses
from jaxsched.ports.openmmlab.mmengine import _factors as factors
from jaxsched.ports.openmmlab.mmengine._compose import Scheduler, compose
from jaxsched.ports.openmmlab.mmengine._factors import Window
from jaxsched.schedules import constant


def curve(
    config: Any,
    run: Run,
    what: str = "lr",
    reports_before: Callable[[int], int] | None = None,
    notes: list[str] | None = None,
) -> Curve:
    """The schedule that ``param_scheduler`` gives each base value of ``what``: ``lr`` or ``momentum``.

    Args:
        config: A scheduler or a list of them.
        run: The run.
        what: Whose schedulers to take.
        reports_before: How many metrics are reported before the end of an epoch (from 1); one an epoch if left out.
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
            follower = _reduce_on_plateau(settings, run, reports_before)
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


def _reduce_on_plateau(settings: Settings, run: Run, reports_before: Callable[[int], int] | None) -> Curve:
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
        before = reports_before or (lambda epoch: max(epoch - 1, 0))
        since, until = before(begin), before(end)
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


_KINDS: Mapping[str, Callable[[Settings, Window], Scheduler]] = {
    "Constant": factors.constant_factor,
    "CosineAnnealing": courses.cosine_course,
    "CosineRestart": courses.cosine_restart_course,
    "Exponential": factors.exponential_factor,
    "Linear": factors.linear_factor,
    "MultiStep": factors.multi_step_factor,
    "OneCycle": courses.one_cycle_course,
    "Poly": courses.poly_course,
    "QuadraticWarmup": courses.quadratic_warmup_course,
    "Step": factors.step_factor,
}
