"""COCO's layout: ``annotations/instances_SPLIT.json``, and the images in ``SPLIT``, ``images/SPLIT`` or ``images``.

COCO's own names (``instances_train2017.json`` and ``train2017``) are found too, and those of Roboflow's exports
(``train/_annotations.coco.json`` with the images beside it; the split "val" is in ``valid``).
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from numbers import Real
from pathlib import Path
from typing import Any

from examples.detector.data import Dataset, Labels, check_box, read_all, read_text
from examples.detector.images import Unusable, shortened

EXPORTED = "_annotations.coco.json"  # in each split's folder of Roboflow's exports


def read_coco(folder: Path, split: str, *, strict: bool = False, single_class: bool = False) -> Dataset:
    """A split of a COCO folder. Categories in the order of their ids become classes 0, 1, ...

    Raises:
        ValueError: naming the file, the entry and the remedy.
    """
    file, roots = annotation_file(folder, split)
    content = read_json(file)
    images = entries(content, "images", file, ("id", "file_name"))
    categories = entries(content, "categories", file, ("id",))
    names, class_of = classes(categories, file)

    place = {ident(image["id"]): i for i, image in enumerate(images)}
    if len(place) != len(images):
        raise ValueError(f"{file}: two images have the same id. Make them differ.")
    annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
    strays = []
    for annotation in entries(content, "annotations", file, ()):
        index = place.get(ident(annotation.get("image_id")))
        strays.append(annotation) if index is None else annotations[index].append(annotation)
    notes = []
    if strays:
        line = (
            f"{file}: annotation {shortened(strays[0].get('id'), 40)} is of image "
            f"{shortened(strays[0].get('image_id'), 40)}, which is not listed"
        )
        if strict:
            raise Unusable(f"{line}. Remove it, or add the image.")
        notes.append(f"{line}; it and {len(strays) - 1} more such annotations are left out")

    def read_labels(index: int, size: tuple[int, int]) -> Labels:
        check_size(images[index], size, paths[index])
        rows: tuple[list[list[float]], list[list[float]]] = ([], [])
        left_out: Counter[str] = Counter()
        for annotation in annotations[index]:
            where = f"{file}: annotation {shortened(annotation.get('id'), 40)}"
            category = annotation.get("category_id")
            if ident(category) not in class_of:
                known = shortened(", ".join(class_of), 80)
                raise ValueError(
                    f"{where} has category_id {shortened(repr(category), 40)}, but the categories are {known}. "
                    "Correct one."
                )
            box = to_fractions(pixel_box(annotation, where), size)
            check_box(box, size, where)
            if box[2] <= 0 or box[3] <= 0:
                left_out["without area"] += 1
            else:
                rows[bool(annotation.get("iscrowd"))].append([0 if single_class else class_of[ident(category)], *box])
        return Labels(size, *rows, left_out)

    paths = image_paths(file, roots, [str(image["file_name"]) for image in images])
    return read_all(names, paths, read_labels, strict=strict, notes=notes)


def is_coco(folder: Path) -> bool:
    """Whether a folder has COCO's layout."""
    return (folder / "annotations").is_dir() or any(folder.glob(f"*/{EXPORTED}"))


def annotation_file(folder: Path, split: str) -> tuple[Path, list[Path]]:
    """The file of a split's annotations, and the folders in which its images may be."""
    exported = [folder / name / EXPORTED for name in (split, *(["valid"] if split == "val" else []))]
    found = sorted((folder / "annotations").glob(f"instances_{split}*.json")) or [f for f in exported if f.is_file()]
    if len(found) != 1:
        raise ValueError(f"{folder}/annotations has {len(found)} files instances_{split}*.json; it needs one.")
    file = found[0]
    if file.name == EXPORTED:
        return file, [file.parent]
    name = file.stem.removeprefix("instances_")
    return file, [folder / name, folder / "images" / name, folder / "images", folder]


def ident(value: Any) -> str:
    """An id as a string; 7, 7.0 and "7" are the same."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def read_json(file: Path) -> dict[str, Any]:
    """The contents of an annotation file."""
    try:
        content = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is no valid JSON ({error}). If it is truncated, copy it again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} must hold an object with images, annotations and categories.")
    return content


def entries(content: dict[str, Any], kind: str, file: Path, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """The list `kind` of an annotation file, whose entries must have `keys`."""
    found = content.get(kind)
    if not isinstance(found, list):
        raise ValueError(f"{file}: {kind} is {shortened(found, 40)}; it must be a list.")
    if not found and kind != "annotations":
        raise ValueError(f"{file}: {kind} is empty. Add some.")
    for number, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise ValueError(f"{file}: {kind}[{number}] is {shortened(entry, 40)}; it must be an object.")
        for key in keys:
            if not isinstance(entry.get(key), (str, Real)):
                raise ValueError(
                    f"{file}: {kind}[{number}] has the {key} {shortened(repr(entry.get(key)), 40)}. Give it one."
                )
    return found


def classes(categories: list[dict[str, Any]], file: Path) -> tuple[list[str], dict[str, int]]:
    """Names of the classes, and the class of each category id."""
    for category in categories:
        try:
            category["id"] = int(ident(category["id"]))
        except ValueError:
            raise ValueError(
                f"{file}: a category has the id {shortened(repr(category['id']), 40)}; it must be a whole number."
            ) from None
        name = category.get("name")
        if name is None or not str(name).strip():
            raise ValueError(f"{file}: category {category['id']} has no name. Give it one.")
    categories = sorted(categories, key=lambda c: c["id"])
    class_of = {str(c["id"]): i for i, c in enumerate(categories)}
    if len(class_of) != len(categories):
        raise ValueError(f"{file}: two categories have the same id. Make them differ.")
    return [str(c["name"]) for c in categories], class_of


def image_paths(file: Path, roots: list[Path], file_names: list[str]) -> list[Path]:
    """Paths of the images, from the first of `roots` that has any of them."""
    root = next((r for r in roots if any(os.path.isfile(r / name) for name in file_names)), None)
    if root is None:
        raise ValueError(
            f"{file} lists {shortened(file_names[0])}, but neither that nor any other of its images is in "
            f"{', '.join(map(str, roots))}. Put them into one of these."
        )
    return [root / name for name in file_names]


def check_size(image: dict[str, Any], size: tuple[int, int], path: Path) -> None:
    """An image must have the width and height that its entry gives, if it gives any."""
    given = (image.get("width"), image.get("height"))
    if any(g is not None and g != s for g, s in zip(given, size, strict=True)):
        raise Unusable(f"image {path} is {size[0]} x {size[1]} pixels, but its entry says {shortened(given[0], 20)} x "
                       f"{shortened(given[1], 20)}. "
                       "Correct the entry and its boxes.")  # fmt: skip


def pixel_box(annotation: dict[str, Any], where: str) -> tuple[float, float, float, float]:
    """Left, top, width and height in pixels: those of the annotation or, without them, those of its polygons."""
    box, outline = annotation.get("bbox"), annotation.get("segmentation")
    wrong = Unusable(f"{where} has the bbox {shortened(box, 60)}; it must be [left, top, width, height] in pixels.")
    if box is None and isinstance(outline, list) and outline:
        try:
            x, y = ([float(v) for polygon in outline for v in polygon[i::2]] for i in (0, 1))
            return min(x), min(y), max(x) - min(x), max(y) - min(y)
        except (TypeError, ValueError, OverflowError):
            raise Unusable(f"{where} has no bbox, and a segmentation that is no list of polygons.") from None
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, Real) for v in box):
        raise wrong
    try:
        return tuple(map(float, box))  # type: ignore[return-value]
    except OverflowError:
        raise wrong from None


def to_fractions(box: tuple[float, float, float, float], size: tuple[int, int]) -> list[float]:
    """Left, top, width, height in pixels to centre and size as fractions of the image."""
    (left, top, width, height), (w, h) = box, size
    return [(left + width / 2) / w, (top + height / 2) / h, width / w, height / h]
