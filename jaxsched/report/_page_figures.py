"""The curves of a page, with Bokeh: figures that share their steps, and the switches of groups and steps above them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxsched.report._plot import MOST_MARKS, TITLES, Line, milestones, warmup_end
from jaxsched.report._sample import Sample

MOST_POINTS = 20_000
"""Points of all curves together: with Bokeh's scripts, 1.4 MB, a page stays below 2 MB."""
MOST_LOGGED = 4_000
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
"""Of Okabe and Ito's colours, which the colour-blind can tell apart, those with a contrast of 3 to 1 on white."""
DASHES = ("solid", "dashed", "dotted", "dotdash")
MARKERS = ("circle", "square", "triangle", "diamond")
MOST_CURVES = 256
"""Curves of one figure: Bokeh takes 15 ms for each."""
MOST_NAMED = 8
"""Curves with a colour and a dash each; more curves share a range of colours, and only pointing at one names it."""

_SWITCH = """
const on = new Set(boxes.active);
for (let i = 0; i < lines.length; i++) {
  const of_line = groups[i];
  lines[i].visible = of_line.length == 0 || of_line.some(group => on.has(group));
}
"""

_ZOOM = "[steps.start, steps.end] = slider.value"
_FOLLOW = """
const [start, end] = slider.value;
if (start != steps.start || end != steps.end)  // else the slider itself moved the steps
  slider.value = [Math.max(steps.start, slider.start), Math.min(steps.end, slider.end)];
"""


def layout(drawn: Mapping[str, list[Line]], seen: Mapping[str, Sample], log: Mapping[str, Any]) -> Any:
    """All figures in a column, below the switches.

    Args:
        drawn: The curves of each figure, as `panels` gives them.
        seen: The recipes.
        log: For each logged learning rate its steps and values.
    """
    from bokeh.layouts import column
    from bokeh.models import Range1d

    length = max(one.length for one in seen.values())
    steps = Range1d(0, max(length - 1, 1), bounds=(-0.05 * length, 1.05 * length), min_interval=2)
    names = [(i, group) for i, one in enumerate(seen.values()) for group in one.values]
    place = {name: i for i, name in enumerate(names)}
    lines: list[Any] = []
    figures = list(_figures(drawn, seen, log, steps, place, lines))
    texts = [group if len(seen) == 1 else f"{list(seen)[i]}: {group}" for i, group in names]
    switches = [_steps(steps, length), *(_groups(texts, lines) if len(texts) > 1 else [])]
    return column([*switches, *figures], sizing_mode="stretch_width")


def _groups(names: Sequence[str], lines: Sequence[Any]) -> Iterator[Any]:
    """Boxes that a keyboard reaches, as it does not the legend of a figure."""
    from bokeh.layouts import row
    from bokeh.models import Button, CheckboxGroup, CustomJS, Div

    boxes = CheckboxGroup(
        labels=list(names),
        active=list(range(len(names))),
        inline=True,
        sizing_mode="stretch_width",
        styles={"max-height": "10rem", "overflow-y": "auto", "font-size": "15px"},
        stylesheets=[".bk-input-group.bk-inline { flex-wrap: wrap; column-gap: 1rem; row-gap: 0.3rem; }"],
    )
    arguments = dict(boxes=boxes, lines=[line for line, _ in lines], groups=[groups for _, groups in lines])
    boxes.js_on_change("active", CustomJS(args=arguments, code=_SWITCH))
    buttons = []
    for label, active in (("Show all", list(range(len(names)))), ("Hide all", [])):
        button = Button(label=label)
        button.js_on_click(CustomJS(args=dict(boxes=boxes, active=active), code="boxes.active = active"))
        buttons.append(button)
    yield Div(text="Groups shown:")
    yield boxes
    if len(names) > MOST_NAMED:
        yield row(buttons)


def _steps(steps: Any, length: int) -> Any:
    """A slider beside the zoom of the figures, which a keyboard moves."""
    from bokeh.models import CustomJS, RangeSlider

    slider = RangeSlider(
        title="Steps shown",
        start=0,
        end=max(length - 1, 1),
        value=(0, max(length - 1, 1)),
        step=max(length // 1000, 1),
        format="0,0",
        sizing_mode="stretch_width",
        margin=(5, 15, 5, 15),
    )
    both = dict(slider=slider, steps=steps)
    slider.js_on_change("value", CustomJS(args=both, code=_ZOOM))
    for end in ("start", "end"):
        steps.js_on_change(end, CustomJS(args=both, code=_FOLLOW))
    return slider


def _figures(
    drawn: Mapping[str, list[Line]],
    seen: Mapping[str, Sample],
    log: Mapping[str, Any],
    steps: Any,
    place: Mapping[tuple[int, str], int],
    lines: list[Any],
) -> Iterator[Any]:
    from bokeh.models import TabPanel, Tabs

    share = max(MOST_POINTS // sum(map(len, drawn.values())), 50)
    for name, found in drawn.items():
        curves = _spread(found)
        both = name == "lr" and all((line.values >= 0).all() and line.values.any() for line in curves)
        scales = ("linear", "log") if both else ("log",) if name == "ema" else ("linear",)
        made = []
        for scale in scales:
            one, of_lines = _figure(name, curves, seen, scale, share // len(scales), steps)
            lines += [
                (line, [place[curve.recipe, group] for group in curve.groups])
                for line, curve in zip(of_lines, curves, strict=True)
            ]  # fmt: skip
            if name == "lr":
                _logged(one, log, seen, scale)
            if len(curves) < len(found):
                one.title.text += f" ({len(curves)} of {len(found)} curves)"
            made.append(one)
        if len(made) == 1:
            yield made[0]
        else:
            tabs = [TabPanel(child=one, title=scale) for one, scale in zip(made, scales, strict=True)]
            yield Tabs(tabs=tabs, sizing_mode="stretch_width")


def _spread(curves: list[Line]) -> list[Line]:
    """The curves, or of many some that are evenly spread over their heights."""
    if len(curves) <= MOST_CURVES:
        return curves
    order = np.argsort([float(line.values.max()) for line in curves], kind="stable")
    chosen = order[np.linspace(0, len(curves) - 1, MOST_CURVES).astype(int)]
    return [curves[i] for i in sorted(chosen.tolist())]


def _figure(
    name: str, curves: list[Line], seen: Mapping[str, Sample], scale: str, share: int, steps: Any
) -> tuple[Any, list[Any]]:
    from bokeh.models import DataRange1d, HoverTool, NumeralTickFormatter, PrintfTickFormatter
    from bokeh.palettes import viridis
    from bokeh.plotting import figure

    samples = list(seen.values())
    many = len(curves) > MOST_NAMED
    made = figure(
        title=TITLES[name],
        height=340 if name == "lr" else 180,
        sizing_mode="stretch_width",
        y_axis_type=scale,
        x_range=steps,
        y_range=DataRange1d(only_visible=True),
        x_axis_label="step (batch)",
        tools="pan,wheel_zoom,box_zoom,reset,save",
        toolbar_location="right" if name == "lr" else None,  # the others follow its steps
        min_border_left=70,
    )
    made.toolbar.logo = None
    made.xaxis.formatter = NumeralTickFormatter(format="0,0")
    if scale == "linear":
        made.yaxis.formatter = PrintfTickFormatter(format="%.4g")
    made.xaxis.ticker.desired_num_ticks = 4  # that fit a phone
    shades = viridis(256)[:230]  # without the yellow end, too pale on white
    order = np.argsort(np.argsort([float(line.values.max()) for line in curves], kind="stable"))
    drawn = []
    for i, line in enumerate(curves):
        one = samples[line.recipe]
        kept = _kept(line, one, share)
        values, at = line.values[kept], line.steps[kept]
        source = {
            "step": at.astype(np.int32),
            "epoch": (at / (one.recipe.steps_per_epoch or np.nan)).astype(np.float32),
            "value": np.where(values > 0, values, np.nan) if scale == "log" else values,
        }
        label = line.label(list(seen), curves)
        drawn.append(
            made.line(
                "step",
                "value",
                source=source,
                name=label or name,
                color=shades[order[i] * 229 // (len(curves) - 1)] if many else COLORS[i % len(COLORS)],
                line_dash="solid" if many else DASHES[i % len(DASHES)],
                line_width=1 if many else 2.5,
                **({"legend_label": label} if label and len(curves) > 1 and not many else {}),
            )
        )
    shown = [("", "$name"), ("step", "@step"), ("epoch", "@epoch{0.00}"), (name, "@value{%.6g}")]
    tooltips = [row for row in shown if row[0] != "epoch" or any(one.recipe.steps_per_epoch for one in samples)]
    made.add_tools(HoverTool(tooltips=tooltips, formatters={"@value": "printf"}, mode="mouse", line_policy="nearest"))
    if made.legend:
        made.legend.click_policy = "hide"
        made.legend.label_text_font_size = "12px"
        made.legend.background_fill_alpha = 0.8
        if name != "lr":
            made.legend.update(spacing=0, padding=3, glyph_height=14, label_height=14)
    if len(samples) == 1:
        _mark(made, samples[0])
    return made, drawn


def _mark(made: Any, one: Sample) -> None:
    """Warm-up shaded, milestones as dotted lines, as in `plot`."""
    from bokeh.models import BoxAnnotation, Span

    if warm := min(warmup_end(one), one.length - 1):
        made.add_layout(BoxAnnotation(left=0, right=warm, fill_color="#7F7F7F", fill_alpha=0.12, line_width=0))
    for step in milestones(one)[:MOST_MARKS]:
        made.add_layout(Span(location=step, dimension="height", line_color="#555555", line_dash="dotted"))


def _logged(made: Any, log: Mapping[str, Any], seen: Mapping[str, Sample], scale: str) -> None:
    per_epoch = next(iter(seen.values())).recipe.steps_per_epoch or np.nan
    most = max(MOST_LOGGED // max(len(log), 1), 2)
    for i, (name, points) in enumerate(log.items()):
        at, values = (np.asarray(column, np.float64) for column in points)
        if at.shape != values.shape or at.ndim != 1:
            raise ValueError(
                f"page: log[{name!r}] must be (steps, values) of one length, got {at.shape}, {values.shape}"
            )
        kept = np.unique(np.linspace(0, len(at) - 1, min(len(at), most)).astype(int))
        kept = kept[values[kept] > 0] if scale == "log" else kept
        made.scatter(
            "step",
            "value",
            source={
                "step": at[kept].astype(np.int32),
                "epoch": (at[kept] / per_epoch).astype(np.float32),
                "value": values[kept],
            },
            name=f"{name} (log)",
            marker=MARKERS[i % len(MARKERS)],
            size=5,
            line_color="#1a1a1a",
            fill_alpha=0,
            legend_label=f"{name} (log)",
        )
    if log:
        made.legend.click_policy = "hide"


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


Points = Mapping[str, tuple[ArrayLike, ArrayLike]]
"""For each logged learning rate its steps and its values."""
