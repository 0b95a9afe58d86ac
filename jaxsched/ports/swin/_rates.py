"""The learning rates of Swin-Transformer, by the number of an update: timm's schedulers and two of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

from jaxsched.checks import short
from jaxsched.ports import shared
from jaxsched.recipe import caution
from jaxsched.schedules import Schedule, cosine, linear, multi_step, piecewise, sequential, step_decay


def rate(
    where: str,
    a: shared.YacsSettings,
    rates: Mapping[str, float],
    epochs: int,
    updates: int,
    most: int,
    early: bool,
    notes: list[str],
) -> Callable[[float], Schedule]:
    """The lr by the number of an update, of a layer whose peak is multiplied by a scale.

    ``updates`` are those of an epoch, ``most`` is the last number, and ``early`` says that a config without
    WARMUP_PREFIX is of a release without it.
    """
    s = a.section("LR_SCHEDULER", {})
    start, floor = rates["WARMUP_LR"], rates["MIN_LR"]
    length, warm = epochs * updates, int(a.number("WARMUP_EPOCHS", low=0.0) * updates)
    says, prefix = "WARMUP_PREFIX" in s.values, s.flag("WARMUP_PREFIX")
    name = s.choice("NAME", ("cosine", "linear", "step", "multistep"))
    decay_epochs, rate = s.number("DECAY_EPOCHS", low=0.0), s.number("DECAY_RATE", low=0.0)
    gamma, at = s.number("GAMMA", low=0.0), s.counts("MULTISTEPS", least=0)
    s.finish()
    if warm >= length:
        raise ValueError(f"{a.at('WARMUP_EPOCHS')} must be below EPOCHS ({epochs}), got {warm / updates:g}")
    if name == "cosine" and not says and early:
        prefix = False
    elif name == "cosine" and not says and warm:
        text = f"{where} has no TRAIN.LR_SCHEDULER.WARMUP_PREFIX, read as True, which it is since 2022; before"
        notes.append(caution("version-open", f"{text}, the cosine's clock ran during warm-up; set it"))
    # A line falls on where batches that make no update are counted beyond the end.
    beyond = max(most, length) - warm
    if name == "linear" and 0.99 * beyond > length - warm:
        raise ValueError(f"{a.at('ACCUMULATION_STEPS')}: the line goes below 0 in the last epochs")
    if name == "multistep" and (not at or warm > min(at) * updates):
        raise ValueError(f"{s.at('MULTISTEPS')} must follow WARMUP_EPOCHS, got {short(at)}")
    if any(later <= before for before, later in itertools.pairwise(at)):
        raise ValueError(f"{s.at('MULTISTEPS')} must ascend, got {short(at)}")
    follows = name == "linear" or (name == "cosine" and prefix)  # whether the schedule begins when warm-up ends

    def after_warmup(peak: float) -> Schedule:
        if name == "cosine":
            return cosine(peak, length - warm if prefix else length, floor)
        if name == "linear":
            return linear(peak, peak - 0.99 * peak * beyond / (length - warm), beyond)
        if name == "step":
            return step_decay(peak, every=max(int(decay_epochs * updates), 1), factor=rate)
        return multi_step(peak, at=[epoch * updates for epoch in at], factor=gamma)

    def schedule(scale: float) -> Schedule:
        peak = rates["BASE_LR"] * scale
        if not warm:
            return after_warmup(peak)
        parts = [linear(start, peak, warm), after_warmup(peak)]
        return sequential(parts, at=[warm]) if follows else piecewise(parts, at=[warm])

    return schedule
