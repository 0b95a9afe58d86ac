"""A page that shows a recipe: one HTML file that opens offline, with curves to zoom into, tables and findings."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxsched.checks import extra
from jaxsched.recipe import Reportable, diff
from jaxsched.report._explain import explain_sample
from jaxsched.report._plot import COLORS, TITLES, Line, panels
from jaxsched.report._sample import Sample, sample
from jaxsched.report.lint import lint_sample

MOST_POINTS = 24_000
"""Points of all curves together: with Bokeh's script, 1.3 MB, a page stays below 2 MB."""
DASHES = ("solid", "dashed", "dotted", "dotdash")

_TEMPLATE = """
{% block contents %}
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; color: #1a1a1a; }
  pre { font: 13px/1.4 ui-monospace, monospace; overflow-x: auto; }
  .error { color: #9b1c00; } .warning { color: #7a4f00; }
</style>
<main>
<h1>{{ heading }}</h1>
{{ before }}
<h2>Curves</h2>
<p>Drag to pan, use the wheel or a box to zoom, click a name to hide its curve, point at a curve for its values.</p>
{% for doc in docs %}{% for root in doc.roots %}{{ embed(root) }}{% endfor %}{% endfor %}
{{ after }}
</main>
{% endblock %}
"""


def page(
    recipe: Reportable | Mapping[str, Reportable], params: Any = None, *, path: str | os.PathLike[str] | None = None
) -> str:
    """A recipe as one HTML page that opens offline: interactive curves, moments, groups, findings, notes.

    Groups with the same curve share a line. Needs the extra ``page``.

    Args:
        recipe: A recipe, or several by name: their curves are drawn over each other, and their differences listed.
        params: The parameters; with them, the table of each parameter's group.
        path: Where to save the page; None: nowhere.

    Returns:
        The HTML.

    Raises:
        ImportError: If Bokeh is not installed.
        ValueError: If there is nothing to show.

    Examples:
        >>> import jaxsched as js
        >>> recipe = js.Recipe("sgd", dict(lr=js.warmup(js.cosine(0.1, 1000), 100)), steps=1000)
        >>> js.report.page(recipe).startswith("<!DOCTYPE html>")
        True
    """
    recipes = recipe if isinstance(recipe, Mapping) else {"": recipe}
    seen = {name: sample(one) for name, one in recipes.items()}
    drawn = panels(seen)
    if not drawn:
        raise ValueError("page: there is nothing to show, every group is frozen")
    extra("bokeh", "page")
    from bokeh.embed import file_html
    from bokeh.layouts import column
    from bokeh.resources import INLINE

    names = [name for name in seen if name]
    heading = " and ".join(names) or _title(next(iter(seen.values())))
    text: str = file_html(
        column(list(_figures(drawn, seen)), sizing_mode="stretch_width"),
        resources=INLINE,
        title=heading,
        template=_TEMPLATE,
        template_variables={
            "heading": html.escape(heading),
            "before": "\n".join(_findings(name, one) for name, one in seen.items()),
            "after": "\n".join(
                [*_differences(recipes), *(_explained(name, one, params) for name, one in seen.items())]
            ),
        },
    )
    text = text.lstrip()
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def _title(one: Sample) -> str:
    return str(explain_sample(one)).split("\n", 1)[0]


def _figures(drawn: Mapping[str, list[Line]], seen: Mapping[str, Sample]) -> Iterator[Any]:
    from bokeh.models import TabPanel, Tabs

    share = max(MOST_POINTS // sum(map(len, drawn.values())), 100)
    range_of_steps = None
    for name, lines in drawn.items():
        scales = ("linear", "log") if name == "lr" and all((line.values >= 0).all() for line in lines) else ("linear",)
        made = []
        for scale in scales:
            made.append(_figure(name, lines, list(seen.values()), scale, share // len(scales), range_of_steps))
            range_of_steps = made[0].x_range
        if len(made) == 1:
            yield made[0]
        else:
            tabs = [TabPanel(child=one, title=scale) for one, scale in zip(made, scales, strict=True)]
            yield Tabs(tabs=tabs, sizing_mode="stretch_width")


def _figure(name: str, lines: list[Line], seen: list[Sample], scale: str, share: int, steps: Any) -> Any:
    from bokeh.models import HoverTool, NumeralTickFormatter
    from bokeh.plotting import figure

    made = figure(
        title=TITLES[name],
        height=320 if name == "lr" else 180,
        sizing_mode="stretch_width",
        y_axis_type=scale,
        x_axis_label="step (batch)",
        tools="pan,wheel_zoom,box_zoom,reset,save",
        **({} if steps is None else {"x_range": steps}),
    )
    made.toolbar.logo = None
    made.xaxis.formatter = NumeralTickFormatter(format="0,0")
    several = len(seen) > 1
    for i, line in enumerate(lines):
        one = seen[line.recipe]
        kept = _kept(line, one, share)
        values = line.values[kept]
        at = line.steps[kept]
        source = {
            "step": at.astype(np.int32),
            "epoch": (at / (one.recipe.steps_per_epoch or np.nan)).astype(np.float32),
            "value": np.where(values > 0, values, np.nan) if scale == "log" else values,
        }
        made.line(
            "step",
            "value",
            source=source,
            color=COLORS[i % len(COLORS)],
            line_dash=DASHES[(line.recipe if several else i // len(COLORS)) % len(DASHES)],
            line_width=2,
            **({"legend_label": line.name or name} if len(lines) > 1 else {}),
        )
    made.add_tools(
        HoverTool(
            tooltips=[("step", "@step"), ("epoch", "@epoch{0.00}"), (name, "@value{%.6g}")],
            formatters={"@value": "printf"},
            mode="mouse",
        )
    )
    if len(lines) > 1:
        made.legend.click_policy = "hide"
        made.legend.label_text_font_size = "12px"
        if len(lines) > len(COLORS):
            made.legend.visible = False
    return made


def _kept(line: Line, one: Sample, share: int) -> np.ndarray:
    """The places of a line that are drawn: at most ``share``, those beside moments among them."""
    size = len(line.steps)
    if size <= share:
        return np.arange(size)
    marks = [m.step for by_name in one.moments.values() for found in by_name.values() for m in found]
    near = np.searchsorted(line.steps, np.unique(marks)[: share // 8])
    beside = np.concatenate([near - 1, near, near + 1])
    grid = np.linspace(0, size - 1, max(share - len(beside), 2)).astype(int)
    return np.unique(np.clip(np.concatenate([grid, beside]), 0, size - 1))


def _findings(name: str, one: Sample) -> str:
    found = lint_sample(one)
    of = f" of {html.escape(name)}" if name else ""
    if not found:
        return f"<h2>Findings{of}</h2><p>Nothing looks wrong.</p>"
    items = "".join(
        f'<li class="{f.severity}"><strong>{f.severity} {f.code}</strong>'
        f"{html.escape(_groups(f.groups))}: {html.escape(f.message)}<br>{html.escape(f.remedy)}</li>"
        for f in found
    )
    return f"<h2>Findings{of}</h2><ul>{items}</ul>"


def _groups(groups: tuple[str, ...]) -> str:
    return f" ({', '.join(groups)})" if groups else ""


def _explained(name: str, one: Sample, params: Any) -> str:
    of = f" of {html.escape(name)}" if name else ""
    return f"<h2>The recipe{of}</h2><pre>{html.escape(str(explain_sample(one, params)))}</pre>"


def _differences(recipes: Mapping[str, Reportable]) -> Iterator[str]:
    (first, base), *others = recipes.items()
    for name, other in others:
        yield f"<h2>From {html.escape(first)} to {html.escape(name)}</h2>"
        yield f"<pre>{html.escape(str(diff(base, other)))}</pre>"
