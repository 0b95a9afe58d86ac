"""Rules on the values of the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from jaxsched.checks import Role, argument_roles
from jaxsched.metric.internal import definitions
from jaxsched.report._curves import LONGEST, update_steps
from jaxsched.report._sample import Sample
from jaxsched.report._table import short
from jaxsched.report.lint._finding import Finding
from jaxsched.report.lint._lengths import falls_elsewhere
from jaxsched.schedules import Schedule
from jaxsched.schedules.internal import number, parts

LARGEST_JUMP = 10.0
LARGEST_START = 100.0
"""Times the later lr; YOLOv5 warms biases up from 10 times it."""


def negative_lr(seen: Sample) -> Iterator[Finding]:
    for group, lr in _rates(seen):
        if (lr < 0).any():
            step = int(seen.steps[int(np.argmin(lr))])
            yield Finding(
                "negative-lr",
                "error",
                f"lr is negative, {short(float(lr.min()))} at step {step}",
                "Bound it: js.schedules.maximum(schedule, 0.0).",
                (group,),
            )


def zero_lr(seen: Sample) -> Iterator[Finding]:
    for group, lr in _rates(seen):
        moves = np.flatnonzero(lr != 0)
        if not moves.size:
            others_train = any((other != 0).any() for _, other in _rates(seen))
            yield Finding(
                "zero-lr",
                "remark" if others_train else "warning",
                "lr is 0 throughout: nothing of this group is trained",
                f'If this is intended, freeze it: groups={{"{group}": None}}.',
                (group,),
            )
            continue
        first, last = int(seen.steps[moves[0]]), int(seen.steps[moves[-1]])
        idle = int(update_steps(seen.recipe, np.arange(min(first, LONGEST))).sum())
        if idle > 1:
            yield Finding(
                "zero-lr",
                "warning",
                f"lr is exactly 0 for the first {idle} updates (to step {first - 1})",
                "Start the warm-up above 0, or step by step instead of by epoch.",
                (group,),
            )
        if last < seen.length - 2 and seen.recipe.steps is not None:
            yield Finding(
                "zero-lr",
                "warning",
                f"lr is exactly 0 from step {last + 1} to the last, {seen.length - 1}",
                "End the training there, or give the decay a floor.",
                (group,),
            )
        between = np.flatnonzero(lr[moves[0] : moves[-1]] == 0)
        if between.size > 1:
            yield Finding(
                "zero-lr",
                "warning",
                f"lr is exactly 0 at step {int(seen.steps[moves[0] + between[0]])} and at other steps before the end",
                "Give the schedule a floor.",
                (group,),
            )


def rising_at_end(seen: Sample) -> Iterator[Finding]:
    if seen.recipe.steps is None:
        return
    for group, lr in _rates(seen):
        found = seen.moments[group]["lr"]
        if any(m.kind == "restart" or (m.kind in ("warm-up", "rise") and m.step >= seen.length) for m in found):
            continue  # the rules on lengths report these
        if any(falls_elsewhere(seen, group, m) for m in found):
            continue
        before = seen.at(lr, seen.length - 1 - max(seen.length // 20, 1))
        if lr[-1] > before * 1.001:
            yield Finding(
                "rising-at-end",
                "warning",
                f"lr rises at the end, from {short(before)} to {short(float(lr[-1]))} in the last twentieth",
                "A run should end at a low learning rate: check the lengths.",
                (group,),
            )


def warmup_from_above(seen: Sample) -> Iterator[Finding]:
    for group, lr in _rates(seen):
        ends = [m.step for m in seen.moments[group]["lr"] if m.kind == "warm-up" and m.happens]
        if not ends or max(ends) >= seen.length:
            continue
        later = float(lr[seen.steps >= max(ends)].max())
        if 0 < later * LARGEST_START < lr[0]:
            yield Finding(
                "warmup-from-above",
                "warning",
                f"lr warms up from {short(float(lr[0]))} down to {short(later)}, {lr[0] / later:.3g} times lower",
                "Start the warm-up of this group at, or below, its learning rate.",
                (group,),
            )


def jump(seen: Sample) -> Iterator[Finding]:
    for group, lr in _rates(seen):
        for moment in seen.moments[group]["lr"]:
            step = moment.step
            if not moment.happens or not 1 < step < seen.length or moment.kind in ("restart", "end"):
                continue  # a decay whose floor is low may fall far in its last step
            before, after = seen.at(lr, step - 1), seen.at(lr, step)
            if before <= 0 or after <= 0:
                continue
            near = max(seen.length // 20, 2)  # a decay by iteration may not move in one step, in float32
            if after > before and before < seen.at(lr, step - near) and seen.at(lr, step + near) < after:
                continue  # a decay after a decay is a restart
            ratio = max(before, after) / min(before, after)
            if ratio > LARGEST_JUMP * 1.001:  # factors of 10 are common; in float32 they may be 10.000001
                yield Finding(
                    "jump",
                    "warning",
                    f"lr jumps from {short(before)} to {short(after)}, {ratio:.3g} times, at step {step}",
                    "Make the parts meet: one ends where the next starts.",
                    (group,),
                )


def never_decays(seen: Sample) -> Iterator[Finding]:
    if seen.recipe.steps is None:
        return
    for group, lr in _rates(seen):
        schedule = seen.shown[group]["lr"]
        found = seen.moments[group]["lr"]
        steady = not found and (lr == lr[0]).all()
        if not isinstance(schedule, Schedule) or steady or definitions({"lr": schedule}):
            continue
        top = int(np.argmax(lr >= lr.max() * (1 - 1e-6)))
        if lr[top] > 0 and (lr[top:] >= lr[top] * (1 - 1e-6)).all() and seen.steps[top] < seen.length // 2:
            # a constant after a warm-up is deliberate; a decay that never comes is not
            decays = any(moment.kind not in ("warm-up", "rise", "part") for moment in found)
            yield Finding(
                "never-decays",
                "remark" if _says_constant(schedule) and not decays else "warning",
                f"lr stays at {short(float(lr[-1]))} from step {int(seen.steps[top])} to the end: it never falls",
                "Add a decay; if there is one, check where its milestones are counted from.",
                (group,),
            )


def _says_constant(schedule: Schedule) -> bool:
    """Whether a part of it has only numbers for arguments, and none of them counts steps, as with a constant."""
    return any(
        Role.STEPS not in argument_roles(part.maker).values()
        and all(number(argument) is not None for argument in part.arguments.values())
        for part, _ in parts(schedule)
    )


RULES: dict[str, Callable[[Sample], Iterator[Finding]]] = {
    "negative-lr": negative_lr,
    "zero-lr": zero_lr,
    "rising-at-end": rising_at_end,
    "warmup-from-above": warmup_from_above,
    "jump": jump,
    "never-decays": never_decays,
}


def _rates(seen: Sample) -> Iterator[tuple[str, np.ndarray]]:
    for group, values in seen.values.items():
        if "lr" in values:
            yield group, values["lr"]
