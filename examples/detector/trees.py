"""Real pictures with boxes: crowns of trees in Yellowstone seen from an aeroplane, from the wheel of DeepForest.

    pip install --no-deps deepforest              # 20 MB, MIT licence; none of its requirements is needed
    python -m examples.detector.trees data/trees
    python -m examples.detector.train --data data/trees --image-size 128 --epochs 20 --hyp examples/detector/scenes.yaml

Two pictures with 853 crowns are cut into tiles and written in YOLO's layout. Validation has the right quarter of each
picture, and training the rest.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = ("2019_YELL_2_528000_4978000_image_crop2", "2019_YELL_2_541000_4977000_image_crop")
TILE = 128  # pixels; a crown has some 40
STEP = {"train": 64, "val": 128}  # pixels from tile to tile: validation sees nothing twice
SEEN = 0.5  # least part of a crown's box that a tile must hold for the crown to count


def trees(folder: str | Path, source: Path | None = None) -> Path:
    """Write the tiles of both pictures, and their data.yaml.

    Args:
        folder: to write into.
        source: folder of the pictures and their annotations; none: that of the installed package.
    """
    folder, source = Path(folder), source or installed()
    for (number, name), split in itertools.product(enumerate(PICTURES), STEP):
        picture = np.asarray(Image.open(source / f"{name}.png").convert("RGB"))
        corners = crowns(source / f"{name}.xml")
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for top, left in places(*picture.shape[:2], split):
            stem = f"{number}_{top:04d}_{left:04d}"
            tile = Image.fromarray(picture[top : top + TILE, left : left + TILE])
            tile.save(folder / "images" / split / f"{stem}.png")
            lines = [" ".join(f"{v:.6f}" for v in box) for box in in_tile(corners, top, left)]
            (folder / "labels" / split / f"{stem}.txt").write_text("".join(f"0 {line}\n" for line in lines))
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [tree]\n")
    return folder


def installed() -> Path:
    """The pictures' folder in the installed package, which is not imported."""
    package = importlib.util.find_spec("deepforest")
    if package is None:
        raise ValueError("the pictures are those of deepforest. Install it: pip install --no-deps deepforest")
    return Path(package.submodule_search_locations[0]) / "data"  # type: ignore[index]


def crowns(file: Path) -> np.ndarray:
    """``[n, 4]``: left, top, right, bottom of each crown, in pixels."""
    sides = ("xmin", "ymin", "xmax", "ymax")
    boxes = [[float(box.findtext(side, "nan")) for side in sides] for box in ElementTree.parse(file).iter("bndbox")]
    return np.array(boxes).reshape(-1, 4)


def places(height: int, width: int, split: str) -> Iterator[tuple[int, int]]:
    """Top and left of each tile of a split; what does not fill one, at the right and the bottom, is left out."""
    edge = width * 3 // 4
    first, end = (0, edge) if split == "train" else (edge, width)
    for top in range(0, height - TILE + 1, STEP[split]):
        for left in range(first, end - TILE + 1, STEP[split]):
            yield top, left


def in_tile(corners: np.ndarray, top: int, left: int) -> np.ndarray:
    """The boxes that lie mostly within a tile, clipped to it: centres and sizes as fractions of the tile."""
    cut = (corners - (left, top, left, top)).clip(0, TILE)
    size = cut[:, 2:] - cut[:, :2]
    kept = size.prod(1) >= SEEN * (corners[:, 2:] - corners[:, :2]).prod(1)
    return np.concatenate([(cut[:, :2] + cut[:, 2:]) / 2, size], 1)[kept] / TILE


if __name__ == "__main__":
    print(trees(sys.argv[1] if len(sys.argv) > 1 else "data/trees"))
