"""A picture of a data set's labels, by which a person sees what is wrong with them before training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection

from examples.detector.data import Dataset
from examples.detector.pictures import COLOURS, plt, save

DRAWN = 1000  # boxes
NAMED = 60  # classes whose names fit


def labels(dataset: Dataset, path: Path) -> None:
    """Boxes of each class, outlines of the first boxes around one centre, and where centres and sizes are."""
    boxes = np.concatenate(dataset.boxes)
    classes = np.concatenate(dataset.classes)
    counts = np.bincount(classes, minlength=len(dataset.names))
    figure, axes = plt.subplots(2, 2, figsize=(9, 9), layout="constrained")
    figure.suptitle(f"{len(boxes)} boxes in {len(dataset)} images")

    axes[0, 0].bar(range(len(counts)), counts, color=[COLOURS[c % 10] for c in range(len(counts))])
    axes[0, 0].set(title="boxes of each class", ylabel="boxes")
    if len(counts) <= NAMED:
        axes[0, 0].set_xticks(range(len(counts)), dataset.names, rotation=90)

    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) / 2
    outlines = 0.5 + corners * boxes[:DRAWN, None, 2:]
    colours = [COLOURS[c % 10] for c in classes[:DRAWN]]
    axes[0, 1].add_collection(LineCollection(list(outlines), colors=colours, linewidths=0.5, alpha=0.5))
    axes[0, 1].set(title=f"sizes of the first {min(DRAWN, len(boxes))}", xlim=(0, 1), ylim=(1, 0), aspect="equal")

    for axis, columns, names in zip(
        axes[1], (boxes[:, :2], boxes[:, 2:]), (("x", "y"), ("width", "height")), strict=True
    ):
        axis.hist2d(*columns.T, bins=50, range=[[0, 1], [0, 1]], cmap="Blues")
        axis.set(xlabel=f"{names[0]} / image width", ylabel=f"{names[1]} / image height", aspect="equal")
    axes[1, 0].set_title("centres")
    axes[1, 0].invert_yaxis()
    axes[1, 1].set_title("sizes")
    save(figure, path)
