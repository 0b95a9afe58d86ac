"""A trained detector as a function of an image.

detector = Detector.load("runs/detector")           # or an .npz, or a .pt of YOLOv5
for box in detector("photo.jpg"):
    print(box.name, box.score, box.corners)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from examples.detector import weights
from examples.detector.augment import fitted, letterbox
from examples.detector.images import read_image
from examples.detector.model import decode
from examples.detector.suppress import SHOWN, SHOWN_OVERLAP, Found, to_draw
from examples.detector.weights import Description, Weights


class Box(NamedTuple):
    """A detected object.

    Attributes:
        name: Its class.
        score: Its confidence, above 0 and at most 1.
        corners: Left, top, right and bottom in pixels of the image.
        number: The class as a number.
    """

    name: str
    score: float
    corners: tuple[float, float, float, float]
    number: int


def raw_predictions(graph: Any, dtype: Any = jnp.float32) -> Callable[[Any, Any, jax.Array], tuple[Any, Any]]:
    """The network for evaluation: (params, stats, uint8 images) to the raw predictions in float32, and its anchors."""

    def predict(params: Any, stats: Any, images: jax.Array) -> tuple[Any, Any]:
        model = nnx.merge(graph, params, stats, copy=True)
        raw = model(images.astype(dtype) / 255)
        # float32, since bfloat16 has only 256 positions between two powers of 2.
        return [level.astype(jnp.promote_types(level.dtype, jnp.float32)) for level in raw], model.anchors

    return predict


def found_by(weights: Weights, dtype: Any = jnp.float32) -> Callable[..., Found]:
    """(uint8 images ``[n, size, size, 3]``, confidence, overlap) to the detections that a person is shown."""
    graph, params, stats = nnx.split(weights.model(), nnx.Param, nnx.BatchStat)
    params, stats = nnx.as_pure(params), nnx.as_pure(stats)
    predict = raw_predictions(graph, dtype)

    def detect(images: jax.Array, confidence: Any = SHOWN, overlap: Any = SHOWN_OVERLAP) -> Found:
        return to_draw(decode(*predict(params, stats, images)), confidence, overlap)

    return detect


class Detector:
    """Detects objects in images of any size.

    Args:
        weights: What `weights.load` returns.
        image_size: Width and height of the network's input in pixels, a multiple of 32; by default that of training.
        confidence: Detections have a score above it.
        overlap: Boxes of one class that overlap by more count as one.
        bf16: Compute in bfloat16.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        image_size: int | None = None,
        confidence: float = SHOWN,
        overlap: float = SHOWN_OVERLAP,
        bf16: bool = False,
    ):
        self.description: Description = weights.description
        self.size = check_size(image_size or weights.description.image_size)
        for name, value in {"confidence": confidence, "overlap": overlap}.items():
            if not 0 <= value < 1:
                raise ValueError(f"--{name} is {value:g}; it must be from 0 to below 1.")
        detect = found_by(weights, jnp.bfloat16 if bf16 else jnp.float32)
        self.detect = jax.jit(partial(detect, confidence=confidence, overlap=overlap))

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> Detector:
        """From a run's folder, an ``.npz``, or a ``.pt`` of YOLOv5."""
        return cls(weights.load(path), **options)

    def __call__(self, image: str | Path | np.ndarray) -> list[Box]:
        """The objects in an image (a path, or uint8 ``[height, width, 3]`` in RGB), the most certain first."""
        return next(iter(self.each([image])))

    def each(self, images: Iterable[str | Path | np.ndarray], batch_size: int = 1) -> Iterator[list[Box]]:
        """The objects in each image, computed `batch_size` images at a time."""
        rest = iter(images)
        while chosen := list(islice(rest, batch_size)):
            pixels = [image if isinstance(image, np.ndarray) else read_image(Path(image)) for image in chosen]
            batch = np.zeros((batch_size, self.size, self.size, 3), np.uint8)  # always full: one compilation
            places = []
            for row, image in zip(batch, pixels, strict=False):
                row[...], place = placed(image, self.size)
                places.append(place)
            for image, place, *found in zip(pixels, places, *map(np.asarray, self.detect(batch)), strict=False):
                yield list(self.boxes(image.shape, place, *found))

    def boxes(
        self, shape: Sequence[int], place: np.ndarray, corners: np.ndarray, scores: np.ndarray, classes: np.ndarray
    ) -> Iterator[Box]:
        limits = np.array([shape[1], shape[0]] * 2)
        for row, score, c in zip(corners, scores, classes, strict=True):
            if score > 0:
                at = ((row - np.tile(place[2:], 2)) / np.tile(place[:2], 2)).clip(0, limits)
                yield Box(self.description.names[c], float(score), tuple(at.tolist()), int(c))


def check_size(size: int) -> int:
    """The width and height of a network's input, if it can be one."""
    if size < 32 or size % 32:
        raise ValueError(f"--image-size is {size}; it must be a multiple of 32, the largest stride.")
    return size


def placed(pixels: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """An image centred in a grey square of `size`, and its place there: scale across and down, left, top."""
    if pixels.ndim != 3 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"an image must be uint8 [height, width, 3], got {pixels.dtype} {list(pixels.shape)}.")
    small = fitted(pixels, size)
    canvas, factor, left, top = letterbox(small, (size, size))
    rows, columns = small.shape[:2]
    return canvas, np.array([factor * columns / pixels.shape[1], factor * rows / pixels.shape[0], left, top])
