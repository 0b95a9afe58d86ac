"""Precision, recall and F1 over the confidence, from pycocotools' matches at an overlap of 0.5."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

CONFIDENCES = np.linspace(0, 1, 1000)


class Curves(NamedTuple):
    """Curves of each class over `CONFIDENCES`.

    Attributes:
        precision, recall: ``[1000, classes]``; nan for classes without a true box.
        best: Index of the confidence with the largest mean F1, smoothed over a tenth of the range as in YOLOv5.
    """

    precision: np.ndarray
    recall: np.ndarray
    best: int

    @property
    def f1(self) -> np.ndarray:
        return 2 * self.precision * self.recall / (self.precision + self.recall + 1e-16)


def empty(classes: int) -> Curves:
    """The curves of no detections at all."""
    return Curves(np.full((1000, classes), np.nan), np.full((1000, classes), np.nan), 0)


def curves(evaluation: Any, classes: int) -> Curves:
    """Curves from an evaluation by `coco.run`."""
    whole = evaluation.params.areaRng[0]
    by_class: list[list[dict]] = [[] for _ in range(classes)]
    for image in evaluation.evalImgs:
        if image is not None and image["aRng"] == whole:
            by_class[image["category_id"]].append(image)
    precision, recall, _ = empty(classes)
    for c, images in enumerate(by_class):
        boxes = sum(int((np.asarray(image["gtIgnore"]) == 0).sum()) for image in images)
        if not boxes:
            continue
        scores = np.concatenate([image["dtScores"] for image in images])
        hit = np.concatenate([image["dtMatches"][0] for image in images]) > 0
        counts = np.concatenate([image["dtIgnore"][0] for image in images]) == 0
        order = np.argsort(-scores[counts], kind="stable")
        scores, hit = scores[counts][order], hit[counts][order]
        if not len(scores):
            precision[:, c], recall[:, c] = 0, 0
            continue
        hits = hit.cumsum()
        # Interpolated over falling scores: above the highest one nothing is found, and nothing is wrong.
        recall[:, c] = np.interp(-CONFIDENCES, -scores, hits / boxes, left=0)
        precision[:, c] = np.interp(-CONFIDENCES, -scores, hits / np.arange(1, len(hits) + 1), left=1)
    found = Curves(precision, recall, 0)
    with_boxes = np.isfinite(recall).all(0)
    if not with_boxes.any():
        return found
    mean = found.f1[:, with_boxes].mean(1)
    width = 2 * (len(CONFIDENCES) // 20) + 1
    padded = np.pad(mean, width // 2, mode="edge")
    return found._replace(best=int(np.convolve(padded, np.ones(width) / width, "valid").argmax()))
