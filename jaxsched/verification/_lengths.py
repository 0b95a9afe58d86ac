"""The length of an epoch, solved for from the clocks of a log: epochs beside iterations, steps or updates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxsched.ports.shared import MissingError, told
from jaxsched.recipe import Recipe
from jaxsched.verification._log import Log
from jaxsched.verification._verdict import Verdict
from jaxsched.verification._verify import batches_of_an_update, verify

_ASSUMED = (1000, 997)
"""Lengths that are tried where the log counts nothing within an epoch: if both fit, the rates depend on neither."""
_MOST = 300
"""Most lengths that are tried."""


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
    allowed = lengths_of(log)
    low, high = allowed or _ASSUMED
    every = batches_of_an_update(read(**given, steps_per_epoch=1000))  # a log of updates counts these

    def tried(length: int) -> tuple[Recipe, Verdict]:
        recipe = read(**given, steps_per_epoch=length * every)
        return recipe, verify(recipe, log)

    best = tried(low)
    other = tried(high) if high != low else best
    if best[1].ok and other[1].ok:
        return best[0], best[1].having(_said(low, high, every, allowed is None))
    if allowed is None:
        return max(best, other, key=_reproduced)
    lengths = np.unique(np.linspace(low, high, min(high - low + 1, _MOST)).astype(int)).tolist()
    results = {low: best, high: other, **{length: tried(length) for length in lengths[1:-1]}}
    most = max(map(_reproduced, results.values()))
    fitting = [length * every for length in sorted(results) if _reproduced(results[length]) == most]
    recipe, verdict = results[fitting[0] // every]
    return recipe, verdict.having(told(fitting)) if verdict.ok else verdict


def _reproduced(result: tuple[Recipe, Verdict]) -> int:
    return result[1].reproduced


def _said(low: int, high: int, every: int, assumed: bool) -> str:
    if assumed:
        return f"steps per epoch {low} is assumed, which no learning rate in the log depends on"
    if low == high:
        return f"steps per epoch {low * every}"
    return f"steps per epoch {low * every} to {high * every}, as the log's clocks have it; all fit"


def lengths_of(log: Log) -> tuple[int, int] | None:
    """The shortest and the longest epoch, in what the log counts, that its clocks allow; None if they say nothing."""
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
