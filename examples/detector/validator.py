"""The evaluation of a network on a data set: detections, mAP and loss."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from examples.detector.data import Dataset
from examples.detector.detector import raw_predictions
from examples.detector.evaluate import Evaluation, find, score
from examples.detector.loss import Gains, detection_loss
from examples.detector.model import decode
from examples.detector.suppress import detections, to_draw


class Validator:
    """Evaluates a network, given its parameters, on a data set.

    Args:
        graph: Structure of the model.
        dataset: The images and their boxes.
        batches: Of `loader.validation_batches`.
        gains: Weights of the loss; without them no loss is computed.
        dtype: Of the computation inside the network.

    Attributes:
        seconds: For an image, in each batch of the last evaluation, without compilation.
    """

    def __init__(
        self, graph: Any, dataset: Dataset, batches: Iterable[Mapping[str, Any]], gains: Gains | None, dtype: Any
    ):
        self.dataset, self.batches, self.gains = dataset, batches, gains
        self.seconds: list[float] = []
        most = max((len(classes) for classes in dataset.classes), default=0)
        self.length = max(8, -(-most // 8) * 8)
        predict = raw_predictions(graph, dtype)

        @jax.jit
        def judged(params: Any, stats: Any, images: jax.Array, boxes: jax.Array, classes: jax.Array) -> Any:
            raw, anchors = predict(params, stats, images)
            parts = jnp.zeros(3) if gains is None else detection_loss(raw, boxes, classes, anchors, gains)[1]
            return detections(decode(raw, anchors)), parts

        self.judged = judged
        self.compiled: dict[tuple[int, ...], Any] = {}
        self.shown = jax.jit(lambda params, stats, images: to_draw(decode(*predict(params, stats, images))))

    def __call__(self, params: Any, stats: Any) -> Evaluation:
        """Evaluate; the losses are means over the batches."""
        losses, self.seconds = [], []

        def detect(batch: Mapping[str, Any]) -> Any:
            arguments = (params, stats, full(batch), *self.labels(batch))
            shape = batch["image"].shape
            if shape not in self.compiled:
                self.compiled[shape] = self.judged.lower(*arguments).compile()
            began = time.perf_counter()
            found, parts = jax.device_get(self.compiled[shape](*arguments))
            self.seconds.append((time.perf_counter() - began) / len(batch["image"]))
            losses.append(parts)
            return found

        evaluation = score(self.dataset, find(detect, self.dataset, self.batches))
        if self.gains is None:
            return evaluation
        box, obj, cls = np.mean(losses, 0).tolist()
        return dataclasses.replace(evaluation, losses=(box, obj, cls))

    def to_draw(self, params: Any, stats: Any) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Detections to show, of the images of the first batch, and which images these are."""
        first = next(iter(self.batches))
        found = find(lambda batch: self.shown(params, stats, batch["image"]), self.dataset, [first])
        return found, first["index"]

    def labels(self, batch: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """The labels of a batch as the loss takes them, at their place in the network's input."""
        rows, columns = batch["image"].shape[1:3]
        boxes = np.zeros((len(batch["image"]), self.length, 4), np.float32)
        classes = np.full(boxes.shape[:2], -1, np.int32)
        index, place = batch["index"][filled(batch)], batch["place"][filled(batch)]
        for k, (image, (*scale, left, top)) in enumerate(zip(index, place, strict=True)):
            corners = self.dataset.corners(image) * np.tile(scale, 2) + (left, top, left, top)
            corners = corners / (columns, rows, columns, rows)
            low, high = corners[:, :2], corners[:, 2:]
            boxes[k, : len(corners)] = np.concatenate([(low + high) / 2, high - low], 1)
            classes[k, : len(corners)] = self.dataset.classes[image]
        return boxes, classes


def filled(batch: Mapping[str, Any]) -> np.ndarray:
    """Rows of a batch in which those that only fill it up are replaced by its images, in turn."""
    real = np.flatnonzero(batch["index"] >= 0)
    return np.resize(real, len(batch["index"]))


def full(batch: Mapping[str, Any]) -> np.ndarray:
    """The images of a batch without the ones that only fill it up; it counts each of its own as often, or once more."""
    return batch["image"] if (batch["index"] >= 0).all() else batch["image"][filled(batch)]
