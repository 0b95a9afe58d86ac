"""YOLOv5's augmentation of training images, with the gains of its hyp.yaml.

A picture is a pair: pixels ``[h, w, 3]`` uint8, and labels ``[n, 5]`` float32 (class; left, top, right, bottom in
pixels). All random numbers come from the generator that is passed in.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from PIL import Image

Picture: TypeAlias = tuple[np.ndarray, np.ndarray]
GREY = 114  # fills what no image covers


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The gains of a hyp.yaml that change images.

    Attributes:
        hsv_h, hsv_s, hsv_v: hue, saturation and value are multiplied by 1 +- up to this.
        degrees, shear: rotation and shear of up to +- this many degrees.
        translate: shift of up to +- this fraction of the image.
        scale: size is multiplied by 1 +- up to this.
        perspective: up to +- this, in 1 / pixels.
        flipud, fliplr, mosaic, mixup: probability of each.
    """

    hsv_h: float = 0.015
    hsv_s: float = 0.7
    hsv_v: float = 0.4
    degrees: float = 0.0
    translate: float = 0.1
    scale: float = 0.5
    shear: float = 0.0
    perspective: float = 0.0
    flipud: float = 0.0
    fliplr: float = 0.5
    mosaic: float = 1.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        limits = {"degrees": 180, "shear": 89, "perspective": 0.01, "scale": 0.99}
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value <= limits.get(name, 1):
                raise ValueError(f"hyp: {name} is {value:g}; it must be from 0 to {limits.get(name, 1)}.")

    @classmethod
    def from_hyp(cls, hyp: Mapping[str, float]) -> Augmentation:
        return cls(**{f.name: float(hyp[f.name]) for f in dataclasses.fields(cls) if f.name in hyp})

    def images(self) -> int:
        """The largest number of images that one picture is made of."""
        return (4 if self.mosaic else 1) * (2 if self.mixup else 1)


def letterbox(
    pixels: np.ndarray, shape: tuple[int, int], enlarge: bool = True
) -> tuple[np.ndarray, float, float, float]:
    """The image resized to fit into `shape` (rows, columns) and centred in grey; its scale, left and top."""
    height, width = pixels.shape[:2]
    factor = min(shape[0] / height, shape[1] / width)
    if not enlarge:
        factor = min(factor, 1.0)
    new_width, new_height = round(width * factor), round(height * factor)
    if (new_width, new_height) != (width, height):
        pixels = np.asarray(Image.fromarray(pixels).resize((new_width, new_height), Image.Resampling.BILINEAR))
    left, top = (shape[1] - new_width) // 2, (shape[0] - new_height) // 2
    canvas = np.full((*shape, 3), GREY, np.uint8)
    canvas[top : top + new_height, left : left + new_width] = pixels
    return canvas, factor, left, top


def fitted(pixels: np.ndarray, size: int) -> np.ndarray:
    """The image resized to a longer side of `size`."""
    height, width = pixels.shape[:2]
    factor = size / max(height, width)
    if factor == 1:
        return pixels
    new = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(new, Image.Resampling.BILINEAR))


def mosaic(rng: np.random.Generator, four: list[Picture], size: int) -> Picture:
    """Four images around a random centre, on a canvas of twice the size."""
    cx, cy = (int(v) for v in rng.uniform(size / 2, 3 * size / 2, 2))
    canvas = np.full((2 * size, 2 * size, 3), GREY, np.uint8)
    labels = []
    for i, (pixels, table) in enumerate(four):
        h, w = pixels.shape[:2]
        left, top = (cx - w if i % 2 == 0 else cx), (cy - h if i < 2 else cy)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + w, 2 * size), min(top + h, 2 * size)
        canvas[y0:y1, x0:x1] = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
        moved = table.copy()
        moved[:, 1:] += (left, top, left, top)
        labels.append(moved)
    joined = np.concatenate(labels)
    joined[:, 1:] = joined[:, 1:].clip(0, 2 * size)
    return canvas, joined


def warp(rng: np.random.Generator, picture: Picture, size: int, a: Augmentation) -> Picture:
    """Rotate, scale, shear, shift and tilt about the centre, and crop to `size`.

    A box is dropped if less than a tenth of its area stays, or a side of it is under 2 pixels.
    """
    pixels, labels = picture
    height, width = pixels.shape[:2]
    to_centre = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    tilt = np.eye(3)
    tilt[2, :2] = rng.uniform(-a.perspective, a.perspective, 2)
    angle, factor = math.radians(rng.uniform(-a.degrees, a.degrees)), rng.uniform(1 - a.scale, 1 + a.scale)
    turn = np.eye(3)
    turn[:2, :2] = factor * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    slant = np.eye(3)
    slant[0, 1], slant[1, 0] = np.tan(np.radians(rng.uniform(-a.shear, a.shear, 2)))
    shift = np.eye(3)
    shift[:2, 2] = rng.uniform(0.5 - a.translate, 0.5 + a.translate, 2) * size
    forward = shift @ slant @ turn @ tilt @ to_centre

    back = np.linalg.inv(forward)
    back /= back[2, 2]
    kind = Image.Transform.PERSPECTIVE if a.perspective else Image.Transform.AFFINE
    moved = Image.fromarray(pixels).transform(
        (size, size),
        kind,
        tuple(back.ravel()[: 8 if a.perspective else 6]),
        Image.Resampling.BILINEAR,
        fillcolor=(GREY,) * 3,
    )

    x, y = labels[:, [1, 3, 3, 1]], labels[:, [2, 2, 4, 4]]
    points = np.stack([x, y, np.ones_like(x)], -1) @ forward.T
    points = points[..., :2] / points[..., 2:]
    new = np.concatenate([points.min(1), points.max(1)], 1).clip(0, size)
    was, now = labels[:, 3:] - labels[:, 1:3], new[:, 2:] - new[:, :2]
    proportion = np.maximum(now[:, 0] / (now[:, 1] + 1e-16), now[:, 1] / (now[:, 0] + 1e-16))
    area = now.prod(1) / (was.prod(1) * factor**2 + 1e-16)
    kept = (now > 2).all(1) & (area > 0.1) & (proportion < 100)
    return np.asarray(moved), np.concatenate([labels[:, :1], new], 1)[kept].astype(np.float32)


def colour(rng: np.random.Generator, pixels: np.ndarray, a: Augmentation) -> np.ndarray:
    """Multiply hue, saturation and value by random gains."""
    if not (a.hsv_h or a.hsv_s or a.hsv_v):
        return pixels
    gains = 1 + rng.uniform(-1, 1, 3) * (a.hsv_h, a.hsv_s, a.hsv_v)
    levels = np.arange(256) * gains[:, None]
    table = np.concatenate([levels[0] % 256, levels[1:].clip(0, 255).ravel()]).astype(np.uint8)
    hsv = Image.fromarray(pixels).convert("HSV").point(table.tolist())
    return np.asarray(hsv.convert("RGB"))


def flip(rng: np.random.Generator, picture: Picture, a: Augmentation) -> Picture:
    """Flip upside down and left to right, each with its probability."""
    pixels, labels = picture
    size = pixels.shape[0]
    if rng.random() < a.flipud:
        pixels, labels = pixels[::-1], labels[:, [0, 1, 4, 3, 2]] * (1, 1, -1, 1, -1) + (0, 0, size, 0, size)
    if rng.random() < a.fliplr:
        pixels, labels = pixels[:, ::-1], labels[:, [0, 3, 2, 1, 4]] * (1, -1, 1, -1, 1) + (0, size, 0, size, 0)
    return pixels, labels


def augment(
    rng: np.random.Generator, index: int, count: int, load: Callable[[int], Picture], size: int, a: Augmentation
) -> Picture:
    """Picture `index` of `count`, augmented.

    Args:
        rng: source of all random numbers.
        index: the picture.
        count: number of pictures, of which a mosaic takes three more.
        load: gives a picture by its index, with a longer side of `size`.
        size: width and height of the result, in pixels.
        a: gains.
    """
    if rng.random() < a.mosaic:
        picture = scattered(rng, index, count, load, size, a)
        if rng.random() < a.mixup:
            other = scattered(rng, int(rng.integers(count)), count, load, size, a)
            share = rng.beta(32.0, 32.0)
            mixed = picture[0] * share + other[0] * (1 - share)
            picture = mixed.astype(np.uint8), np.concatenate([picture[1], other[1]])
    else:
        pixels, labels = load(index)
        pixels, factor, left, top = letterbox(pixels, (size, size))
        labels = labels.copy()
        labels[:, 1:] = labels[:, 1:] * factor + (left, top, left, top)
        picture = warp(rng, (pixels, labels), size, a)
    return flip(rng, (colour(rng, picture[0], a), picture[1]), a)


def scattered(
    rng: np.random.Generator, index: int, count: int, load: Callable[[int], Picture], size: int, a: Augmentation
) -> Picture:
    """A warped mosaic of picture `index` and three others."""
    chosen = [index, *rng.integers(count, size=3).tolist()]
    rng.shuffle(chosen)
    return warp(rng, mosaic(rng, [load(i) for i in chosen], size), size, a)
