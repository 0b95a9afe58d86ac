"""What ``--data`` may be: a data.yaml in YOLO's format, or a folder in YOLO's or COCO's layout.

YOLO                                      COCO
    data.yaml            (see yolo_paths)     annotations/instances_train.json
    images/train/*.jpg   images/val/*.jpg     annotations/instances_val.json
    labels/train/*.txt   labels/val/*.txt     train/*.jpg   val/*.jpg
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from examples.detector.coco_format import is_coco, read_coco
from examples.detector.data import Dataset, read_all
from examples.detector.yolo_labels import read_label_file
from examples.detector.yolo_paths import class_names, label_files, read_data_yaml, split_images


def read_data(source: str | Path, split: str, *, strict: bool = False, single_class: bool = False) -> Dataset:
    """Read and check one split of a data set, without decoding its images.

    Args:
        source: a data.yaml, or a folder in YOLO's or COCO's layout.
        split: "train", "val" or "test".
        strict: whether an unusable image or label raises; otherwise its image is skipped, and noted.
        single_class: whether all boxes count as of one class; it is called "item" where there are several names.

    Raises:
        ValueError: naming the file, the value and the remedy.
    """
    source = Path(source).expanduser()
    options = {"strict": strict, "single_class": single_class}
    if source.is_file():
        data = read_yolo(source, split, **options)
    elif not source.is_dir():
        raise ValueError(f"--data {source}: there is no such file or folder.")
    elif is_coco(source):
        data = read_coco(source, split, **options)
    else:
        files = [source / "data.yaml"] if (source / "data.yaml").is_file() else sorted(source.glob("*.y*ml"))
        if len(files) != 1:
            raise ValueError(
                f"--data {source} holds neither annotations/ (COCO) nor data.yaml (YOLO), and {len(files)} other YAML "
                "files. Give the YAML file itself; README.md of the detector shows both layouts."
            )
        data = read_yolo(files[0], split, **options)
    if single_class and len(data.names) > 1:
        return dataclasses.replace(data, names=("item",))
    return data


def read_yolo(file: Path, split: str, *, strict: bool = False, single_class: bool = False) -> Dataset:
    """A split that a data.yaml describes."""
    content = read_data_yaml(file)
    names = class_names(file, content)
    images, notes = split_images(file, content, split)
    labels, more = label_files(images)
    return read_all(
        names, images, lambda i, size: read_label_file(labels[i], size, names, single_class),
        strict=strict, notes=notes + more,
    )  # fmt: skip
