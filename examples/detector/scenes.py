"""The embedded data: scenes of handwritten digits on crops of photographs.

Both come with scikit-learn: 1,797 scans of digits by 43 people, and two photographs. Nothing is downloaded. Training
and validation share neither a digit nor a part of a photograph. The files depend on the seed alone and are written
once, in COCO's layout.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 128  # pixels, width and height of a scene
COUNTS = {"train": 640, "val": 128}  # scenes
DIGITS = (2, 5)  # least and most digits in a scene
HEIGHTS = (28, 72)  # pixels, least and most side of a digit's frame; the digit fills some three quarters of it


def scenes(folder: str | Path, counts: dict[str, int] | None = None, seed: int = 0) -> Path:
    """The folder of scenes; it is written on first use, and appears only when it is complete."""
    folder, counts = Path(folder), counts or COUNTS
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(prefix=".scenes-", dir=folder.parent))
    try:
        for split, count in counts.items():
            write_split(working, split, count, seed)
        working.chmod(0o755)
        working.rename(folder)
    except OSError:
        if not folder.is_dir():  # if it is there, another process was faster and wrote the same
            raise
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return folder


def write_split(folder: Path, split: str, count: int, seed: int) -> None:
    """Write the images and ``instances_SPLIT.json`` of one split."""
    from sklearn.datasets import load_digits, load_sample_images

    rng = np.random.default_rng([seed, sorted(COUNTS).index(split)])
    scans = load_digits()
    chosen = (np.arange(len(scans.target)) % 5 == 0) == (split == "val")  # every fifth digit is for validation
    inks, labels = scans.images[chosen] / 16, scans.target[chosen]
    # Validation has the right quarter of each photograph, training the rest.
    photographs = [Image.fromarray(p) for p in load_sample_images().images]
    edges = [(int(p.width * 0.75), p.width) if split == "val" else (0, int(p.width * 0.75)) for p in photographs]

    (folder / split).mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        which = rng.integers(len(photographs))
        scene = background(rng, photographs[which], edges[which])
        taken: list[tuple[int, int, int, int]] = []
        for _ in range(rng.integers(DIGITS[0], DIGITS[1] + 1)):
            digit = rng.integers(len(labels))
            box = place(rng, scene, inks[digit], taken)
            if box:
                taken.append(box)
                left, top, right, bottom = box
                annotations.append({
                    "id": len(annotations) + 1, "image_id": number, "category_id": int(labels[digit]), "iscrowd": 0,
                    "bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top),
                })  # fmt: skip
        name = f"{number:05d}.png"
        Image.fromarray(scene.astype(np.uint8)).save(folder / split / name)
        images.append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
    categories = [{"id": c, "name": str(c)} for c in range(10)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def background(rng: np.random.Generator, photograph: Image.Image, edges: tuple[int, int]) -> np.ndarray:
    """A square crop of the photograph between two columns, resized to a scene; float64 in [0, 255]."""
    side = rng.integers(SIZE // 2, min(edges[1] - edges[0], photograph.height) + 1)
    left = rng.integers(edges[0], edges[1] - side + 1)
    top = rng.integers(0, photograph.height - side + 1)
    crop = photograph.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(crop, np.float64).copy()


def place(
    rng: np.random.Generator, scene: np.ndarray, ink: np.ndarray, taken: list[tuple[int, int, int, int]]
) -> tuple[int, int, int, int] | None:
    """Draw one digit where it hides no other, in a colour that stands out; returns its box, or None without room."""
    side = int(np.exp(rng.uniform(*np.log(HEIGHTS))))
    framed = Image.fromarray((np.pad(ink, 1) * 255).astype(np.uint8))
    scan = np.asarray(framed.resize((side, side), Image.Resampling.BICUBIC), np.float64) / 255
    alpha = np.clip(2 * scan - 0.65, 0, 1)  # an 8 x 8 scan drawn large is all blur; this gives it an edge
    rows, columns = np.nonzero(alpha.max(1) > 0)[0], np.nonzero(alpha.max(0) > 0)[0]
    alpha = alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = alpha.shape
    for _ in range(20):
        left, top = rng.integers(SIZE - width + 1), rng.integers(SIZE - height + 1)
        right, bottom = left + width, top + height
        if all(right <= a or c <= left or bottom <= b or d <= top for a, b, c, d in taken):
            break
    else:
        return None
    patch = scene[top:bottom, left:right]
    ink_colour = rng.uniform(200, 255, 3) if patch.mean() < 128 else rng.uniform(0, 55, 3)
    patch += alpha[..., None] * (ink_colour - patch)
    return int(left), int(top), int(right), int(bottom)
