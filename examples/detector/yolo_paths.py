"""YOLO's data.yaml: the names of the classes, where each split's images are, and where the labels of an image are.

    path: datasets/mine              # optional: the folder that the other paths are seen from
    train: images/train              # a folder, a text file that lists images, or a list of these
    val: [images/val, more/val.txt]
    test: images/test                # optional
    names: [cat, dog]                # or {0: cat, 1: dog}

Paths are seen from data.yaml's own folder or, if they are not there, from the current directory. Without ``train`` and
``val``, a split's images are in ``images/SPLIT``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from examples.detector.data import read_text
from examples.detector.images import ENDINGS, find_images, shortened

NOTHING = (None, "", "~", "null")  # values of a key that stands there without one


def read_data_yaml(file: Path) -> dict[str, Any]:
    """The contents of a data.yaml; every value is a string, as written: YAML would make booleans of ``yes`` and ``no``,
    and numbers of names such as ``007``."""
    try:
        content = yaml.load(read_text(file), Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is no valid YAML ({' '.join(str(error).split())}). Correct it.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} must hold lines such as 'names: [cat, dog]'.")
    return content


def class_names(file: Path, content: dict[str, Any]) -> list[str]:
    """Names of classes 0, 1, ..., from a list or a dict."""
    names = content.get("names")
    if isinstance(names, dict):
        try:
            names = {int(key): name for key, name in names.items()}
        except ValueError:
            raise ValueError(f"{file}: names has the keys {list(names)[:8]}; they must be 0, 1, 2 and so on.") from None
        if sorted(names) != list(range(len(names))):
            raise ValueError(f"{file}: names has the keys {sorted(names)[:8]}; they must be 0, 1, 2 and so on.")
        names = [names[c] for c in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError(f"{file}: names is {shown(names)}; it must list the classes, such as [cat, dog].")
    for c, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"{file}: class {c} has the name {shown(name)}; it must be a word. Give it one.")
    count = content.get("nc", len(names))
    try:
        same = float(count) == len(names)
    except (TypeError, ValueError):
        raise ValueError(f"{file}: nc is {shown(count)}; it must be the number of classes.") from None
    if not same:
        raise ValueError(f"{file}: nc is {shortened(count)}, but names has {len(names)} entries. Correct one.")
    return names


def split_images(file: Path, content: dict[str, Any], split: str) -> tuple[list[Path], list[str]]:
    """The images of a split, in the order of their paths, and notes."""
    images: list[Path] = []
    notes = []
    base, places = split_places(file, content, split)
    for place in places:
        found = list(find_images(place)) if place.is_dir() else listed_images(place, base)
        others = sum(image.suffix.lower() not in ENDINGS for image in found)
        notes += [f"{place}: lines left out that name no image: {others}"] if others else []
        images += [image for image in found if image.suffix.lower() in ENDINGS]
    if not images:
        raise ValueError(
            f"{file}: {split} is {shown(content.get(split))}, which holds no images ({' '.join(ENDINGS)})."
        )
    twice = len(images) - len(set(images))
    notes += [f"{split}: images given twice, which count twice: {twice}"] if twice else []
    return sorted(images, key=str), notes


def split_places(file: Path, content: dict[str, Any], split: str) -> tuple[Path, list[Path]]:
    """The folders and text files that a split consists of, and the folder from which they are seen."""
    given, path = content.get(split), content.get("path")
    if given in NOTHING:
        if split not in ("train", "val") or any(content.get(s) not in NOTHING for s in ("train", "val")):
            raise ValueError(f"{file} has no {split!r}. Add a line such as '{split}: images/{split}'.")
        given = f"images/{split}"
    entries = given if isinstance(given, list) else [given]
    if not entries or not all(isinstance(entry, str) and entry for entry in entries):
        raise ValueError(f"{file}: {split} is {shown(given)}; it must be a path, or a list of paths.")
    if not isinstance(path, str | None):
        raise ValueError(f"{file}: path is {shown(path)}; it must be one folder.")
    path = "" if path in NOTHING else os.path.expanduser(path)
    bases = list(dict.fromkeys(Path(os.path.abspath(base / path)) for base in (file.parent, Path())))
    for base in bases:
        places = [seen_from(base, entry) for entry in entries]
        if all(places):
            return base, places  # type: ignore[return-value]
    missing = next(entry for entry in entries if not seen_from(bases[0], entry))
    raise ValueError(
        f"{file}: {split} names {shortened(missing)}, which is not in {' or '.join(map(shortened, bases))}. "
        f"Correct {split!r} or 'path'; nothing is downloaded."
    )


def seen_from(base: Path, entry: str) -> Path | None:
    """A split's folder or text file; ``../train/images``, which some exporters write, may mean ``train/images``."""
    tries = [base / os.path.expanduser(entry)] + ([base / entry[3:]] if entry.startswith("../") else [])
    for path in tries:
        if os.path.isdir(path) or (os.path.isfile(path) and path.suffix.lower() not in ENDINGS):
            return Path(os.path.abspath(path))
    return None


def shown(value: Any) -> str:
    """A value as it is written, shortened."""
    return shortened(repr(value))


def listed_images(file: Path, base: Path) -> list[Path]:
    """The paths in a text file, one a line: from its own folder, from `base`, or from the current directory; the first
    from which there is any."""
    lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    bases = (file.parent, base, Path())
    first = next((b for b in bases if any(os.path.isfile(b / line) for line in lines)), file.parent)
    return [Path(os.path.abspath(first / line)) for line in lines]


def label_files(images: list[Path]) -> tuple[list[Path], list[str]]:
    """The label file of each image, whether it exists or not, and notes.

    The first of these places in which any is: the images' path with its last folder ``images`` made ``labels`` (beside
    the image where no folder is called so), as YOLOv5 looks for them; beside the image; the first of where the image
    really is, if a symbolic link leads there.
    """
    rules: list[Callable[[Path], Path]] = [labels_of, lambda p: p.with_suffix(".txt"), lambda p: labels_of(p.resolve())]
    for rule in rules:
        files = [rule(image) for image in images]
        count = sum(file.is_file() for file in files)
        if count:
            break
    else:
        raise ValueError(
            f"none of the {len(images)} images has a label file; that of {images[0]} is {labels_of(images[0])}. Put "
            "the labels there. An image without objects may have an empty file or none."
        )
    without = len(images) - count
    note = f"{without} of {len(images)} images have no label file; they count as without objects"
    return files, [note] if without else []


def labels_of(image: Path) -> Path:
    """YOLOv5's place for the labels of an image."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")
