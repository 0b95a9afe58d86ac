"""A data set in memory: paths of images, their sizes and boxes. `sources.read_data` reads one."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from examples.detector.images import Unusable, check_image, read_image

SLACK = 1.0  # pixels by which rounding may move a box's centre out of its image, or make it larger than the image
LISTED = 5  # skipped images that are named in the notes


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with their boxes.

    Attributes:
        names: Names of the classes; class ``c`` is ``names[c]``.
        images: Path of each image.
        sizes: (width, height) of each image in pixels.
        boxes: Boxes of each image, ``[n, 4]`` float32: centre x, y, width, height as fractions of the image, as
            labelled. The edges of a box may lie outside its image (see `corners`).
        classes: Classes of each image's boxes, ``[n]`` int32.
        crowds: Regions of each image that evaluation ignores (COCO's ``iscrowd``), ``[m, 5]``: class and box.
        notes: What was left out or looks wrong, a line each.
        skipped: Why each image that was left out is unusable, a line each.
    """

    names: tuple[str, ...]
    images: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...]
    boxes: tuple[np.ndarray, ...]
    classes: tuple[np.ndarray, ...]
    crowds: tuple[np.ndarray, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: int) -> np.ndarray:
        """The image as ``[height, width, 3]`` uint8."""
        return read_image(self.images[index])

    def corners(self, index: int) -> np.ndarray:
        """Boxes of one image ``[n, 4]``: left, top, right, bottom in its pixels, clipped to it as in val.py."""
        return to_corners(self.boxes[index], self.sizes[index])


def in_both(a: Dataset, b: Dataset) -> int:
    """The number of image files that two data sets share, under whatever path."""
    real = [set(map(os.path.realpath, dataset.images)) for dataset in (a, b)]
    return len(real[0] & real[1])


def write_skipped(folder: Path, *datasets: Dataset) -> None:
    """Write skipped.txt: why each image that was left out is unusable, a line each."""
    lines = [f"{line}\n" for dataset in datasets for line in dataset.skipped]
    if lines:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "skipped.txt").write_text("".join(lines), encoding="utf-8")


def to_corners(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes (centre and size, fractions) as corners in pixels, clipped to an image of `size`."""
    boxes = boxes.astype(np.float64)
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    return (np.concatenate([low, high], 1) * np.tile(size, 2)).clip(0, np.tile(size, 2))


class Labels(NamedTuple):
    """What was read of one image.

    Attributes:
        size: (width, height) in pixels.
        rows: Class and box of each object: centre x, y, width, height as fractions.
        crowds: The same of regions that evaluation ignores.
        left_out: Number of boxes that were left out, for each reason.
    """

    size: tuple[int, int]
    rows: list[list[float]]
    crowds: list[list[float]]
    left_out: Counter[str]


def read_all(
    names: Sequence[str],
    images: Sequence[Path],
    read_labels: Callable[[int, tuple[int, int]], Labels],
    *,
    strict: bool,
    notes: Iterable[str] = (),
) -> Dataset:
    """Check each image and read its labels; skip what is unusable, unless `strict`.

    Args:
        names: Names of the classes.
        images: Path of each image.
        read_labels: Gives the labels of an image, from its index and its size in pixels.
        strict: Whether the first unusable image raises.
        notes: The first notes of the data set.
    """

    def read(index: int) -> Labels | Unusable:
        try:
            return read_labels(index, check_image(images[index]))
        except Unusable as error:
            if strict:
                raise
            return error

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(read, range(len(images))))
    used = [(path, labels) for path, labels in zip(images, results, strict=True) if isinstance(labels, Labels)]
    skipped = [str(error) for error in results if isinstance(error, Unusable)]
    if not used:
        raise ValueError(f"none of the {len(images)} images can be used; the first: {skipped[0]}")
    notes = list(notes)
    if skipped:
        notes.append(f"{len(skipped)} of {len(images)} images are skipped (--strict stops at the first):")
        notes += [f"  {line}" for line in skipped[:LISTED]]
        notes += [f"  and {len(skipped) - LISTED} more, in skipped.txt"] if len(skipped) > LISTED else []
    left_out = sum((labels.left_out for _, labels in used), Counter())
    notes += [f"{count} {'box' if count == 1 else 'boxes'} {why} left out" for why, count in left_out.items()]
    rows = [np.array(labels.rows, np.float32).reshape(-1, 5) for _, labels in used]
    return Dataset(
        names=tuple(names),
        images=tuple(path for path, _ in used),
        sizes=tuple(labels.size for _, labels in used),
        boxes=tuple(table[:, 1:] for table in rows),
        classes=tuple(table[:, 0].astype(np.int32) for table in rows),
        crowds=tuple(np.array(labels.crowds, np.float32).reshape(-1, 5) for _, labels in used),
        notes=tuple(notes),
        skipped=tuple(skipped),
    )


def check_box(box: Sequence[float], size: tuple[int, int], where: str) -> None:
    """The rule of YOLOv5: the centre lies in the image and the box is no larger than it, up to `SLACK` pixels.

    Raises:
        Unusable: naming the place and the box.
    """
    if not all(map(math.isfinite, box)):
        raise Unusable(f"{where} has the box {shown(box)}; its numbers must be finite. Correct or remove it.")
    slack = [SLACK / s for s in (*size, *size)]
    if not all(-s <= value <= 1 + s for value, s in zip(box, slack, strict=True)):
        pixels = [value * s for value, s in zip(box, (*size, *size), strict=True)]
        raise Unusable(
            f"{where} has a box of centre {shown(pixels[:2])} and size {shown(pixels[2:])} in an image of {size[0]} x "
            f"{size[1]} pixels; the centre must be inside and the size at most the image's. Correct or remove it."
        )


def shown(numbers: Iterable[float]) -> str:
    return "(" + ", ".join(f"{n:.6g}" for n in numbers) + ")"


def read_text(path: Path) -> str:
    """The contents of a text file in UTF-8, with or without a byte order mark.

    Raises:
        Unusable: if it is in another encoding.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unusable(f"{path} is not in UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8.") from error
