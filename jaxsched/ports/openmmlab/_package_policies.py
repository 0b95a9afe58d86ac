"""Policies of lr_config of other packages than mmcv and MMDetection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate

from jaxsched.ports.openmmlab._context import Context, Curve
from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.ports.shared import cosine_and_back, shifted
from jaxsched.schedules import Schedule, constant, cosine, linear, multi_step, per_epoch, piecewise, sequential


def _cosine_and_cooldown(context: Context) -> Curve:
    """MMClassification 0.25.0's: half a cosine, which ends ``cool_down_time`` before the run does, then one value."""
    settings, target = context.settings, context.target()
    share, last = settings.number("cool_down_ratio", 0.1), settings.count("cool_down_time", 10)
    length = context.length - last
    if not length:
        raise ValueError(f"{settings.where}: cool_down_time={last} is the whole run: there is no cosine")

    def curve(base: float) -> Schedule:
        low = target(base) * share
        return piecewise([cosine(base, length, target(base)), low], at=[length + 1]) if length > 0 else constant(low)

    return curve


def _cosine_after_warmup(context: Context) -> Curve:
    """MMSelfSup 0.11.0's: half a cosine whose peak is where the warm-up ends, and whose mirror image is before."""
    target = context.target()
    begin = context.warm_steps // context.run.steps_per_epoch if context.by_epoch else context.warm_steps
    length = context.length - begin
    if length <= 0:
        raise ValueError(f"{context.settings.where}: the warm-up is as long as the run: there is no cosine")

    def curve(base: float) -> Schedule:
        falling = cosine(base, length, target(base))
        if not begin:
            return falling
        whole_wave_later = -begin % (2 * length)
        rising = shifted(cosine_and_back(base, base, length, target(base)), whole_wave_later)
        return sequential([rising, falling], at=[begin])

    return curve


def _linear_from(context: Context) -> Curve:
    """MMEditing 0.16.1's and MMGeneration 0.7.3's: the base value until ``start``, then stairs down a line."""
    settings = context.settings
    end, start = settings.number("target_lr", 0.0), settings.count("start", 0)
    every = settings.count("interval", 1, least=1)
    stairs = (context.length - start) // every
    if context.length < start or (not stairs and context.length > start):
        raise ValueError(f"{settings.where}: start={start} and interval={every} leave no step of {context.length}")

    def curve(base: float) -> Schedule:
        if not stairs:
            return constant(base)
        line = linear(base, end, stairs)
        falling = line if every == 1 else per_epoch(line, every)
        return sequential([base, falling], at=[start]) if start else falling

    return curve


def _multi_stage(context: Context) -> Curve:
    """MMFlow 0.5.2's: from each of ``milestone_iters`` on a learning rate of its own, which falls in steps."""
    settings = context.settings
    rates, gammas = settings.numbers("milestone_lrs"), settings.numbers("gammas")
    begins, stairs = settings.counts("milestone_iters", least=0), settings.take("steps")
    if not isinstance(stairs, list | tuple) or not len(rates) == len(gammas) == len(begins) == len(stairs) > 0:
        raise ValueError(f"{settings.where}: milestone_lrs, milestone_iters, steps and gammas must be equally long")
    if begins != sorted(set(begins)):
        raise ValueError(f"{settings.where}: milestone_iters must ascend, got {begins}")
    stages = []
    for rate, gamma, begin, at in zip(rates, gammas, begins, stairs, strict=True):
        at = Settings(settings.where, {"steps": at}).counts("steps")
        if not at or at[0] <= begin:
            raise ValueError(f"{settings.where}: the steps of a stage must come after its start, {begin}, got {at}")
        stages.append(multi_step(rate, list(accumulate(at, max)), gamma))

    def curve(base: float) -> Schedule:
        return piecewise([base, *stages], at=begins) if begins[0] else piecewise(stages, at=begins[1:])

    return curve


PACKAGE_POLICIES: Mapping[str, Callable[[Context], Curve]] = {
    "CosineAnnealingCooldown": _cosine_and_cooldown,
    "Linear": _linear_from,
    "MultiStage": _multi_stage,
    "StepFixCosineAnnealing": _cosine_after_warmup,
}
