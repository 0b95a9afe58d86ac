"""Rules on lengths: of warm-ups, decays and cycles, where milestones are, and in which unit they count."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from jaxsched.checks import Role, argument_roles
from jaxsched.metric.internal import FOLLOWERS, definitions
from jaxsched.report._sample import Sample
from jaxsched.report._table import epochs, short
from jaxsched.report.lint._finding import Finding
from jaxsched.schedules import Moment, Schedule
from jaxsched.schedules.internal import number, numbers, parts

MANY_MILESTONES = 10
"""Stairs with more milestones than this may well begin during warm-up."""
MOST_WRITTEN = 8
"""Lengths that a message lists."""
TINY_WARMUP = 10
"""Steps; a warm-up this short in a much longer epoch was probably meant in epochs."""


def no_length(seen: Sample) -> Iterator[Finding]:
    if seen.recipe.steps is None:
        yield Finding(
            "no-length",
            "remark",
            "the recipe has no length: the rules on lengths are not checked",
            "Give it one: recipe.replace(steps=...); the recipe of a chain is js.recipe.as_recipe(tx).",
        )


def warmup_too_long(seen: Sample) -> Iterator[Finding]:
    for group, name, moment in _moments(seen):
        too_long = moment.step >= seen.length + (moment.kind == "rise") and moment.clock.end >= seen.length
        upside_down = _upside_down(moment.part) or falls_elsewhere(seen, group, moment)
        if moment.kind in ("warm-up", "rise") and too_long and not upside_down:
            where = seen.values[group][name]
            lr = name == "lr"
            yield Finding(
                "warmup-too-long" if lr else "momentum-warmup-too-long",
                "error" if lr and moment.step > seen.length else "warning",
                f"{name}: warm-up takes {_steps(seen, moment.step)}, training {_steps(seen, seen.length)}: it ends at "
                f"{short(float(where[-1]))}",
                "Shorten the warm-up or train for longer.",
                (group,),
            )


def milestone_past_end(seen: Sample) -> Iterator[Finding]:
    """Milestones after the run, and those that another part of the schedule cuts off."""
    for group, name, moment in _moments(seen):
        if moment.kind not in ("milestone", "part") or _counts_steps_as_epochs(seen, moment):
            continue
        if moment.step >= moment.clock.end and moment.clock.end < seen.length:
            yield Finding(
                "milestone-never-reached",
                "warning",
                f"{name}: the {moment.what} at {_at(seen, moment.step)} lies outside its part of the schedule, which "
                f"ends at {_at(seen, math.ceil(moment.clock.end))}",
                "Move it into that part, or let the part last longer.",
                (group,),
            )
        elif moment.step >= seen.length + (moment.kind == "part"):  # one that begins as the run ends is for afterwards
            yield Finding(
                "milestone-past-end",
                "remark" if moment.step == seen.length else "warning",  # as [30, 60, 90] of 90 epochs: without effect
                f"{name}: the {moment.what} at {_at(seen, moment.step)} comes after the last step, {seen.length - 1}",
                "Move it before the end, train for longer, or take it out.",
                (group,),
            )


def milestone_in_warmup(seen: Sample) -> Iterator[Finding]:
    for group, by_name in seen.moments.items():
        warm = _warmup_end(seen, group)
        found = [m for m in by_name.get("lr", []) if m.kind == "milestone" and m.happens]
        early = [m for m in found if 0 < m.step < warm < seen.length]  # a longer warm-up is reported as such
        if early and len(found) <= MANY_MILESTONES:
            yield Finding(
                "milestone-in-warmup",
                "warning",
                f"lr: the milestone at {_at(seen, early[0].step)} is in the warm-up, which ends at {_at(seen, warm)}",
                "Move the milestone after the warm-up, or shorten the warm-up.",
                (group,),
            )


def peak_never_reached(seen: Sample) -> Iterator[Finding]:
    """A warm-up that lasts beyond the middle of the decay within it, whose clock runs during the warm-up."""
    warm_up_ends = {group: _warmup_end(seen, group) for group in seen.moments}
    for group, name, moment in _moments(seen):
        begun, end, warm = moment.clock.step(0), moment.step, warm_up_ends[group]
        leaf = not any(isinstance(value, Schedule) for value in moment.part.arguments.values())
        if name == "lr" and moment.kind == "end" and leaf and moment.happens and begun < warm < min(end, seen.length):
            share = (warm - begun) / (end - begun)
            if share > 0.5:
                yield Finding(
                    "peak-never-reached",
                    "warning",
                    f"lr: {share:.0%} of {moment.part.name} are over when the warm-up ends, at "
                    f"{_at(seen, warm)}: the highest lr is {short(float(seen.values[group]['lr'].max()))}",
                    "Shorten the warm-up, or delay the decay by it: js.sequential or js.schedules.delayed.",
                    (group,),
                )


def units(seen: Sample) -> Iterator[Finding]:
    for group, name, moment in _moments(seen):
        per_epoch, part = seen.recipe.steps_per_epoch, moment.part
        if not per_epoch or per_epoch < 2:
            return
        run = seen.length / per_epoch
        extent = _extent(moment)
        if extent is None:
            continue
        longest = extent[1]
        if moment.clock.every == 1 and moment.kind in ("warm-up", "rise"):
            mixed = longest <= TINY_WARMUP and longest * TINY_WARMUP < per_epoch
        else:
            mixed = moment.clock.every == 1 and run / 2 <= longest <= run and longest * 10 <= seen.length
        if mixed:
            yield Finding(
                "epochs-as-steps",
                "warning",
                f"{name}: {part.name} has {_written(moment)} steps, of {seen.length} in "
                f"{epochs(seen.length, per_epoch)} epochs: that looks like epochs",
                f"Count steps (x {per_epoch}), or put it in per_epoch(..., {per_epoch}).",
                (group,),
            )
        elif _counts_steps_as_epochs(seen, moment):
            yield Finding(
                "steps-as-epochs",
                "warning",
                f"{name}: {part.name} has {_written(moment)} epochs, of {epochs(seen.length, per_epoch)}: which reads "
                "like steps",
                f"Count epochs (/ {per_epoch}), or take it out of per_epoch.",
                (group,),
            )


def length_mismatch(seen: Sample) -> Iterator[Finding]:
    """Decays that do not end with training, also those that count updates."""
    if seen.recipe.steps is None:
        return
    near = max(seen.length * 0.01, seen.recipe.steps_per_epoch or 0) + 1
    every = int(seen.every.max())
    for group, name, moment in _moments(seen):
        end, clock = moment.step, moment.clock
        if name != "lr" or moment.kind not in ("end", "low") or clock.end < seen.length:
            continue
        if abs(end - seen.length) <= near or _counts_steps_as_epochs(seen, moment):
            continue
        lr = seen.values[group][name]
        begun = clock.step(0)
        whole, since = (abs((end - t) * every - (seen.length - t)) <= near * every for t in (0, begun))
        if clock.every == 1 < every and (whole or since):
            yield Finding(
                "counts-updates",
                "warning",
                f"{name}: {moment.what} at step {end}, training after {seen.length} batches, {every} per update: "
                f"that looks like a count of updates ({seen.length // every})",
                "Schedules count batches, accumulation or not: make it as long as the run.",
                (group,),
            )
        elif moment.kind == "low":
            continue  # of a wave, which does not end
        elif end > seen.length:
            yield Finding(
                "length-mismatch",
                "warning",
                f"{name}: {moment.what} at {_at(seen, end)}, training after {_steps(seen, seen.length)}: the "
                f"last value is {short(float(lr[-1]))}",
                "Make it as long as the run.",
                (group,),
            )
        else:
            rest = seen.length - end
            yield Finding(
                "length-mismatch",
                "remark" if rest < seen.length / 2 else "warning",
                f"{name}: {moment.what} at {_at(seen, end)}; the last {_steps(seen, rest)} are flat",
                "If this is not intended, make it as long as the run.",
                (group,),
            )


def restart_cut(seen: Sample) -> Iterator[Finding]:
    for group, by_name in seen.moments.items():
        found = [m for m in by_name.get("lr", []) if m.kind == "restart" and m.clock.end >= seen.length]
        later = [m for m in found if m.step > seen.length]
        if not later or seen.recipe.steps is None:
            continue
        begun = max((m.step for m in found if m.step <= seen.length), default=later[0].clock.step(0))
        share = (seen.length - begun) / (later[0].step - begun)
        if 0.02 < share < 0.98:
            yield Finding(
                "restart-cut",
                "warning",
                f"lr: the cycle that begins at {_at(seen, begun)} would last {_steps(seen, later[0].step - begun)}; "
                f"training ends after {share:.0%} of it, at {short(float(seen.values[group]['lr'][-1]))}",
                "Choose a length of the run at which a cycle ends.",
                (group,),
            )


def floor_above_lr(seen: Sample) -> Iterator[Finding]:
    for group, name, moment in _moments(seen):
        found = moment.happens and not _upside_down(moment.part) and falls_elsewhere(seen, group, moment)
        if name == "lr" and found:
            yield Finding(
                "floor-above-lr",
                "warning",
                f"lr: {moment.part.name} goes up to {short(seen.at(seen.values[group]['lr'], moment.step))}, to which "
                "it falls in other groups",
                "Lower the floor of this group below its learning rate.",
                (group,),
            )
    for group, values in seen.shown.items():
        for part, clock in parts(values.get("lr")):
            if clock.end < seen.length:
                continue  # as the rise of one cycle, which is half a cosine too
            if _upside_down(part):
                peak, floor = _with_role(part, Role.PEAK), _with_role(part, Role.FLOOR)
                yield Finding(
                    "floor-above-lr",
                    "warning",
                    f"lr: {part.name} goes from {short(peak)} up to its floor of {short(floor)}",
                    "Lower the floor of this group below its learning rate.",
                    (group,),
                )


def falls_elsewhere(seen: Sample, group: str, moment: Moment) -> bool:
    """Whether a rise is a decay in another group, whose learning rate is above the floor that they share."""
    if moment.kind not in ("warm-up", "rise"):
        return False

    def falls(name: str) -> bool:
        found = seen.moments[name].get("lr", [])
        return any(m.kind == "end" and m.step == moment.step and m.part.maker is moment.part.maker for m in found)

    return not falls(group) and any(falls(name) for name in seen.moments)


def plateau_floor(seen: Sample) -> Iterator[Finding]:
    for group, values in seen.shown.items():
        for part in definitions({"lr": values.get("lr")}).values():
            base, floor = _with_role(part, Role.PEAK), _with_role(part, Role.FLOOR)
            last = float(seen.values[group]["lr"][-1])
            if base and floor and abs(last - base) > 1e-5 * base:
                yield Finding(
                    "plateau-floor",
                    "remark",
                    f"lr: the floor of {part.name}, {short(floor)}, limits its own value, {short(base)} at first; the "
                    f"lr, of which other schedules are factors, may fall below it (it ends at {short(last)})",
                    "If the floor is meant for the lr, bound it: js.schedules.maximum(schedule, floor).",
                    (group,),
                )


def plateau_patience(seen: Sample) -> Iterator[Finding]:
    per_epoch = seen.recipe.steps_per_epoch
    if seen.recipe.steps is None or not per_epoch:
        return
    run = seen.length / per_epoch
    for group, values in seen.groups.items():
        for name, value in (values or {}).items():
            for part, _ in parts(value):
                patience = number(part.arguments["patience"]) if part.maker in FOLLOWERS else None
                if patience is not None and patience + FOLLOWERS[part.maker].reports_before_bad >= run:
                    yield Finding(
                        "plateau-patience",
                        "warning",
                        f"{name}: {part.name} tolerates {short(patience)} bad reports, but one report each epoch "
                        f"makes only {short(run)}: it never acts",
                        "Lower the patience, or report more often.",
                        (group,),
                    )


RULES: dict[str, Callable[[Sample], Iterator[Finding]]] = {
    "no-length": no_length,
    "warmup-too-long": warmup_too_long,
    "momentum-warmup-too-long": warmup_too_long,
    "milestone-past-end": milestone_past_end,
    "milestone-never-reached": milestone_past_end,
    "milestone-in-warmup": milestone_in_warmup,
    "peak-never-reached": peak_never_reached,
    "epochs-as-steps": units,
    "steps-as-epochs": units,
    "length-mismatch": length_mismatch,
    "counts-updates": length_mismatch,
    "restart-cut": restart_cut,
    "floor-above-lr": floor_above_lr,
    "plateau-floor": plateau_floor,
    "plateau-patience": plateau_patience,
}


def _moments(seen: Sample) -> Iterator[tuple[str, str, Moment]]:
    if seen.recipe.steps is None:
        return
    for group, by_name in seen.moments.items():
        for name, found in by_name.items():
            for moment in found:
                yield group, name, moment


def _warmup_end(seen: Sample, group: str) -> int:
    """The step at which the warm-up of lr ends, or 0."""
    found = seen.moments[group].get("lr", [])
    return max((m.step for m in found if m.kind == "warm-up" and m.happens), default=0)


def _lengths(moment: Moment) -> list[float]:
    """The lengths in the arguments of the part that a moment belongs to."""
    if moment.kind == "part":
        return []
    part = moment.part
    found: list[float] = []
    for name, role in argument_roles(part.maker).items():
        if role is Role.STEPS:
            one, several = number(part.arguments[name]), numbers(part.arguments[name])
            found += [one] if one is not None else several or []
    return found


def _with_role(part: Schedule, role: Role) -> float | None:
    names = (name for name, its_role in argument_roles(part.maker).items() if its_role is role)
    return next((number(part.arguments[name]) for name in names), None)


def _upside_down(part: Schedule) -> bool:
    """Whether a decay goes up."""
    peak, floor = _with_role(part, Role.PEAK), _with_role(part, Role.FLOOR)
    return peak is not None and floor is not None and floor > peak


def _counts_steps_as_epochs(seen: Sample, moment: Moment) -> bool:
    per_epoch = seen.recipe.steps_per_epoch or 1
    if per_epoch <= 1 or moment.clock.every != per_epoch:
        return False
    extent = _extent(moment)
    return extent is not None and extent[0] > seen.length / per_epoch and seen.length / 5 <= extent[1] <= seen.length


def _extent(moment: Moment) -> tuple[float, float] | None:
    """The shortest and the longest of the lengths."""
    if moment.kind == "part":
        return None
    roles = argument_roles(moment.part.maker).items()
    ends: list[float] = []
    for value in (moment.part.arguments[name] for name, role in roles if role is Role.STEPS):
        if isinstance(value, np.ndarray) and value.size:  # of many thousand milestones, each of which asks this
            ends += [float(value.min()), float(value.max())]
        else:
            one, several = number(value), numbers(value)
            ends += [one] if one is not None else several or []
    return (min(ends), max(ends)) if ends else None


def _written(moment: Moment) -> str:
    lengths = _lengths(moment)
    shown = ", ".join(map(short, lengths[:MOST_WRITTEN])) + (", ..." if len(lengths) > MOST_WRITTEN else "")
    return f"({shown})" if len(lengths) > 1 else shown


def _steps(seen: Sample, count: float) -> str:
    in_epochs = epochs(count, seen.recipe.steps_per_epoch)
    return f"{short(count)} steps" + (f" ({in_epochs} epochs)" if in_epochs else "")


def _at(seen: Sample, step: int) -> str:
    epoch = epochs(step, seen.recipe.steps_per_epoch)
    return f"step {step}" + (f" (epoch {epoch})" if epoch else "")
