"""Whether the learning rate goes on where a checkpoint left it, when a run is resumed with another recipe."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxsched.recipe import Recipe, Reportable, as_recipe
from jaxsched.report._curves import curves
from jaxsched.report.lint._finding import Finding

CODE = "lr-jumps-on-resume"
_FACTOR = 1.1
"""Up to this factor the lr may change; a cosine over twice the steps changes it by more in most of the run."""


def resumed(recipe: Recipe, before: Reportable, step: int) -> Iterator[Finding]:
    """The groups whose learning rate jumps.

    Args:
        recipe: The recipe that the run goes on with.
        before: That of the checkpoint.
        step: The batches that the checkpoint has seen.
    """
    before = as_recipe(before)
    ours, theirs = curves(recipe, [step]), curves(before, [step])
    lengths = f"the recipe has {_length(recipe)}, that of the checkpoint {_length(before)}"
    for group in ours.keys() & theirs.keys():
        new, old = (float(values[group]["lr"][0]) if "lr" in values[group] else np.nan for values in (ours, theirs))
        if max(new, old) > _FACTOR * min(new, old):
            yield Finding(
                CODE,
                "warning",
                f"lr goes from {old:.4g} to {new:.4g} at step {step}, where the run is resumed: {lengths}",
                "Resume with the length of the first run, or begin a schedule at this step: "
                "js.sequential([old, new], at=[step]).",
                (group,),
            )


def _length(recipe: Recipe) -> str:
    return "no length" if recipe.steps is None else f"{recipe.steps:,} steps"
