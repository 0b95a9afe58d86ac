"""Rules on what makes an update: batches, accumulation, groups that take part."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from jaxsched.report._curves import LONGEST, update_steps
from jaxsched.report._sample import Sample
from jaxsched.report._table import plural, short
from jaxsched.report.lint._finding import Finding

FAR = 2.0
"""A batch this many times larger or smaller than the nominal one calls for another learning rate."""
MANY = 0.05
"""Share of batches whose gradients may be dropped without a warning."""


def nothing_trains(seen: Sample) -> Iterator[Finding]:
    if seen.groups and all(values is None for values in seen.groups.values()):
        yield Finding("nothing-trains", "error", "every group is frozen", "Give one of them hyperparameters.")


def accumulation(seen: Sample) -> Iterator[Finding]:
    recipe, per_epoch = seen.recipe, seen.recipe.steps_per_epoch
    most = int(seen.every.max())
    if recipe.accumulate is None or recipe.steps is None or most < 2:
        return
    steps = recipe.steps
    if steps > LONGEST:  # what comes later is like what came before
        steps = LONGEST // (per_epoch or 1) * (per_epoch or 1) or LONGEST
    due = np.flatnonzero(update_steps(recipe, np.arange(steps)))
    if not due.size:
        yield Finding(
            "accumulation-drops",
            "error",
            f"{most} batches per update, but only {recipe.steps} batches: there is no update",
            "Accumulate fewer batches, or train for longer.",
        )
        return
    if recipe.accumulate.drop_at_epoch_end and per_epoch:
        ends = np.minimum(np.arange(per_epoch, steps + per_epoch, per_epoch), steps)
        before = np.searchsorted(due, ends)
        last = np.where(before > 0, due[np.maximum(before - 1, 0)] + 1, 0)
        lost = ends - np.maximum(last, ends - per_epoch)
        share = float(lost.sum() / steps)
        if share > 0:
            yield Finding(
                "accumulation-drops",
                "warning" if share > MANY else "remark",
                f"batches accumulated at the end of an epoch are dropped: {lost.mean():.3g} of the {per_epoch} "
                f"batches of an epoch on average ({share:.2%})",
                f"Choose a number of batches per update ({most}) that divides the epoch.",
            )
    else:
        ends = np.arange(per_epoch or steps, steps, per_epoch or steps) - 1
        mixed = int(np.sum(~np.isin(ends, due)))
        if mixed:
            yield Finding(
                "accumulation-uneven",
                "remark",
                f"{most} batches per update do not divide the epoch of {per_epoch}: {plural(mixed, 'update')} of "
                f"{len(due)} {'holds' if mixed == 1 else 'hold'} batches of two epochs",
                "If this matters, choose a number that divides it.",
            )
        rest = steps - 1 - int(due[-1])
        if rest and steps == recipe.steps:
            yield Finding(
                "accumulation-drops",
                "remark",
                f"the last {plural(rest, 'batch')} of the run make no update",
                f"Choose a length that {most} divides.",
            )


def batch_size(seen: Sample) -> Iterator[Finding]:
    recipe = seen.recipe
    if recipe.batch_size is None or recipe.nominal_batch_size is None:
        return
    images = recipe.batch_size * int(seen.every.max())
    ratio = images / recipe.nominal_batch_size
    if not 1 / FAR <= ratio <= FAR:
        yield Finding(
            "batch-size",
            "warning",
            f"an update sees {images} images, but the learning rates are meant for {recipe.nominal_batch_size}",
            f"Scale them, by {short(ratio)} as is usual for SGD, or accumulate batches.",
        )


RULES: dict[str, Callable[[Sample], Iterator[Finding]]] = {
    "nothing-trains": nothing_trains,
    "accumulation-drops": accumulation,
    "accumulation-uneven": accumulation,
    "batch-size": batch_size,
}
