"""mmengine 0.10.7's param_scheduler: the rules of ``mmengine/optim/scheduler/param_scheduler.py``, and MMDetection
3.3.0's QuadraticWarmup, as schedules. The two generations of OpenMMLab differ by a step here and there: see each
rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxsched.metric import plateau
from jaxsched.ports.openmmlab._context import Curve, Run
from jaxsched.ports.openmmlab._settings import Settings, bare
from jaxsched.ports.openmmlab.mmengine import _factors as factors
from jaxsched.ports.openmmlab.mmengine import _interpolations as interpolations
from jaxsched.ports.openmmlab.mmengine._compose import Scheduler, compose
from jaxsched.ports.openmmlab.mmengine._factors import Window
from jaxsched.schedules import Schedule, constant


def curve(
    config: Any,
    run: Run,
    what: str = "lr",
    reports_before: Callable[[int], int] | None = None,
    notes: list[str] | None = None,
    scope: str | None = None,
) -> Curve:
    """The schedule that ``param_scheduler`` gives each base value of ``what``.

    Args:
        config: A scheduler or a list of them.
        run: The run.
        what: Whose schedulers to take.
        reports_before: How many metrics are reported before the end of an epoch (from 1); one an epoch if left out.
        scope: The package whose schedulers are meant, ``default_scope``.
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
        kind, of = _kind(settings, scope)
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
        # MMPretrain's own scheduler of weight decay leaves a decay of 0 alone, mmengine's does not
        kept = what == "weight_decay" and all(_keeps_zero(entry) for entry in entries if moves(entry, what))
        return lambda base: constant(0.0) if kept and not base else compose(schedulers, base, run.steps)
    if len(followers) > 1:
        raise ValueError("param_scheduler: more than one ReduceOnPlateau is not read: remove one")
    follower = followers[0]
    if not schedulers:
        return follower.curve
    if all(one.last < follower.since for one in schedulers if one.acts):

        def after(base: float) -> Schedule:
            before = compose(schedulers, base, run.steps)
            reached = float(before(min(follower.since, run.steps - 1)))
            return follower.curve(reached) * (1.0 / reached) * before if reached else before

        return after
    if follower.floor:
        raise ValueError(
            f"param_scheduler: ReduceOnPlateau with min_value={follower.floor:g} beside other schedulers is not read: "
            "the floor acts on the product of all; remove min_value, or begin it where they end"
        )
    if any(one.interpolation for one in schedulers):
        raise ValueError(
            "param_scheduler: ReduceOnPlateau beside a scheduler that ends at a value other than 0 is not read: that "
            "scheduler continues from the reduced value, so that its values depend on when the reductions happen. Let "
            "it end at 0 (eta_min=0), or begin ReduceOnPlateau where it ends; schedulers that multiply (Linear, "
            "Constant, MultiStep, Step, Exponential) may run at the same time"
        )
    return lambda base: follower.curve(base) * compose(schedulers, 1.0, run.steps)


_LISTS = {"eta_max": 1, "min_value": 0}
"""Settings that may have a value for each group. mmengine's OneCycle wants one more, for the optimizer's defaults."""


def by_group(config: Any, names: Sequence[str]) -> dict[str, Any]:
    """The ``param_scheduler`` of each group, where a setting has a list of values that differ; else none.

    Args:
        config: A scheduler or a list of them.
        names: The groups in the order of the original.
    """
    entries = list(config) if isinstance(config, list | tuple) else [config]
    lists = [
        (i, name, entry[name])
        for i, entry in enumerate(entries)
        if isinstance(entry, Mapping)
        for name in _LISTS
        if isinstance(entry.get(name), list | tuple) and any(value != entry[name][0] for value in entry[name])
    ]
    for i, name, values in lists:
        if len(values) != (needed := len(names) + _LISTS[name]):
            last = ", and one for the optimizer's defaults" if _LISTS[name] else ""
            raise ValueError(
                f"param_scheduler[{i}]: {name} needs {needed} values, of {', '.join(names)}{last}, got {len(values)}"
            )
    found = {}
    for k, group in enumerate(names if lists else ()):
        own = [dict(entry) if isinstance(entry, Mapping) else entry for entry in entries]
        for i, name, values in lists:
            own[i][name] = values[k]
        found[group] = own
    return found


def moves(config: Any, what: str) -> bool:
    """Whether a scheduler moves ``momentum`` or ``weight_decay``; errors are left to `curve`."""
    entries = config if isinstance(config, list | tuple) else [config]
    named = [entry for entry in entries if isinstance(entry, Mapping) and isinstance(entry.get("type"), str)]
    ending = {"momentum": "Momentum", "weight_decay": "WeightDecay"}[what]
    return any(entry["type"].endswith(ending) or entry.get("param_name") == what for entry in named)


def _keeps_zero(entry: Any) -> bool:
    return bare(entry["type"]) == "CosineAnnealingWeightDecay"


_MOVED = ("lr", "momentum", "weight_decay")


_OF_PACKAGES = {("mmpose", "ConstantLR"): "ConstantOfMMPose", ("mmseg", "PolyLRRatio"): "PolyRatio"}
"""Schedulers of lr of packages that have their own, or one by a name of mmengine's."""


def _kind(settings: Settings, scope: str | None) -> tuple[str, str]:
    """The kind of a scheduler, and what it moves: ``MultiStepLR``, ``MultiStepParamScheduler`` of ``param_name``."""
    given = settings.take("type")
    name = bare(given)
    if not isinstance(name, str):
        raise TypeError(f"{settings.where}: type must be a name, got {name!r}")
    package = given.partition(".")[0] if "." in given else settings.values.get("_scope_", scope)
    own = _OF_PACKAGES.get(("mmseg" if name == "PolyLRRatio" else str(package), name))
    if own is not None:
        return own, "lr"
    if name == "CosineAnnealingWeightDecay":  # of MMPretrain
        if settings.take("eta_min_ratio", None) is not None:
            raise ValueError(f"{settings.where}: CosineAnnealingWeightDecay is read with eta_min only")
        return "CosineAnnealing", "weight_decay"
    for ending, what in (("LR", "lr"), ("Momentum", "momentum"), ("ParamScheduler", None)):
        kind = name.removesuffix(ending)
        if (
            kind == name
            or kind in _OF_PACKAGES.values()
            or not (kind in _KINDS or kind == "ReduceOnPlateau")
            or (kind == "OneCycle" and what != "lr")
        ):
            continue
        return kind, what if what is not None else settings.choice("param_name", _MOVED)
    known = ", ".join(f"{kind}LR" for kind in sorted(set(_KINDS) - set(_OF_PACKAGES.values())))
    raise ValueError(
        f"{settings.where}: type {name!r} is not known; known are {known}, "
        "their Momentum twins, and ParamScheduler with param_name. With another, read without schedulers, "
        "options={'param_scheduler': None} (--option param_scheduler=None), and give the recipe's lr yourself"
    )


def _scheduler(kind: str, settings: Settings, run: Run) -> Scheduler:
    for name, usual in (("last_step", -1), ("verbose", False), ("_scope_", None)):
        value = settings.take(name, usual)
        if name == "last_step" and value != -1:
            raise ValueError(f"{settings.where}: last_step={value!r} resumes a run; remove it")
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
    tick = epoch if by_epoch and not convert else 1
    reach = max(-(-run.steps // tick) - int(begin), 1)
    window = Window(int(begin), int(end - begin), tick, scale, reach)
    made = _KINDS[kind](settings, window)
    settings.finish()
    return made


class _Follower(NamedTuple):
    curve: Curve
    floor: float
    since: int
    """The step from which it may change the value."""


def _reduce_on_plateau(settings: Settings, run: Run, reports_before: Callable[[int], int] | None) -> _Follower:
    """A metric is looked at if it is reported after an epoch (from 1) in [begin, end)."""
    for name in ("monitor", "verbose", "_scope_"):
        settings.take(name, None)
    if settings.take("last_step", -1) != -1:
        raise ValueError(f"{settings.where}: last_step resumes a run; remove it")
    if not settings.flag("by_epoch", True) or settings.flag("convert_to_iter_based"):
        raise ValueError(f"{settings.where}: ReduceOnPlateau goes by epoch: remove by_epoch=False")
    begin, end = settings.count("begin", 0), settings.count("end", run.epochs or 1)
    if end <= begin:
        raise ValueError(f"{settings.where}: end must be larger than begin, got begin={begin} and end={end}")
    if run.epochs is None:  # no epoch ends before the run does, so all reports come in epoch 0
        if begin:
            raise ValueError(f"{settings.where}: begin={begin} is never reached in a run by iteration")
        since, until = 0, None
    else:
        before = reports_before or (lambda epoch: max(epoch - 1, 0))
        since, until = before(begin), before(end)
    floor = settings.for_all_groups("min_value", 0.0)
    options = {
        "factor": settings.number("factor", 0.1),
        "patience": settings.count("patience", 10),
        "threshold": settings.number("threshold", 1e-4, low=0.0),
        "relative": settings.choice("threshold_rule", ("rel", "abs"), "rel") == "rel",
        "maximize": settings.choice("rule", ("less", "greater"), "less") == "greater",
        "cooldown": settings.count("cooldown", 0),
        "floor": floor,
        "least_change": settings.number("eps", 1e-8),
        "since": since,
        "until": until,
    }
    settings.finish()
    return _Follower(lambda base: plateau(base, **options), floor, begin * run.steps_per_epoch)


_KINDS: Mapping[str, Callable[[Settings, Window], Scheduler]] = {
    "Constant": factors.constant_factor,
    "ConstantOfMMPose": factors.constant_factor_of_mmpose,
    "CosineAnnealing": interpolations.cosine_interpolation,
    "CosineRestart": interpolations.cosine_restart_interpolation,
    "Exponential": factors.exponential_factor,
    "Linear": factors.linear_factor,
    "MultiStep": factors.multi_step_factor,
    "OneCycle": interpolations.one_cycle_interpolation,
    "Poly": interpolations.poly_interpolation,
    "PolyRatio": interpolations.poly_ratio_interpolation,
    "QuadraticWarmup": interpolations.quadratic_warmup_interpolation,
    "Step": factors.step_factor,
}
