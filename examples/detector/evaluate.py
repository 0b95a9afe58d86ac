"""How good detections are: COCO's mAP, precision and recall, a confusion matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from examples.detector import coco
from examples.detector.curves import Curves, curves, empty
from examples.detector.data import Dataset
from examples.detector.suppress import SHOWN, SHOWN_OVERLAP, Found


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The quality of a network on a data set.

    Attributes:
        names: Class names.
        boxes: ``[classes]``, number of true boxes.
        ap50: ``[classes]``, average precision at an overlap of 0.5; nan for classes without boxes, as in the next.
        ap: ``[classes]``, the same averaged over overlaps of 0.5, 0.55, ..., 0.95.
        precision_at: ``[101, classes]``, precision at recalls 0, 0.01, ..., 1 and an overlap of 0.5.
        curves: Precision, recall and F1 over the confidence.
        confusion: ``[classes + 1, classes + 1]``, predicted by true; the last is the background.
        found: For each image ``[n, 6]``: corners in the image's pixels, score, class.
        losses: Box, objectness and class loss on the data, where they were computed.
    """

    names: tuple[str, ...]
    boxes: np.ndarray
    ap50: np.ndarray
    ap: np.ndarray
    precision_at: np.ndarray
    curves: Curves
    confusion: np.ndarray
    found: tuple[np.ndarray, ...]
    losses: tuple[float, float, float] | None = None

    @property
    def map50(self) -> float:
        """Mean of `ap50` over the classes that have boxes; 0 if none has."""
        return mean(self.ap50)

    @property
    def map(self) -> float:
        """Mean of `ap` over the classes that have boxes; 0 if none has."""
        return mean(self.ap)

    @property
    def precision(self) -> float:
        """Mean precision at the confidence with the best F1."""
        return mean(self.curves.precision[self.curves.best])

    @property
    def recall(self) -> float:
        """Mean recall at the confidence with the best F1."""
        return mean(self.curves.recall[self.curves.best])

    @property
    def fitness(self) -> float:
        """YOLOv5's measure of its best checkpoint."""
        return 0.1 * self.map50 + 0.9 * self.map

    def table(self) -> str:
        """One line for all classes and one for each."""
        at = self.curves.best
        rows = [("all", int(self.boxes.sum()), self.precision, self.recall, self.map50, self.map)]
        rows += zip(self.names, self.boxes.tolist(), self.curves.precision[at], self.curves.recall[at], self.ap50,
                    self.ap, strict=True)  # fmt: skip
        lines = [f"{'class':>16} {'boxes':>7} {'P':>7} {'R':>7} {'mAP50':>7} {'mAP50-95':>9}"]
        for name, n, *numbers, last in rows:
            lines.append(f"{name[:16]:>16} {n:>7} " + " ".join(f"{x:>7.3f}" for x in numbers) + f" {last:>9.3f}")
        return "\n".join(lines)


def mean(values: np.ndarray) -> float:
    """Mean of the finite values; 0 if there is none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else 0.0


def find(
    detect: Callable[[Mapping[str, Any]], Found], dataset: Dataset, batches: Iterable[Mapping[str, Any]]
) -> tuple[np.ndarray, ...]:
    """Apply `detect` (a batch to its detections) to batches of `loader.validation_batches`.

    Returns:
        For each image ``[n, 6]``: corners in the image's pixels, score, class. Empty for images not in `batches`.
    """
    found: list[np.ndarray] = [np.zeros((0, 6))] * len(dataset)
    for batch in batches:
        corners, scores, classes = map(np.asarray, detect(batch))
        for k, index in enumerate(batch["index"]):
            if index < 0:
                continue
            scale, corner = np.split(batch["place"][k], 2)
            n = int((scores[k] > 0).sum())
            box = ((corners[k, :n] - np.tile(corner, 2)) / np.tile(scale, 2)).clip(0, np.tile(dataset.sizes[index], 2))
            found[index] = np.concatenate([box, scores[k, :n, None], classes[k, :n, None]], 1)
    return tuple(found)


def score(dataset: Dataset, found: Sequence[np.ndarray]) -> Evaluation:
    """COCO's numbers for the detections `found` in the images of `dataset`."""
    classes = len(dataset.names)
    boxes = np.array([sum(int((of_image == c).sum()) for of_image in dataset.classes) for c in range(classes)])
    at50, overall = (np.where(boxes > 0, 0.0, np.nan) for _ in range(2))
    precision_at, by_confidence = np.full((101, classes), np.nan), empty(classes)
    if boxes.any() and any(map(len, found)):
        run = coco.run(dataset, found)
        precision = run.eval["precision"][:, :, :, 0, -1]  # [overlaps, recalls, classes], -1 where there is no box
        precision = np.where(precision < 0, np.nan, precision)
        precision_at, by_confidence = precision[0], curves(run, classes)
        at50, overall = precision[0].mean(0), precision.mean((0, 1))
    return Evaluation(
        dataset.names, boxes, at50, overall, precision_at, by_confidence, confusion(dataset, found), tuple(found)
    )


def confusion(dataset: Dataset, found: Sequence[np.ndarray], overlap: float = SHOWN_OVERLAP) -> np.ndarray:
    """Counts, predicted by true, of detections of at least `SHOWN`, each matched with the true box it overlaps most."""
    classes = len(dataset.names)
    counts = np.zeros((classes + 1, classes + 1), int)
    for index, table in enumerate(found):
        table = table[table[:, 4] >= SHOWN]
        true, truth = dataset.corners(index), dataset.classes[index]
        pairs = overlaps(table[:, :4], true)
        matched_true: set[int] = set()
        matched: set[int] = set()
        for k in np.argsort(-pairs, axis=None, kind="stable"):
            p, t = map(int, np.unravel_index(k, pairs.shape))
            if pairs[p, t] <= overlap:
                break
            if p not in matched and t not in matched_true:
                matched.add(p)
                matched_true.add(t)
                counts[int(table[p, 5]), truth[t]] += 1
        for p in set(range(len(table))) - matched:
            counts[int(table[p, 5]), classes] += 1
        for t in set(range(len(truth))) - matched_true:
            counts[classes, truth[t]] += 1
    return counts


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`suppress.overlaps` on the host, where shapes differ from image to image."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (high - low).clip(0).prod(-1)
    area = lambda x: (x[:, 2:] - x[:, :2]).prod(-1)  # noqa: E731
    return both / (area(a)[:, None] + area(b)[None] - both + 1e-9)
