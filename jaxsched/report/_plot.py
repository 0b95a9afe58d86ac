"""Plots of recipes with matplotlib: the hyperparameters of each group over the steps, with milestones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxsched.checks import extra, one_line
from jaxsched.recipe import Reportable
from jaxsched.report._curves import LONGEST, update_steps, values_at
from jaxsched.report._sample import Sample, sample
from jaxsched.report._table import epochs, short
from jaxsched.schedules import Moment, Schedule

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
"""Okabe and Ito's colours, which the colour-blind can tell apart."""
DASHES = ("-", "--", "-.", ":")
MOST_NAMED = len(COLORS)
"""Curves with a colour and a name each; more curves share a colour map."""
MOST_MARKS = 12
SUFFIXES = (".png", ".svg", ".pdf")
CURVES = ("lr", "momentum", "weight_decay")
TITLES = {
    "lr": "learning rate",
    "momentum": "momentum",
    "weight_decay": "weight decay",
    "accumulate": "batches per update",
    "ema": "1 - decay of the EMA",
}


class Line(NamedTuple):
    """A curve, and the groups that share it.

    Attributes:
        recipe: Which of the recipes it is of.
        groups: The groups; empty where it is of the recipe as a whole.
    """

    name: str
    steps: np.ndarray
    values: np.ndarray
    recipe: int
    groups: tuple[str, ...] = ()

    def label(self, recipes: Sequence[str], lines: Sequence[Line]) -> str:
        """Its name in a legend beside other lines, with that of its recipe where there are several."""
        alone = sum(other.recipe == self.recipe for other in lines) == 1
        several = len(recipes) > 1
        return ": ".join(
            filter(None, (recipes[self.recipe] if several else "", "" if several and alone else self.name))
        )


def plot(
    recipe: Reportable | Mapping[str, Reportable],
    *,
    log: bool | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Plot the lr, momentum and weight decay of each group over the steps, with epochs on a second axis.

    Groups with the same curve share a line. Warm-up is shaded, milestones are lines; accumulation and the EMA of
    the parameters have axes of their own. A notebook shows the figure as a picture. Needs the extra ``plot``.

    Args:
        recipe: A recipe, a schedule alone, an optax transformation made of jaxsched's, or several of these by name,
            which are drawn over each other.
        log: Whether the axis of lr is logarithmic; by default it is if there are milestones or if the learning rates
            of the groups are far apart.
        path: File to save the figure to: a .png, .svg or .pdf.

    Returns:
        A ``matplotlib.figure.Figure``. Its axes have the labels ``lr``, ``momentum``, ``weight_decay``, ``accumulate``,
        ``ema``, as far as there is something to show.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is nothing to draw, or the ending of ``path`` is not known.

    Examples:
        >>> import jaxsched as js
        >>> recipe = js.Recipe("sgd", dict(lr=js.warmup(js.cosine(0.1, 1000), 100), momentum=0.9), steps=1000)
        >>> [axis.get_label() for axis in js.plot(recipe).axes]
        ['lr', 'momentum']
    """
    recipes = recipe if isinstance(recipe, Mapping) else {"": recipe}
    if not recipes:
        raise ValueError("plot: there is no recipe to draw")
    if path is not None and os.path.splitext(path)[1].lower() not in SUFFIXES:
        raise ValueError(f"plot: path must end in {', '.join(SUFFIXES)}, got {os.fspath(path)!r}")
    extra("matplotlib", "plot")
    from jaxsched.report._figure import Figure

    seen = {name: sample(one) for name, one in recipes.items()}
    drawn = panels(seen)
    if not drawn:
        raise ValueError("plot: there is nothing to draw, every group is frozen")
    heights = [3.0 if name == "lr" else 0.6 if _one_number(lines) else 1.3 for name, lines in drawn.items()]
    figure = Figure(figsize=(9.5, sum(heights) + 1.2), layout="constrained")
    axes = figure.subplots(len(drawn), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (name, lines) in zip(axes, drawn.items(), strict=True):
        axis.set_label(name)
        _draw(figure, axis, lines, several=list(seen) if len(seen) > 1 else [])
        axis.grid(alpha=0.25)
        axis.margins(x=0, y=0.06 if name == "lr" else 0.2)
        if name == "lr":
            axis.set_ylabel(TITLES[name])
        else:
            axis.set_title(TITLES[name], loc="left", fontsize="small", pad=3)
        if _one_number(lines):
            axis.set_yticks([float(lines[0].values[0])], [short(lines[0].values[0])])
        elif name == "ema":
            axis.set_yscale("log")
    top = axes[0]
    if "lr" in drawn:
        _scale(top, list(seen.values()), drawn["lr"], log)
    first = next(iter(seen.values()))
    if len(seen) == 1:
        _mark(axes, top, first)
        title = one_line(str(recipe), 120) if isinstance(recipe, Schedule) else _title(first)
        top.set_title(title, fontsize="medium", loc="left")
    axes[-1].set_xlabel("step (batch)")
    axes[-1].ticklabel_format(axis="x", style="plain")
    per_epoch = {one.recipe.steps_per_epoch for one in seen.values()}
    if len(per_epoch) == 1 and (batches := per_epoch.pop()):
        second = top.secondary_xaxis("top", functions=(lambda step: step / batches, lambda epoch: epoch * batches))
        second.set_xlabel("epoch", fontsize="small")
        second.set_label("epoch")
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def panels(seen: Mapping[str, Sample]) -> dict[str, list[Line]]:
    """What is drawn, from top to bottom."""
    panels: dict[str, list[Line]] = {}
    for name in CURVES:
        lines = [line for i, one in enumerate(seen.values()) for line in _lines(one, name, i)]
        if lines and (name == "lr" or any(line.values.any() for line in lines)):
            panels[name] = lines
    for i, one in enumerate(seen.values()):
        if one.recipe.accumulate is not None:
            panels.setdefault("accumulate", []).append(Line("", one.steps, one.every, i))
        if one.recipe.ema is not None:
            looked = min(one.length, LONGEST)
            done = np.cumsum(update_steps(one.recipe, np.arange(looked)))
            later = np.maximum(one.steps - looked + 1, 0) // np.maximum(np.ceil(one.every).astype(np.int64), 1)
            done = done[np.minimum(one.steps, looked - 1)] + later - 1
            if isinstance(one.recipe.ema, int | float):  # 1 - float32(0.99) is 0.00999999
                decay = np.full(len(one.steps), one.recipe.ema, np.float64)
            else:
                decay = values_at([one.recipe.ema], np.maximum(done, 0))[0].astype(np.float64)
            panels.setdefault("ema", []).append(Line("", one.steps, 1 - decay, i))
    return panels


def _one_number(lines: list[Line]) -> bool:
    """Whether there is nothing to see but one number."""
    return min(line.values.min() for line in lines) == max(line.values.max() for line in lines)


def _lines(seen: Sample, name: str, recipe: int) -> list[Line]:
    alike: dict[bytes, list[str]] = {}
    for group, values in seen.values.items():
        if name in values:
            alike.setdefault(values[name].tobytes(), []).append(group)
    return [
        Line(_names(groups), seen.steps, seen.values[groups[0]][name], recipe, tuple(groups))
        for groups in alike.values()
    ]


def _names(groups: list[str]) -> str:
    return ", ".join(groups[:3]) + (f" and {len(groups) - 3} more" if len(groups) > 3 else "")


def _draw(figure: Any, axis: Any, lines: list[Line], several: list[str]) -> None:
    steps = axis.get_label() == "accumulate"
    style: dict[str, Any] = {"drawstyle": "steps-post"} if steps else {}
    if not several and len(lines) > MOST_NAMED:
        _draw_many(figure, axis, lines)
        return
    within: dict[int, int] = {}
    for line in lines:
        k = within[line.recipe] = within.get(line.recipe, -1) + 1
        color, dash = (line.recipe, k) if several else (k, k)
        label = line.label(several, lines)
        axis.plot(
            line.steps, line.values, color=COLORS[color % len(COLORS)], linestyle=DASHES[dash % len(DASHES)],
            linewidth=1.6, label=label, **style,
        )  # fmt: skip
    if len(lines) > 1 and not _one_number(lines):
        shown = lines if len(lines) <= MOST_NAMED else lines[:MOST_NAMED]
        axis.legend(axis.get_lines()[: len(shown)], [one.get_label() for one in axis.get_lines()], fontsize="small")


def _draw_many(figure: Any, axis: Any, lines: list[Line]) -> None:
    """In one range of colours, with a bar that names some of the groups."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    ordered = sorted(lines, key=lambda line: float(line.values.max()))
    colors = colormaps["viridis"](np.linspace(0, 0.92, len(ordered)))
    for line, color in zip(ordered, colors, strict=True):
        axis.plot(line.steps, line.values, color=color, linewidth=0.8, label=line.name)
    cropped = colormaps["viridis"].resampled(256)(np.linspace(0, 0.92, 256))
    bar = ScalarMappable(Normalize(0, len(ordered) - 1), ListedColormap(cropped))
    named = np.unique(np.linspace(0, len(ordered) - 1, 6).astype(int))
    drawn = figure.colorbar(bar, ax=axis, ticks=named, pad=0.01)
    drawn.ax.set_yticklabels([ordered[i].name[:24] for i in named], fontsize="x-small")
    drawn.ax.set_label(f"{axis.get_label()} groups")


def _scale(axis: Any, seen: list[Sample], lines: list[Line], log: bool | None) -> None:
    highest = np.array([float(line.values.max()) for line in lines])
    later = np.concatenate([_settled(line, seen[line.recipe]) for line in lines])
    later = later[later > 0]
    if log is None:
        stairs = any(m.kind == "milestone" and 0 < m.step < one.length for one in seen for m in _of_lr(one))
        far = highest.min() > 0 and later.size > 0 and highest.max() / min(highest.min(), later.max()) > 5
        log = stairs or bool(far)
    if log and later.size:
        axis.set_yscale("log")
        axis.set_ylim(float(later.min()) / 2, float(highest.max()) * 2)
    elif all(line.values.min() >= 0 for line in lines):
        axis.set_ylim(bottom=0)


def _settled(line: Line, seen: Sample) -> np.ndarray:
    """The values between warm-up and the last hundredth, which many decays end near 0."""
    begin = warmup_end(seen) if warmup_end(seen) < seen.length * 0.9 else 0
    inside = (line.steps >= begin) & (line.steps <= seen.length * 0.99)
    return line.values[inside]


def warmup_end(seen: Sample) -> int:
    """The step at which the last warm-up of lr ends, 0 if there is none."""
    return max((m.step for m in _of_lr(seen) if m.kind == "warm-up" and m.happens), default=0)


def milestones(seen: Sample) -> list[int]:
    """The steps of the other moments of lr, but for those at which one part of a schedule follows another."""
    found = {(m.step, m.kind) for m in _of_lr(seen) if m.happens and 0 < m.step < seen.length}
    return sorted({step for step, kind in found if kind not in ("warm-up", "part")})


def _of_lr(seen: Sample) -> list[Moment]:
    return [moment for by_name in seen.moments.values() for moment in by_name.get("lr", [])]


def _mark(axes: Any, top: Any, seen: Sample) -> None:
    warm = min(warmup_end(seen), seen.length - 1)
    if warm:
        for axis in axes:
            span = axis.axvspan(0, warm, color="#7F7F7F", alpha=0.15, linewidth=0)
            span.set_gid("warm-up")
        text = f"warm-up to {warm}"
        top.annotate(text, (warm, 0.02), xycoords=("data", "axes fraction"), xytext=(4, 0), textcoords="offset points",
                     fontsize="x-small", color="#555555")  # fmt: skip
    marked = milestones(seen)
    for i, step in enumerate(marked):
        for axis in axes:
            mark = axis.axvline(step, color="#555555", linestyle=":", linewidth=0.8)
            mark.set_gid("milestone")
        if len(marked) <= MOST_MARKS:
            epoch = epochs(step, seen.recipe.steps_per_epoch)
            text = f"epoch {epoch}" if epoch else f"step {step}"
            top.annotate(text, (step, 0.97 - 0.07 * (i % 2)), xycoords=("data", "axes fraction"), xytext=(3, 0),
                         textcoords="offset points", fontsize="x-small", color="#555555", va="top")  # fmt: skip


def _title(seen: Sample) -> str:
    recipe = seen.recipe
    texts = [recipe.optimizer, f"{short(seen.length)} steps"]
    if recipe.steps_per_epoch:
        texts.append(f"{epochs(seen.length, recipe.steps_per_epoch)} epochs")
    if recipe.batch_size:
        texts.append(f"batch {recipe.batch_size}")
    if recipe.accumulate is not None:
        least, most = int(seen.every.min()), int(seen.every.max())
        texts.append(f"{least}..{most} batches per update" if least != most else f"{most} batches per update")
    if recipe.clip_norm is not None and not callable(recipe.clip_norm):
        texts.append(f"clipped at norm {short(recipe.clip_norm)}")
    if recipe.clip_each_norm is not None and not callable(recipe.clip_each_norm):
        texts.append(f"each gradient clipped at norm {short(recipe.clip_each_norm)}")
    if recipe.ema is not None:
        texts.append("EMA")
    return ", ".join(texts)
