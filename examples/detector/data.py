"""A folder of images and boxes, read and checked: COCO's layout or YOLO's.

COCO                                     YOLO
    annotations/instances_train.json         data.yaml            (names: the classes)
    annotations/instances_val.json           images/train/*.jpg   images/val/*.jpg
    train/*.jpg  val/*.jpg                    labels/train/*.txt   labels/val/*.txt

A data.yaml that says otherwise (``train: train/images``) is followed, seen from its own folder. COCO's own names
(``instances_train2017.json``, ``train2017/`` or ``images/train2017/``) are found too. Everything wrong with the folder
is found before training starts, and reported with the file, the value and the remedy.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

IMAGE_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
JPEG = ("JPEG", "MPO")  # as Pillow calls them; YOLOv5 too turns no others upright
SLACK = 1.0  # pixels by which a box may stick out of its image, as rounding makes real ones do; it is cut there


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with their boxes.

    Attributes:
        names: of the classes; class ``c`` is ``names[c]``.
        images: path of each image.
        sizes: (width, height) of each image in pixels.
        boxes: of each image ``[n, 4]`` float32, centre x, y, width, height as fractions of the image.
        classes: of each image ``[n]`` int32.
        crowds: of each image ``[m, 5]``, class and box of regions that evaluation ignores (COCO's ``iscrowd``).
        notes: what was read and left out, in words.
    """

    names: tuple[str, ...]
    images: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...]
    boxes: tuple[np.ndarray, ...]
    classes: tuple[np.ndarray, ...]
    crowds: tuple[np.ndarray, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: int) -> np.ndarray:
        """The image as ``[height, width, 3]`` uint8."""
        return read_image(self.images[index])


def read_image(path: Path) -> np.ndarray:
    """RGB pixels of an image file, upright as its EXIF says; a broken file is an error that names it."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image) if image.format in JPEG else image
            if upright.mode.startswith("I"):  # 16 bits, which Pillow would cut at 255
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return np.asarray(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise ValueError(
            f"{path} cannot be read as an image ({error}). It may be truncated: "
            "copy it again, or remove it and its boxes."
        ) from error


def read_folder(folder: str | Path, split: str) -> Dataset:
    """Read `split` ("train" or "val") of a COCO or YOLO folder.

    Raises:
        ValueError: naming the file, the value and the remedy.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"--data {folder}: there is no such folder.")
    if (folder / "annotations").is_dir():
        return read_coco(folder, split)
    if (folder / "data.yaml").is_file():
        return read_yolo(folder, split)
    raise ValueError(
        f"--data {folder} holds neither annotations/ (COCO) nor data.yaml (YOLO). Expected one of:\n{__doc__}"
    )


def read_coco(folder: Path, split: str) -> Dataset:
    """COCO: categories in the order of their ids become classes 0, 1, ..."""
    found = sorted((folder / "annotations").glob(f"instances_{split}*.json"))
    if len(found) != 1:
        raise ValueError(f"{folder}/annotations has {len(found)} files instances_{split}*.json; there must be one.")
    file = found[0]
    name = file.stem.removeprefix("instances_")
    root = next((r for r in (folder / name, folder / "images" / name) if r.is_dir()), None)
    if root is None:
        raise ValueError(f"{file} needs its images in {folder / name} or {folder / 'images' / name}; neither exists.")
    try:
        content = json.loads(file.read_text())
        images, annotations, categories = (content[k] for k in ("images", "annotations", "categories"))
        lacking = [
            f"an entry of {kind} lacks {key!r}"
            for kind, keys in (("images", ("id", "file_name", "width", "height")), ("categories", ("id",)))
            for key in keys
            if any(key not in entry for entry in content[kind])
        ]
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is no valid JSON ({error}). It may be truncated: copy it again.") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} lacks {error}; COCO has images, annotations and categories.") from error
    if lacking:
        raise ValueError(f"{file}: {lacking[0]}. Add it.")

    for category in categories:
        if not str(category.get("name") or "").strip():
            raise ValueError(f"{file}: category {category.get('id')!r} has no name. Give it one.")
    categories = sorted(categories, key=lambda c: c["id"])
    class_of = {c["id"]: i for i, c in enumerate(categories)}
    if len(class_of) != len(categories):
        raise ValueError(f"{file}: two categories have the same id. Ids must differ.")

    place = {image["id"]: i for i, image in enumerate(images)}
    if len(place) != len(images):
        raise ValueError(f"{file}: two images have the same id. Ids must differ.")
    rows: list[list[list[float]]] = [[] for _ in images]
    crowds: list[list[list[float]]] = [[] for _ in images]
    empty = 0
    for a in annotations:
        where = f"{file}: annotation {a.get('id')!r}"
        if a.get("image_id") not in place:
            raise ValueError(
                f"{where} is of image {a.get('image_id')!r}, which is not listed. Remove one or add the other."
            )
        if a.get("category_id") not in class_of:
            raise ValueError(
                f"{where} has category_id {a.get('category_id')!r}; the categories are {sorted(class_of)}. Correct it."
            )
        box = a.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, (int, float)) for v in box):
            raise ValueError(f"{where} has bbox {box!r}; it must be [left, top, width, height] in pixels.")
        image = images[place[a["image_id"]]]
        corners = check_corners(
            (box[0], box[1], box[0] + box[2], box[1] + box[3]), (image["width"], image["height"]), where, SLACK
        )
        row = [class_of[a["category_id"]], *corners]
        if row[3] <= row[1] or row[4] <= row[2]:
            empty += 1
        else:
            (crowds if a.get("iscrowd") else rows)[place[a["image_id"]]].append(row)
    paths = [root / image["file_name"] for image in images]
    sizes = check_images(paths, [(image["width"], image["height"]) for image in images])
    return assemble([c["name"] for c in categories], paths, sizes, rows, crowds, {"without area": empty})


def read_yolo(folder: Path, split: str) -> Dataset:
    """YOLO: one text file to an image, a line ``class x y w h`` to a box, in fractions of the image."""
    file = folder / "data.yaml"
    try:
        content = yaml.safe_load(file.read_text())
        names = content.get("names")
    except (yaml.YAMLError, AttributeError) as error:
        raise ValueError(f"{file} cannot be read ({error}); it must hold 'names:', the list of classes.") from error
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise ValueError(f"{file}: names has keys {sorted(names)}; they must be 0, 1, 2 and so on.")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError(f"{file}: names is {names!r}; it must list the classes.")
    for c, name in enumerate(names):
        if name is None or not str(name).strip():
            raise ValueError(f"{file}: class {c} has no name. Give it one.")
    root, labels = yolo_folders(folder, split, content.get(split))
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS)
    if not paths:
        raise ValueError(f"{root} holds no images ({', '.join(IMAGE_ENDINGS)}).")
    if not labels.is_dir():
        raise ValueError(f"{root} has images, but there is no {labels}. Put the labels there.")
    sizes = check_images(paths, [None] * len(paths))
    rows: list[list[list[float]]] = []
    empty = twice = 0
    for path, size in zip(paths, sizes, strict=True):
        label = (labels / path.relative_to(root)).with_suffix(".txt")
        rows.append([])
        for number, line in enumerate(label.read_text().splitlines() if label.is_file() else [], 1):
            where = f"{label}, line {number}"
            try:
                values = [float(v) for v in line.split()]
            except ValueError:
                raise ValueError(f"{where} is {line!r}; it must be five numbers: class x y width height.") from None
            if not values:
                continue
            if len(values) != 5:
                raise ValueError(f"{where} has {len(values)} numbers; it must be five: class x y width height.")
            c, x, y, w, h = values
            if c not in range(len(names)):
                raise ValueError(
                    f"{where} has class {c:g}; {file} names the classes 0 to {len(names) - 1}. Correct one."
                )
            fractions = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            corners = tuple(f * size[i % 2] for i, f in enumerate(fractions))
            row = [c, *check_corners(corners, size, where, SLACK)]
            if row[3] <= row[1] or row[4] <= row[2]:
                empty += 1
            elif row in rows[-1]:  # YOLOv5 leaves them out too
                twice += 1
            else:
                rows[-1].append(row)
    return assemble(
        [str(n) for n in names], paths, sizes, rows, [[] for _ in rows], {"without area": empty, "there twice": twice}
    )


def yolo_folders(folder: Path, split: str, given: Any) -> tuple[Path, Path]:
    """Where the images and the labels are: as data.yaml says of `split`, seen from its own folder, or images/`split`.

    ``../train/images``, as exporters write it, is ``train/images`` where it leads nowhere. The labels' path is the
    images' with its last ``images`` made ``labels``.
    """
    if given is not None and not isinstance(given, str):
        raise ValueError(f"{folder}/data.yaml: {split} is {given!r}; it must be the path of one folder of images.")
    places = [folder / p for p in (given, given and given.removeprefix("../")) if p] + [folder / "images" / split]
    root = next((place for place in places if place.is_dir()), None)
    if root is None:
        raise ValueError(f"none of {', '.join(map(str, dict.fromkeys(places)))} is a folder; it must hold the images.")
    parts = root.relative_to(folder).parts if root.is_relative_to(folder) else root.parts
    if "images" not in parts:
        raise ValueError(f"{root} must have 'images' in its path, and the labels be beside it in 'labels'.")
    last = len(root.parts) - 1 - parts[::-1].index("images")
    return root, Path(*root.parts[:last], "labels", *root.parts[last + 1 :])


def check_corners(corners: Iterable[float], size: tuple[int, int], where: str, slack: float) -> list[float]:
    """The corners (left, top, right, bottom) in pixels, cut to the image; an error where they are far off."""
    corners = [float(c) for c in corners]
    shown = f"corners {[round(c, 2) for c in corners]}"
    if not all(math.isfinite(c) for c in corners):
        raise ValueError(f"{where} has a box with {shown}; all must be finite numbers. Correct or remove the box.")
    limits = (*size, *size)
    if any(c < -slack or c > limit + slack for c, limit in zip(corners, limits, strict=True)):
        raise ValueError(
            f"{where} has a box with {shown} outside its image of {size[0]} x {size[1]} pixels. "
            "Correct the box, or the size of the image in the file."
        )
    return [min(max(c, 0.0), float(limit)) for c, limit in zip(corners, limits, strict=True)]


def check_images(paths: list[Path], declared: list[Any]) -> list[tuple[int, int]]:
    """(width, height) of each image, from its file; each must exist, be whole, and have the declared size."""

    def check(path: Path, size: tuple[int, int] | None) -> tuple[int, int]:
        if not path.is_file():
            raise ValueError(f"image {path} does not exist. Add it, or remove its entry from the annotations.")
        try:
            with Image.open(path) as image:
                actual, kind = image.size, image.format
                if kind in JPEG and image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8):  # on its side
                    actual = actual[::-1]
                image.verify()
            # Pillow's verify says nothing of a file of these that ends early.
            if kind in ("BMP", "TIFF") or (kind in JPEG and not has_end_marker(path)):
                with Image.open(path) as image:
                    image.load()
        except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
            raise ValueError(f"image {path} is broken ({error}). Copy it again, or remove it and its boxes.") from error
        if size is not None and tuple(size) != actual:
            raise ValueError(f"image {path} is {actual} pixels, but the annotations say {tuple(size)}. Correct them.")
        return actual

    with ThreadPoolExecutor() as pool:
        return list(pool.map(check, paths, declared))


def has_end_marker(path: Path) -> bool:
    """Whether a JPEG's last bytes hold its end; where a camera writes more after it, they do not."""
    with path.open("rb") as file:
        file.seek(-min(512, path.stat().st_size), 2)
        return b"\xff\xd9" in file.read()


def assemble(names, paths, sizes, rows, crowds, left_out) -> Dataset:  # type: ignore[no-untyped-def]
    """Corners in pixels to centres and sizes in fractions."""
    if not paths:
        raise ValueError("the data has no images.")
    tables = []
    for group in (rows, crowds):
        table = []
        for of_image, (width, height) in zip(group, sizes, strict=True):
            r = np.array(of_image, np.float64).reshape(-1, 5)
            low, high = r[:, 1:3] / (width, height), r[:, 3:5] / (width, height)
            table.append(np.concatenate([r[:, :1], (low + high) / 2, high - low], 1).astype(np.float32))
        tables.append(table)
    return Dataset(
        names=tuple(names),
        images=tuple(paths),
        sizes=tuple(sizes),
        boxes=tuple(t[:, 1:] for t in tables[0]),
        classes=tuple(t[:, 0].astype(np.int32) for t in tables[0]),
        crowds=tuple(tables[1]),
        notes=tuple(f"{count} boxes {what} were left out" for what, count in left_out.items() if count),
    )
