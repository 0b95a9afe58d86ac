"""The length of an epoch, solved for from the clocks of a log: epochs beside iterations, steps or updates."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxsched.ports.shared import MissingError, told
from jaxsched.recipe import Recipe
from jaxsched.verification._log import Log
from jaxsched.verification._verdict import Verdict
from jaxsched.verification._verify import beside_first_mean, verify
from jaxsched.verification._ways import batches_of_an_update

_ASSUMED = (1000, 997)
"""Lengths that are tried where the log counts nothing within an epoch: if both fit, the rates depend on neither."""
_LONGEST = 2**17
"""The longest epoch that is looked for by its mean lr: COCO has 118,287 images."""
_MOST, _MOST_GAPS = 300, 8
"""Most lengths that are tried at first, and of those that the distances of rows suggest."""
_SPLIT, _ALL = 10, 150
"""Lengths that are tried at a time between the neighbours of the best one; all of them if at most the second number.

All, because the nearest length of a few need not be beside the right one: the lr of the step after fits nearly as well.
"""
_DOUBLINGS = 12
"""How often the least length is doubled where the log ends within the first epoch."""


def solve(read: Callable[..., Recipe], log: Log, given: dict[str, Any]) -> tuple[Recipe, Verdict]:
    """The recipe of a file and the verdict on it, with the length of an epoch that reproduces most rows.

    Args:
        read: Reads the recipe; its keyword arguments are those of the port.
        log: The log of the run.
        given: Arguments that the user gives.

    Raises:
        OSError, TypeError, ValueError: What ``read`` and `verify` raise.
    """
    try:
        recipe = read(**given)
        return recipe, verify(recipe, log)
    except MissingError as error:
        if "steps_per_epoch" not in error.names:
            raise
    if log.steps_per_epoch is not None:
        recipe = read(**given, steps_per_epoch=log.steps_per_epoch)
        return recipe, verify(recipe, log).having(f"steps per epoch {log.steps_per_epoch}, as the log prints")
    allowed = lengths_of(log)
    low, high = allowed or _ASSUMED
    open_ended = allowed is not None and _is_within_an_epoch(log)
    every = batches_of_an_update(read(**given, steps_per_epoch=low))  # a log of updates counts these

    def tried(length: int) -> tuple[Recipe, Verdict]:
        recipe = read(**given, steps_per_epoch=length * every)
        return recipe, verify(recipe, log)

    results = {length: tried(length) for length in (low, high)}
    if all(verdict.ok for _, verdict in results.values()):
        recipe, verdict = results[low]
        return recipe, verdict.having(_said(low, high, every, allowed is None))
    tries, why = _between(low, high) if allowed else _gaps(log), "is assumed, the distance of its rows"
    if open_ended:
        tries = []
        with contextlib.suppress(ValueError):  # the port reads no run that is as long
            for length in (low * 2**k for k in range(1, _DOUBLINGS)):
                results[length] = tried(length)
    if log.averaged and log.epoch is not None and log.epoch.min() < 2 and every == 1:
        tries, why = [_of_first_mean(read, log, given)], "is found by the mean of its first epoch"
    results |= {length: tried(length) for length in tries}
    best = _best(results)
    while allowed and not results[best][1].ok and (nearer := _nearer(sorted(results), best)):
        results |= {length: tried(length) for length in nearer}
        best = _best(results)
    for length in {best - 1, best + 1} - results.keys() if allowed else ():
        if low <= length and (open_ended or length <= high):
            results[length] = tried(length)
    recipe, verdict = results[best]
    if not verdict.ok:
        return recipe, verdict if allowed else verdict.having(
            f"steps per epoch {best} is assumed; give steps_per_epoch"
        )
    if not allowed:
        unit, taken = _unit(every, best)
        return recipe, verdict.having(f"{unit} per epoch {best} {why}{taken}")
    fitting = [length for length in sorted(results) if results[length][1].ok]
    return recipe, verdict.having(_fitting(fitting, every))


def _best(results: dict[int, tuple[Recipe, Verdict]]) -> int:
    """The length that reproduces most rows; of several, the first that comes nearest."""
    best, *others = results
    for length in others:
        if results[length][1].better(results[best][1]):
            best = length
    return best


def _nearer(lengths: list[int], best: int) -> list[int]:
    """Lengths that were not tried, between the best one and its neighbours; none if there are none."""
    at = lengths.index(best)
    first, last = lengths[max(at - 1, 0)], lengths[min(at + 1, len(lengths) - 1)]
    count = last - first + 1
    between: list[int] = np.linspace(first, last, count if count <= _ALL else _SPLIT).astype(int).tolist()
    return [length for length in between if length not in lengths]


def _between(low: int, high: int) -> list[int]:
    """Lengths between the two, at equal distances where there are many."""
    lengths: list[int] = np.unique(np.linspace(low, high, min(high - low + 1, _MOST)).astype(int)).tolist()
    return lengths[1:-1]


def _gaps(log: Log) -> list[int]:
    """The distances of the steps of a log without epochs, which may have a row for each epoch."""
    if log.step is None:
        return []
    gaps: list[int] = np.unique(np.diff(np.unique(log.step))).astype(int).tolist()
    return gaps[:_MOST_GAPS]


def _of_first_mean(read: Callable[..., Recipe], log: Log, given: dict[str, Any]) -> int:
    """The length at which an epoch has the first row's mean lr, by bisection: in a warm-up the mean grows with it."""
    low, high = 2, _LONGEST
    while low < high:
        middle = (low + high) // 2
        above = beside_first_mean(read(**given, steps_per_epoch=middle), log)
        if not above:
            return middle
        low, high = (low, middle) if above > 0 else (middle + 1, high)
    return low


def _said(low: int, high: int, every: int, assumed: bool) -> str:
    """What is said where the shortest and the longest length fit."""
    if assumed:
        return f"steps per epoch {low} is assumed, which no learning rate in the log depends on"
    unit, taken = _unit(every, low)
    if low == high:
        return f"{unit} per epoch {low}, by the log's clocks{taken}"
    return f"{unit} per epoch {low} to {high}, by the log's clocks; the shortest and the longest fit{taken}"


def _fitting(lengths: list[int], every: int) -> str:
    if every == 1:
        return told(lengths)
    unit, taken = _unit(every, lengths[0])
    return told(lengths).replace("steps", unit) + taken


def _unit(every: int, length: int) -> tuple[str, str]:
    """What the log counts, and the batches that are taken: several numbers of batches make as many updates."""
    return ("steps", "") if every == 1 else ("updates", f"; {length * every} batches are assumed")


def _is_within_an_epoch(log: Log) -> bool:
    """Whether a log ends within its first epoch, so that its clocks do not bound the length of an epoch above."""
    epoch = log.epoch
    return epoch is not None and epoch.min() == epoch.max() and bool((epoch == np.rint(epoch)).all())


def lengths_of(log: Log) -> tuple[int, int] | None:
    """The shortest and the longest epoch, in what the log counts, that its clocks allow; None if they say nothing."""
    if log.epoch is None and log.pace is not None:
        step, epoch = log.pace
        log = dataclasses.replace(log, step=step, epoch=epoch)
    if log.epoch is None:
        return None
    if log.iteration is not None:  # logged every few iterations; the last few of an epoch are not
        logged = np.unique(log.iteration)
        apart = int(np.diff(logged).min()) if len(logged) > 1 else 1
        return int(logged[-1]), int(logged[-1]) + apart - 1
    if log.step is None:
        return None
    step, epoch = log.step, log.epoch
    if (epoch != np.rint(epoch)).any():  # a share of an epoch, printed with some digits
        error = 0.5 * 10.0**-log.epoch_decimals
        inside = epoch > 2 * error
        if not inside.any():
            return None
        low = (step[inside] / (epoch[inside] + error)).max()
        high = (step[inside] / (epoch[inside] - error)).min()
        low, high = min(low, high), max(low, high)
        return max(math.floor(low), 1), max(math.ceil(high), 1)
    from_one = epoch.min() >= 1
    past = epoch - 1 if from_one else epoch
    least = (step / (past + 1)).max()
    later = past > 0
    most = (step[later] / past[later]).min() if later.any() else least + step.max()
    return max(math.ceil(least), 1), max(math.floor(most), math.ceil(least), 1)
