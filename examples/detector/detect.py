"""Detect objects in images: ``python -m examples.detector detect --weights runs/detector photos/ *.jpg``."""

from __future__ import annotations

import dataclasses
import glob
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image, ImageDraw, ImageFont

from examples.detector.detector import Box, Detector
from examples.detector.images import find_images, read_image

COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")


@dataclasses.dataclass(frozen=True)
class Detect:
    """Detect objects in images: draws their boxes, and writes a .txt for each image and one detections.json."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Images, folders of images (searched with all below them), or patterns such as 'photos/*.jpg'."""
    weights: Path
    """A run's folder, an .npz, or a .pt of YOLOv5; classes, anchors and sizes come from there."""
    out: Path = Path("runs/detect")
    """Folder for the results; files of the same names are replaced."""
    confidence: float = 0.25
    """Detections have a score above it."""
    overlap: float = 0.45
    """Boxes of one class that overlap by more count as one."""
    image_size: int | None = None
    """Width and height of the network's input, in pixels; by default that of training."""
    batch_size: int = 1
    """Images computed at a time."""
    bf16: bool = False
    """Compute in bfloat16."""


def detect(options: Detect) -> dict[Path, list[Box]]:
    """Detect as `options` say; the objects found in each image."""
    paths = list(dict.fromkeys(images_of(options.images)))
    detector = Detector.load(
        options.weights, image_size=options.image_size, confidence=options.confidence, overlap=options.overlap,
        bf16=options.bf16,
    )  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    found: dict[Path, list[Box]] = {}
    names = file_names(paths)
    began = time.perf_counter()
    for path, boxes in zip(paths, detector.each(paths, options.batch_size), strict=True):
        found[path] = boxes
        pixels = read_image(path)
        draw(pixels, boxes).save(options.out / f"{names[path]}.png")
        (options.out / f"{names[path]}.txt").write_text(yolo_lines(boxes, pixels.shape))
        counts = {box.name: sum(b.name == box.name for b in boxes) for box in boxes}
        print(f"{path}: {', '.join(f'{n} {name}' for name, n in counts.items()) or 'nothing'}")
    seconds = time.perf_counter() - began
    content = {str(path): [box._asdict() for box in boxes] for path, boxes in found.items()}
    (options.out / "detections.json").write_text(json.dumps(content, indent=1))
    print(f"{len(paths)} images in {seconds:.1f} s, compilation included; results are in {options.out}")
    return found


def images_of(sources: Sequence[str | Path]) -> Iterator[Path]:
    """The image files that `sources` (files, folders, patterns) stand for."""
    for source in map(Path, sources):
        if source.is_file():
            yield source
            continue
        places = [source] if source.is_dir() else [Path(p) for p in sorted(glob.glob(str(source), recursive=True))]
        images = [path for p in places for path in (sorted(find_images(p)) if p.is_dir() else [p])]
        if not images:
            raise ValueError(f"{source}: there is no such image, and no folder or pattern of images.")
        yield from images


def file_names(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for the results of each image: its own without the ending, with a number where several are equal."""
    taken: dict[str, int] = {}
    names = {}
    for path in paths:
        taken[path.stem] = taken.get(path.stem, 0) + 1
        names[path] = path.stem if taken[path.stem] == 1 else f"{path.stem}-{taken[path.stem]}"
    return names


def draw(pixels: np.ndarray, boxes: Sequence[Box]) -> Image.Image:
    """The image with its boxes, the most certain on top."""
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    height = max(10, max(image.size) // 50)
    font = ImageFont.load_default(height)
    for box in reversed(boxes):
        colour = COLOURS[box.number % len(COLOURS)]
        left, top, right, bottom = box.corners
        frame = (left, top, max(left, right - 1), max(top, bottom - 1))
        pen.rectangle(frame, outline=colour, width=max(1, height // 8))
        text = f"{box.name} {box.score:.2f}"
        frame = pen.textbbox((left, max(top - 1.3 * height, 0)), text, font=font)
        pen.rectangle(frame, fill=colour)
        pen.text(frame[:2], text, fill="white", font=font, anchor="la")
    return image


def yolo_lines(boxes: Sequence[Box], shape: Sequence[int]) -> str:
    """A line ``class x y width height score`` for each box, in fractions of the image, as YOLOv5 writes labels."""
    height, width = shape[:2]
    lines = []
    for box in boxes:
        left, top, right, bottom = box.corners
        numbers = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width,
                   (bottom - top) / height, box.score)  # fmt: skip
        lines.append(f"{box.number} " + " ".join(f"{value:.6g}" for value in numbers) + "\n")
    return "".join(lines)
