"""YOLO's label files: one text file to an image, one line to a box or polygon, in fractions of the image.

A box is ``class x y width height``, centre first; a polygon is ``class x1 y1 x2 y2 x3 y3 ...``, and becomes the box
around it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from examples.detector.data import Labels, check_box, read_text
from examples.detector.images import Unusable


def read_label_file(file: Path, size: tuple[int, int], names: list[str], single_class: bool = False) -> Labels:
    """The boxes of an image of `size` pixels; a missing file or an empty one means an image without objects.

    Raises:
        Unusable: if a line is no label.
        ValueError: if a class has no name, as then most likely the list of names is wrong.
    """
    rows: list[list[float]] = []
    left_out: Counter[str] = Counter()
    for number, line in enumerate(read_text(file).splitlines() if file.is_file() else [], 1):
        if not line.strip():
            continue
        row = parse(line, f"{file}, line {number}", size)
        if single_class:
            row[0] = 0.0
        elif row[0] >= len(names):
            raise ValueError(
                f"{file}, line {number} has class {row[0]:g}, but the names are those of classes 0 to "
                f"{len(names) - 1}. Correct one."
            )
        if row[3] <= 0 or row[4] <= 0:
            left_out["without area"] += 1
        elif row in rows:
            left_out["given twice"] += 1
        else:
            rows.append(row)
    return Labels(size, rows, [], left_out)


def parse(line: str, where: str, size: tuple[int, int]) -> list[float]:
    """A line's class and box.

    A box beside polygons in one file stays a box; YOLOv5 reads it as a polygon of the two points (x, y) and
    (width, height).
    """
    try:
        c, *values = map(float, line.split())
    except ValueError:
        raise Unusable(f"{where} is {line[:60]!r}; it must hold numbers: class x y width height.") from None
    if not (c >= 0 and c.is_integer()):
        raise Unusable(f"{where} has class {c:g}; it must be 0 or another whole number.")
    if len(values) >= 6 and len(values) % 2 == 0:
        x, y = values[::2], values[1::2]
        values = [(min(x) + max(x)) / 2, (min(y) + max(y)) / 2, max(x) - min(x), max(y) - min(y)]
    elif len(values) != 4:
        raise Unusable(
            f"{where} has {len(values) + 1} numbers; a box has five (class x y width height), a polygon a class and "
            "at least three points."
        )
    check_box(values, size, where)
    return [c, *values]
