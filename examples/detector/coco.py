"""COCO's average precision, by pycocotools: a data set as COCO's ground truth, detections as its results."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from examples.detector.data import Dataset, to_corners
from examples.detector.suppress import DETECTIONS


def ground_truth(dataset: Dataset) -> dict[str, Any]:
    """The data set as COCO's JSON; images are numbered in order, categories are classes."""
    annotations: list[dict[str, Any]] = []
    for i in range(len(dataset)):
        crowds = dataset.crowds[i]
        for crowd, classes, boxes in ((0, dataset.classes[i], dataset.corners(i)),
                                      (1, crowds[:, 0], to_corners(crowds[:, 1:], dataset.sizes[i]))):  # fmt: skip
            for c, (left, top, right, bottom) in zip(classes, boxes.tolist(), strict=True):
                annotations.append({
                    "id": len(annotations) + 1, "image_id": i, "category_id": int(c), "iscrowd": crowd,
                    "bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top),
                })  # fmt: skip
    return {
        "info": {},
        "images": [{"id": i, "width": w, "height": h} for i, (w, h) in enumerate(dataset.sizes)],
        "categories": [{"id": c, "name": name} for c, name in enumerate(dataset.names)],
        "annotations": annotations,
    }


def results(found: Sequence[np.ndarray], image_ids: Sequence[Any] | None = None) -> list[dict[str, Any]]:
    """Detections, ``[n, 6]`` for each image (corners, score, class), as COCO's results."""
    return [
        {"image_id": i if image_ids is None else image_ids[i], "category_id": int(c),
         "bbox": [x0, y0, x1 - x0, y1 - y0], "score": s}
        for i, table in enumerate(found)
        for x0, y0, x1, y1, s, c in table.tolist()
    ]  # fmt: skip


def run(dataset: Dataset, found: Sequence[np.ndarray]) -> Any:
    """pycocotools' evaluation, accumulated: up to `DETECTIONS` an image."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = COCO()
        truth.dataset = ground_truth(dataset)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results(found)), "bbox")
        evaluation.params.maxDets = [1, 10, DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation
