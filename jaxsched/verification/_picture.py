"""The points of a log over the curves of the recipe."""

from __future__ import annotations

import os
from typing import Any

from jaxsched.recipe import Recipe
from jaxsched.report import plot
from jaxsched.verification._log import Log
from jaxsched.verification._verdict import Verdict


def draw(recipe: Recipe, log: Log, verdict: Verdict, path: str | os.PathLike[str] | None = None) -> Any:
    """Draw the learning rates of a recipe, and what the run logged as points.

    Args:
        recipe: The recipe.
        log: The log.
        verdict: What the comparison came to.
        path: Where to save the picture; None: nowhere.

    Returns:
        A ``matplotlib.figure.Figure``.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure = plot(recipe)
    axis = next(axis for axis in figure.axes if axis.get_label() == "lr")
    for column, values in log.columns.items():
        if len(values) == len(verdict.steps):
            points = [float(value) for value in values]
            axis.plot(verdict.steps, points, ".", markersize=4, alpha=0.6, label=f"{column} (log)", gid="log")
    axis.legend(fontsize="small")
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
