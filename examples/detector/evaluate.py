"""Detections and what they are worth: batched non-maximum suppression, COCO's mAP, a confusion matrix.

As YOLOv5 validates: every class of a box above `CONFIDENCE` counts as a detection, boxes of one class that overlap
by more than
`OVERLAP` are one, at most `DETECTIONS` to an image. One difference, for fixed shapes: suppression sees the best
`candidates` (box, class) pairs of an image, where YOLOv5 keeps up to 30,000.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from examples.detector.data import Dataset, to_corners

CONFIDENCE = 0.001
OVERLAP = 0.6
DETECTIONS = 300
SHOWN = 0.25  # confidence from which a detection is drawn, and counted in the confusion matrix
SHOWN_OVERLAP = 0.45  # the overlap by which drawn boxes of one class are one, as in YOLOv5's detect.py


def overlaps(a: jax.Array, b: jax.Array) -> jax.Array:
    """``[n, m]``: intersection over union of boxes given by their corners."""
    low = jnp.maximum(a[:, None, :2], b[None, :, :2])
    high = jnp.minimum(a[:, None, 2:], b[None, :, 2:])
    both = jnp.maximum(high - low, 0).prod(-1)
    area = lambda x: (x[:, 2:] - x[:, :2]).prod(-1)  # noqa: E731
    return both / (area(a)[:, None] + area(b)[None] - both + 1e-9)


def suppress(corners: jax.Array, overlap: float) -> jax.Array:
    """Which boxes greedy suppression keeps, of boxes in falling order of score.

    A box stays if no box that stays, of a higher score, overlaps it. Deciding all at once and repeating until nothing
    changes gives the same answer as one after the other, in a few rounds.
    """
    n = corners.shape[0]
    hides = (overlaps(corners, corners) > overlap) & (jnp.arange(n)[:, None] < jnp.arange(n)[None])

    def decide(state):  # type: ignore[no-untyped-def]
        kept, _ = state
        new = ~(hides & kept[:, None]).any(0)
        return new, (new != kept).any()

    return jax.lax.while_loop(lambda s: s[1], decide, (jnp.ones(n, bool), jnp.asarray(True)))[0]


Found = tuple[jax.Array, jax.Array, jax.Array]


def detections(
    decoded: jax.Array,
    candidates: int = 1024,
    *,
    confidence: float = CONFIDENCE,
    overlap: float = OVERLAP,
    every_class: bool = True,
) -> Found:
    """Decoded predictions ``[batch, N, 5 + classes]`` to the detections of each image, best first.

    Args:
        decoded: what `decode` gives.
        candidates: how many (box, class) pairs of an image suppression sees.
        confidence: a detection's score is above it.
        overlap: boxes of one class that overlap by more are one.
        every_class: each class of a box is a detection; otherwise the best class alone.

    Returns:
        corners ``[batch, D, 4]`` in pixels of the network's input, scores ``[batch, D]`` (0 where there is no
        detection), classes ``[batch, D]``.
    """

    def of_image(p: jax.Array) -> Found:
        classes = p.shape[1] - 5
        scores = p[:, 4:5] * p[:, 5:]
        if not every_class:
            scores = jnp.where(jnp.arange(classes) == scores.argmax(1)[:, None], scores, 0)
        scores = scores.reshape(-1)
        best, where = jax.lax.top_k(scores, min(candidates, scores.size))
        box, label = p[where // classes, :4], where % classes
        corners = jnp.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], -1)
        # Boxes of different classes never overlap when each class has a plane of its own.
        plane = label[:, None] * (corners.max() - corners.min() + 1)
        score = jnp.where(suppress(corners + plane, overlap) & (best > confidence), best, 0)
        kept, order = jax.lax.top_k(score, min(DETECTIONS, score.size))
        return corners[order], kept, label[order]

    return jax.vmap(of_image)(decoded)


def to_draw(decoded: jax.Array) -> Found:
    """The detections that a person is shown, as YOLOv5's detect.py chooses them: the best class of each box."""
    return detections(decoded, confidence=SHOWN, overlap=SHOWN_OVERLAP, every_class=False)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a network is worth on a dataset.

    Attributes:
        map50: mean over classes of the average precision at an overlap of 0.5.
        map: the same, averaged over overlaps of 0.5, 0.55, ..., 0.95.
        per_class: name, boxes, average precision at 0.5, and over all overlaps, of each class.
        confusion: ``[classes + 1, classes + 1]``, predicted by true; the last is background.
        precision: ``[101, classes]``, precision at recalls 0, 0.01, ..., 1 and an overlap of 0.5 (nan: no box).
        found: for each image ``[n, 6]``, corners in the image's pixels, score, class.
    """

    map50: float
    map: float
    per_class: tuple[tuple[str, int, float, float], ...]
    confusion: np.ndarray
    precision: np.ndarray
    found: tuple[np.ndarray, ...]

    @property
    def fitness(self) -> float:
        """What YOLOv5 chooses its best checkpoint by."""
        return 0.1 * self.map50 + 0.9 * self.map

    def table(self) -> str:
        rows = [("all", sum(r[1] for r in self.per_class), self.map50, self.map), *self.per_class]
        lines = [f"{'class':>16} {'boxes':>7} {'mAP@0.5':>9} {'mAP@0.5:0.95':>13}"]
        return "\n".join(lines + [f"{name[:16]:>16} {n:>7} {a:>9.3f} {b:>13.3f}" for name, n, a, b in rows])


def find(
    detect: Callable[[np.ndarray], Found], dataset: Dataset, batches: Iterable[Mapping[str, Any]]
) -> tuple[np.ndarray, ...]:
    """What `detect` (images uint8 to `detections`) finds in each image, ``[n, 6]``: corners, score, class;
    nothing in images that `batches` lack."""
    found: list[np.ndarray] = [np.zeros((0, 6))] * len(dataset)
    for batch in batches:
        corners, scores, classes = map(np.asarray, detect(batch["image"]))
        for k, index in enumerate(batch["index"]):
            if index < 0:
                continue
            scale, corner = np.split(batch["place"][k], 2)
            n = int((scores[k] > 0).sum())
            box = ((corners[k, :n] - np.tile(corner, 2)) / np.tile(scale, 2)).clip(0, np.tile(dataset.sizes[index], 2))
            found[index] = np.concatenate([box, scores[k, :n, None], classes[k, :n, None]], 1)
    return tuple(found)


def score(dataset: Dataset, found: tuple[np.ndarray, ...]) -> Evaluation:
    """COCO's numbers, by pycocotools, of detections `found` in the images of `dataset`."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    classes = len(dataset.names)
    boxes_of = [sum(int((c == k).sum()) for c in dataset.classes) for k in range(classes)]
    confused = confusion(dataset, found)
    results = [
        {"image_id": i, "category_id": int(c), "bbox": [x0, y0, x1 - x0, y1 - y0], "score": s}
        for i, table in enumerate(found)
        for x0, y0, x1, y1, s, c in table.tolist()
    ]
    if not results or not sum(boxes_of):
        none = tuple((name, n, 0.0, 0.0) for name, n in zip(dataset.names, boxes_of, strict=True))
        return Evaluation(0.0, 0.0, none, confused, np.full((101, classes), np.nan), found)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = COCO()
        truth.dataset = ground_truth(dataset)
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(results), "bbox")
        run.params.maxDets = [1, 10, DETECTIONS]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, -1]  # [overlaps, recalls, classes], -1 where there is no box
    precision = np.where(precision < 0, np.nan, precision)
    present = np.array(boxes_of) > 0
    at50, overall = (np.zeros(classes) for _ in range(2))
    at50[present], overall[present] = precision[0][:, present].mean(0), precision[:, :, present].mean((0, 1))
    per_class = tuple(zip(dataset.names, boxes_of, at50.tolist(), overall.tolist(), strict=True))
    return Evaluation(
        float(at50[present].mean()), float(overall[present].mean()), per_class, confused, precision[0], found
    )


def ground_truth(dataset: Dataset) -> dict[str, Any]:
    """The dataset as COCO's JSON; images are numbered in order, categories are classes."""
    annotations: list[dict[str, Any]] = []
    for i, (width, height) in enumerate(dataset.sizes):
        rows = np.concatenate([dataset.classes[i][:, None], dataset.boxes[i]], 1)
        for crowd, table in ((0, rows), (1, dataset.crowds[i])):
            corners = to_corners(table[:, 1:], (width, height)).tolist()
            for c, (left, top, right, bottom) in zip(table[:, 0], corners, strict=True):
                box = [left, top, right - left, bottom - top]
                annotations.append({
                    "id": len(annotations) + 1, "image_id": i, "category_id": int(c), "iscrowd": crowd,
                    "bbox": box, "area": box[2] * box[3],
                })  # fmt: skip
    return {
        "info": {},
        "images": [{"id": i, "width": w, "height": h} for i, (w, h) in enumerate(dataset.sizes)],
        "categories": [{"id": c, "name": name} for c, name in enumerate(dataset.names)],
        "annotations": annotations,
    }


def corners_of(dataset: Dataset, index: int) -> np.ndarray:
    """True boxes of one image, as corners in its pixels."""
    return dataset.corners(index)


def confusion(dataset: Dataset, found: tuple[np.ndarray, ...], overlap: float = 0.45) -> np.ndarray:
    """Counts, predicted by true, of detections from `SHOWN` on, each matched with the true box it overlaps most."""
    classes = len(dataset.names)
    counts = np.zeros((classes + 1, classes + 1), int)
    for index, table in enumerate(found):
        table = table[table[:, 4] >= SHOWN]
        true, truth = corners_of(dataset, index), dataset.classes[index]
        pairs = numpy_overlaps(table[:, :4], true)
        matched_true: set[int] = set()
        matched: set[int] = set()
        for k in np.argsort(-pairs, axis=None, kind="stable"):
            p, t = np.unravel_index(k, pairs.shape)
            if pairs[p, t] <= overlap:
                break
            if p not in matched and t not in matched_true:
                matched.add(int(p))
                matched_true.add(int(t))
                counts[int(table[p, 5]), truth[t]] += 1
        for p in set(range(len(table))) - matched:
            counts[int(table[p, 5]), classes] += 1
        for t in set(range(len(truth))) - matched_true:
            counts[classes, truth[t]] += 1
    return counts


def numpy_overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`overlaps`, on the host: these shapes differ from image to image."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (high - low).clip(0).prod(-1)
    area = lambda x: (x[:, 2:] - x[:, :2]).prod(-1)  # noqa: E731
    return both / (area(a)[:, None] + area(b)[None] - both + 1e-9)
