"""The points of a log over the curves of the recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxsched.recipe import Recipe
from jaxsched.report import page, plot
from jaxsched.verification._log import Log, read_log
from jaxsched.verification._verdict import Verdict
from jaxsched.verification._verify import compared_rows, verify


def points(
    recipe: Recipe, log: Log | str | os.PathLike[str], verdict: Verdict | None = None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Find the steps of the learning rates that a run logged, in the clock of a recipe.

    Args:
        recipe: The recipe.
        log: The log, or its path; see `verify`.
        verdict: What `verify` of both came to, where it is known already.

    Returns:
        For each column of learning rates its steps and its values, as ``js.report.page(recipe, log=...)`` takes them.

    Raises:
        OSError, ValueError: As `verify`.

    Examples:
        >>> import jaxsched as js, pathlib, tempfile
        >>> recipe = js.Recipe("sgd", dict(lr=js.linear(0.1, 0.0, 4)), steps=4, steps_per_epoch=2)
        >>> path = pathlib.Path(tempfile.mkdtemp(), "metrics.csv")
        >>> _ = path.write_text("epoch,lr\\n0,0.075\\n1,0.025\\n")
        >>> js.verification.points(recipe, path)
        {'lr': (array([1, 3]), array([0.075, 0.025]))}
    """
    log = log if isinstance(log, Log) else read_log(log)
    steps = np.array((verdict or verify(recipe, log)).steps, np.int64)
    rows = compared_rows(log)
    return {column: (steps, np.array(values, float)[rows]) for column, values in log.columns.items()}


def draw(recipe: Recipe, log: Log, verdict: Verdict, path: str | os.PathLike[str] | None = None) -> Any:
    """Draw the learning rates of a recipe, and what the run logged as points.

    Args:
        recipe: The recipe.
        log: The log.
        verdict: What the comparison came to.
        path: Where to save it: a picture, or with the ending .html the page of the recipe; None: nowhere.

    Returns:
        A ``matplotlib.figure.Figure``, or the HTML of the page.

    Raises:
        ImportError: If matplotlib, or for a page Bokeh, is not installed.
    """
    logged = points(recipe, log, verdict)
    if path is not None and Path(path).suffix.lower() == ".html":
        return page(recipe, log=logged, path=path)
    figure = plot(recipe)
    axis = next(axis for axis in figure.axes if axis.get_label() == "lr")
    for column, (steps, values) in logged.items():
        axis.plot(steps, values, ".", markersize=4, alpha=0.6, label=f"{column} (log)", gid="log")
    axis.legend(fontsize="small")
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
