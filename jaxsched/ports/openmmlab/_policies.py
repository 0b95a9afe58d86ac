"""mmcv 1.7.2's lr_config and momentum_config: the hooks of ``mmcv/runner/hooks/{lr,momentum}_updater.py`` as schedules.

In mmcv the value is a pure function of the iteration ``i``, the epoch ``e = i // steps_per_epoch`` and the group's base
value. A policy sees ``p = e`` by epoch (the default) or ``p = i`` by iteration, and the warm-up multiplies what the
policy gives *now* (divides, for momentum), so a warm-up that runs into a milestone drops with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

from jaxsched.checks import short
from jaxsched.ports.openmmlab._context import Context, Curve, Run, Warmup
from jaxsched.ports.openmmlab._one_cycle import cycle, one_cycle
from jaxsched.ports.openmmlab._package_policies import PACKAGE_POLICIES
from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.ports.shared import cyclic_ratio, quadratic_rise, shifted
from jaxsched.schedules import (
    Schedule,
    constant,
    cosine,
    exponential,
    inverse_power,
    linear,
    maximum,
    multi_step,
    per_epoch,
    piecewise,
    polynomial,
    sequential,
    step_decay,
    warmup,
)


def curve(config: Any, run: Run, what: str = "lr") -> Curve:
    """The schedule that ``lr_config`` (or, with ``what="momentum"``, ``momentum_config``) gives each base value.

    Raises:
        TypeError, ValueError: If a setting is missing, unknown, contradictory or out of its range.
    """
    where = f"{what}_config"
    if config is None:
        return constant
    settings = Settings(where, config)
    policy = settings.take("policy")
    if not isinstance(policy, str):
        raise TypeError(f"{where}: policy must be a name, got {policy!r}")
    name = policy.title() if policy.islower() else policy
    table = _LR if what == "lr" else _MOMENTUM
    if name not in table:
        raise ValueError(
            f"{where}: policy {short(policy)} is not known; known are {', '.join(sorted(table))}. Of another, read "
            f"without it, options={{'{where}': None}} (--option {where}=None), and give the recipe's {what} yourself"
        )
    by_iteration = name in ("Cyclic", "OneCycle")
    counts_epochs = run.epochs is not None or what == "momentum"  # an IterBasedRunner changes only lr_config's default
    by_epoch = settings.flag("by_epoch", counts_epochs and not by_iteration)
    if by_epoch and by_iteration:
        raise ValueError(f"{where}: policy {policy!r} goes by iteration: remove by_epoch=True")
    if name == "YOLOX" and settings.values.get("warmup") is None and settings.values.get("warmup_iters"):
        raise ValueError(
            f"{where}: warmup_iters without warmup shifts YOLOX's cosine: name a warmup, or remove warmup_iters"
        )
    warm = _warmup(settings, run, what, by_epoch)
    if name == "StepFixCosineAnnealing" and warm and warm.shape == "linear":
        warm = warm._replace(ratio=0.0)
    context = Context(settings, run, by_epoch, what, warm)
    result = table[name](context) if name == "YOLOX" else _warmed(table[name](context), context)
    settings.finish()
    if by_epoch and run.epochs is None:
        return constant  # the runner never begins an epoch, so neither policy nor warm-up ever acts
    return result


def _warmup(settings: Settings, run: Run, what: str, by_epoch: bool) -> Warmup | None:
    shape = settings.choice("warmup", (None, "constant", "linear", "exp"), None)
    of_epochs = settings.flag("warmup_by_epoch") if what == "lr" else False
    given = settings.number("warmup_iters", 0, low=0.0)
    steps = given * run.steps_per_epoch if of_epochs else given
    ratio = settings.number("warmup_ratio", 0.1 if what == "lr" else 0.9)
    if of_epochs and run.epochs is None:
        raise ValueError(f"{settings.where}: warmup_by_epoch needs an EpochBasedRunner; give iterations")
    if steps != int(steps) and (by_epoch or not of_epochs):  # earlier releases of mmcv took a fraction of epochs
        raise ValueError(f"{settings.where}: warmup_iters must come to whole iterations, got {given!r}")
    if shape is None:
        return None
    if not steps:
        raise ValueError(f"{settings.where}: warmup={shape!r} needs warmup_iters > 0")
    if not 0 < ratio <= 1:
        raise ValueError(f"{settings.where}: warmup_ratio must be in (0, 1], got {ratio!r}")
    steps = int(steps) if steps == int(steps) else steps
    return Warmup(steps, ratio, "exponential" if shape == "exp" else shape)


def _warmed(policy: Curve, context: Context) -> Curve:
    warm = context.warm
    factor = warmup(constant(1.0), warm.steps, warm.ratio, warm.shape) if warm and warm.ratio != 1 else None

    def curve(base: float) -> Schedule:
        regular = policy(base)
        if context.by_epoch:
            regular = per_epoch(regular, context.run.steps_per_epoch)
        if factor is None:
            return regular
        return regular * factor if context.what == "lr" else regular / factor

    return curve


# Policies: from settings to a curve of p


def _fixed(context: Context) -> Curve:
    del context
    return constant


def _step(context: Context) -> Curve:
    settings, what = context.settings, context.what
    step = settings.take("step")
    gamma = settings.number("gamma", 0.1 if what == "lr" else 0.5)
    least = settings.number(f"min_{what}", None)
    whole = step if isinstance(step, list) else [step]
    if not all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in whole) or isinstance(step, bool):
        raise TypeError(f"{settings.where}: step must be a positive int or a list of them, got {step!r}")
    # mmcv looks for the first entry beyond p: one that is not larger than those before it changes nothing
    at = list(accumulate(step, max)) if isinstance(step, list) else None

    if gamma == 1 and least is None:
        return constant

    def curve(base: float) -> Schedule:
        stairs = step_decay(base, whole[0], gamma) if at is None else multi_step(base, at, gamma)
        return stairs if least is None else maximum(stairs, least)

    return curve


def _exp(context: Context) -> Curve:
    gamma = context.settings.number("gamma")
    return lambda base: exponential(base, gamma)


def _inv(context: Context) -> Curve:
    gamma, power = context.settings.number("gamma"), context.settings.number("power", 1.0)
    return lambda base: inverse_power(base, gamma, power)


def _poly(context: Context) -> Curve:
    power, least = context.settings.number("power", 1.0), context.settings.number("min_lr", 0.0)
    return lambda base: polynomial(base, least, context.length, power)


def _cosine(context: Context) -> Curve:
    target = context.target()
    return lambda base: cosine(base, context.length, target(base))


def _linear(context: Context) -> Curve:
    target = context.target()
    return lambda base: linear(base, target(base), context.length)


def _flat_cosine(context: Context) -> Curve:
    settings, target = context.settings, context.target()
    share = settings.number("start_percent", 0.75)
    if not isinstance(share, float) or not 0 <= share <= 1:
        raise ValueError(f"{settings.where}: start_percent must be a float in [0, 1], got {share!r}")
    begin = round(context.length * share)

    def curve(base: float) -> Schedule:
        if begin >= context.length:
            return constant(base)
        falling = cosine(base, context.length - begin, target(base))
        return sequential([base, falling], at=[begin]) if begin else falling

    return curve


def _cosine_restart(context: Context) -> Curve:
    settings, target = context.settings, context.target()
    periods = settings.counts("periods")
    weights = settings.numbers("restart_weights", [1])
    if len(periods) != len(weights):
        raise ValueError(f"{settings.where}: {len(periods)} periods need as many restart_weights, got {weights}")
    ends = list(accumulate(periods))
    if not periods or ends[-1] < context.length:
        raise ValueError(f"{settings.where}: the periods {periods} end before the run of {context.length} does")

    def curve(base: float) -> Schedule:
        floor = target(base)
        parts = [
            cosine(floor + weight * (base - floor), period, floor)
            for weight, period in zip(weights, periods, strict=True)
        ]
        return sequential(parts, at=ends[:-1])

    return curve


def _cyclic(context: Context) -> Curve:
    settings, what = context.settings, context.what
    ratio = settings.take("target_ratio", (10, 1e-4) if what == "lr" else (0.85 / 0.95, 1.0))
    if isinstance(ratio, float) or (isinstance(ratio, tuple) and len(ratio) == 1):
        top = ratio if isinstance(ratio, float) else ratio[0]
        ratio = (top, top / 1e5)
    if not isinstance(ratio, tuple) or len(ratio) != 2:
        raise TypeError(f"{settings.where}: target_ratio must be a float or a tuple of two, got {ratio!r}")
    times = settings.count("cyclic_times", 1, least=1)
    share = settings.number("step_ratio_up", 0.4)
    shape = settings.choice("anneal_strategy", ("cos", "linear"), "cos")
    gamma = settings.number("gamma", 1.0)
    if not 0 <= share < 1:
        raise ValueError(f"{settings.where}: step_ratio_up must be in [0, 1), got {share!r}")
    if not 0 < gamma <= 1:
        raise ValueError(f"{settings.where}: gamma must be in (0, 1], got {gamma!r}")
    steps = context.run.steps // times
    if not steps:
        raise ValueError(f"{settings.where}: {times} cycles do not fit into {context.run.steps} iterations")
    return lambda base: base * cyclic_ratio(steps, int(share * steps), ratio[0], ratio[1], gamma, shape)


def _one_cycle_lr(context: Context) -> Curve:
    result = one_cycle(context.settings, "max_lr", context.run.steps)
    return lambda base: result


def _one_cycle_momentum(context: Context) -> Curve:
    settings = context.settings
    low, high = settings.number("base_momentum", 0.85), settings.number("max_momentum", 0.95)
    three = settings.flag("three_phase")
    result = cycle(settings, [high, low, high, high] if three else [high, low, high], context.run.steps, three)
    return lambda base: result


def _yolox(context: Context) -> Curve:
    """MMDetection's YOLOXLrUpdaterHook: a warm-up from the base value and a cosine that is one iteration ahead."""
    settings, run, target, warm = context.settings, context.run, context.target(), context.warm
    last = settings.count("num_last_epochs") * run.steps_per_epoch
    if context.by_epoch:
        raise ValueError(
            f"{settings.where}: policy 'YOLOX' needs by_epoch=False: it counts its last epochs in iterations"
        )
    warm_steps = context.warm_steps
    length = run.steps - warm_steps - last

    def curve(base: float) -> Schedule:
        floor = target(base)
        falling = constant(floor) if length <= 0 else shifted(cosine(base, length, floor), 1 - warm_steps)
        if warm is None:
            return falling
        return piecewise([quadratic_rise(base * warm.ratio, warm_steps), falling], at=[warm_steps])

    return curve


_LR: Mapping[str, Callable[[Context], Curve]] = {
    "Fixed": _fixed,
    "Step": _step,
    "Exp": _exp,
    "Poly": _poly,
    "Inv": _inv,
    "CosineAnnealing": _cosine,
    "FlatCosineAnnealing": _flat_cosine,
    "CosineRestart": _cosine_restart,
    "Cyclic": _cyclic,
    "OneCycle": _one_cycle_lr,
    "LinearAnnealing": _linear,
    "YOLOX": _yolox,
    **PACKAGE_POLICIES,
}
_MOMENTUM: Mapping[str, Callable[[Context], Curve]] = {
    "Step": _step,
    "CosineAnnealing": _cosine,
    "LinearAnnealing": _linear,
    "Cyclic": _cyclic,
    "OneCycle": _one_cycle_momentum,
}
