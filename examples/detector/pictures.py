"""Pictures by which a person can judge a run."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from examples.detector.curves import CONFIDENCES
from examples.detector.data import Dataset
from examples.detector.evaluate import Evaluation
from examples.detector.suppress import SHOWN

matplotlib.rcParams["text.parse_math"] = False  # names of classes are drawn as written
COLOURS = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]
TILES = 12


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110)
    plt.close(figure)


def tiles(count: int, title: str) -> tuple[Figure, list[Axes]]:
    columns = min(4, max(count, 1))
    rows = -(-max(count, 1) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.0 * columns, 3.0 * rows + 0.5), squeeze=False, layout="constrained"
    )
    figure.suptitle(title)
    for axis in axes.ravel():
        axis.axis("off")
    return figure, list(axes.ravel())


def draw_box(axis: Axes, corners: Sequence[float], label: str, colour, dashed: bool = False) -> None:  # type: ignore[no-untyped-def]
    """A box with a black rim, without which a white one would vanish on a white image."""
    x0, y0, x1, y1 = corners
    axis.add_patch(Rectangle(
        (x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=1.5, ls="--" if dashed else "-",
        path_effects=[withStroke(linewidth=3, foreground="black")],
    ))  # fmt: skip
    if label:
        inside = y0 < 0.06 * max(axis.get_ylim())  # above the box, its name would be cut by the image's upper edge
        axis.text(
            x0, y0, label, fontsize=7, color="white", va="top" if inside else "bottom", clip_on=True,
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip


def draw_pixels(axis: Axes, pixels: np.ndarray) -> None:
    """Show an image whose first pixel goes from 0 to 1, as in the coordinates of boxes, rather than around 0."""
    height, width = pixels.shape[:2]
    axis.imshow(pixels, extent=(0, width, height, 0))


def training_batch(batch: Mapping[str, np.ndarray], names: Sequence[str], path: Path) -> None:
    """The first images of a batch as the network sees them, with their boxes."""
    count = min(TILES, len(batch["image"]))
    figure, axes = tiles(count, "A training batch and its boxes")
    for axis, image, boxes, classes in zip(axes, batch["image"], batch["boxes"], batch["classes"], strict=False):
        draw_pixels(axis, image)
        size = image.shape[0]
        for (x, y, w, h), c in zip(boxes * size, classes, strict=True):
            if c >= 0:
                draw_box(axis, (x - w / 2, y - h / 2, x + w / 2, y + h / 2), names[c], COLOURS[c % 10])
    save(figure, path)


def predictions(dataset: Dataset, found: Sequence[np.ndarray], indices: Sequence[int], path: Path) -> None:
    """Boxes `found` (with their confidence) over true ones (dashed, white) on the first of the images `indices`."""
    indices = [i for i in indices if i >= 0][:TILES]
    figure, axes = tiles(len(indices), f"Predictions from confidence {SHOWN}; the true boxes are dashed")
    for index, axis in zip(indices, axes, strict=False):
        draw_pixels(axis, dataset.pixels(index))
        for corners in dataset.corners(index):
            draw_box(axis, corners, "", "white", dashed=True)
        for *corners, score, c in found[index]:
            draw_box(axis, corners, f"{dataset.names[int(c)]} {score:.2f}", COLOURS[int(c) % 10])
    save(figure, path)


def evaluation(result: Evaluation, folder: Path) -> None:
    """All pictures of an evaluation, under the names that YOLOv5 gives them."""
    confusion(result, folder / "confusion_matrix.png")
    recall = np.linspace(0, 1, 101)
    curve(result, recall, result.precision_at, ("recall", "precision"), result.ap50, folder / "PR_curve.png")
    by_confidence = result.curves
    for name, values, label in (("P", by_confidence.precision, "precision"), ("R", by_confidence.recall, "recall"),
                                ("F1", by_confidence.f1, "F1")):  # fmt: skip
        best = values[by_confidence.best]
        curve(result, CONFIDENCES, values, ("confidence", label), best, folder / f"{name}_curve.png")


def confusion(result: Evaluation, path: Path) -> None:
    """Counts of predicted against true classes, as shares of each true class."""
    names = [*result.names, "background"]
    shares = result.confusion / np.maximum(result.confusion.sum(0, keepdims=True), 1)
    side = min(max(5.0, 0.45 * len(names) + 2), 40.0)
    figure, axis = plt.subplots(figsize=(side + 1, side), layout="constrained")
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true class")
    axis.set(xlabel="true", ylabel="predicted", title=f"Confusion from confidence {SHOWN}")
    axis.set_xticks(range(len(names)), names, rotation=90)
    axis.set_yticks(range(len(names)), names)
    if len(names) <= 25:
        for (row, column), n in np.ndenumerate(result.confusion):
            if n:
                dark = shares[row, column] > 0.5
                axis.text(column, row, str(n), ha="center", va="center", fontsize=8, color="white" if dark else "black")
    save(figure, path)


def curve(
    result: Evaluation, x: np.ndarray, values: np.ndarray, axes: tuple[str, str], numbers: np.ndarray, path: Path
) -> None:
    """A curve of each class, with its number in the legend, and their mean."""
    figure, axis = plt.subplots(figsize=(7, 5), layout="constrained")
    few = len(result.names) <= 20
    present = np.isfinite(values).all(0)
    for c in np.flatnonzero(present):
        label = f"{result.names[c]} {numbers[c]:.3f}" if few else None
        axis.plot(x, values[:, c], lw=1, color=COLOURS[c % 10] if few else "lightgrey", label=label)
    if present.any():
        mean = values[:, present].mean(1)
        axis.plot(x, mean, lw=3, color="black", label=f"all {numbers[present].mean():.3f}")
        title = "mAP@0.5" if axes[0] == "recall" else f"at confidence {CONFIDENCES[result.curves.best]:.2f}"
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), title=title)
    axis.set(xlabel=axes[0], ylabel=axes[1], xlim=(0, 1), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    save(figure, path)


def read_log(path: Path) -> dict[str, np.ndarray]:
    """Columns of a CSV log; empty fields are nan."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {k: np.array([float(r[k]) if r[k] else np.nan for r in rows]) for k in (rows[0] if rows else ())}


def losses(log: Path, path: Path) -> None:
    """The parts of the loss over the run, and the mAP where it was measured."""
    columns = read_log(log)
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="constrained")
    for axis, (key, title) in zip(
        axes, {"box_loss": "box loss", "obj_loss": "objectness loss", "cls_loss": "class loss"}.items(), strict=False
    ):
        values = columns[f"train/{key}"]
        axis.plot(columns["step"], values, lw=0.6, alpha=0.35, color="tab:blue")
        window = max(1, len(values) // 50)
        smooth = np.convolve(values, np.ones(window) / window, "valid")
        axis.plot(columns["step"][window - 1 :], smooth, lw=1.8, color="tab:blue", label="training")
        val = columns[f"val/{key}"]
        axis.plot(columns["step"][np.isfinite(val)], val[np.isfinite(val)], marker="o", ms=3, color="tab:orange",
                  label="validation")  # fmt: skip
        axis.set(title=title, xlabel="step", ylim=(0, None))
    axes[0].legend()
    measured = np.isfinite(columns["metrics/mAP_0.5"])
    for key, label in (("metrics/mAP_0.5", "mAP@0.5"), ("metrics/mAP_0.5:0.95", "mAP@0.5:0.95")):
        axes[3].plot(columns["step"][measured], columns[key][measured], marker="o", ms=3, label=label)
    axes[3].set(title="mean average precision", xlabel="step", ylim=(0, 1))
    axes[3].legend(loc="lower right")
    for axis in axes:
        axis.set_xlim(axes[0].get_xlim())  # a single evaluation would choose fractions of a step
        axis.grid(alpha=0.3)
    save(figure, path)


def hyperparameters(log: Path, path: Path) -> None:
    """Learning rate and momentum of each group at each step, as the optimizer used them."""
    columns = read_log(log)
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
    for axis, name in zip(axes, ("lr", "momentum"), strict=True):
        keys = [k for k in columns if k.startswith(f"{name}/")]
        # Groups often share a curve: a wider line below keeps each visible.
        for k, key in enumerate(keys):
            axis.plot(columns["step"], columns[key], lw=5 - 4 * k / max(len(keys) - 1, 1), label=key.split("/")[1])
        axis.set(title={"lr": "learning rate", "momentum": "momentum"}[name], xlabel="step")
        axis.grid(alpha=0.3)
        if keys:
            axis.legend()
    save(figure, path)
