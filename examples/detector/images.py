"""Image files: found in folders, checked before training, and decoded, as YOLOv5 does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

ENDINGS = (".bmp", ".dng", ".jpeg", ".jpg", ".mpo", ".pfm", ".png", ".tif", ".tiff", ".webp")
FORMATS = (
    "BMP",
    "JPEG",
    "PNG",
    "TIFF",
    "WEBP",
)  # of the contents, whatever the ending; an MPO file is JPEG images, the first of which is read
SMALLEST = 10  # pixels to a side; YOLOv5 skips smaller images
EXIF_IN_PNG = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")  # without these, no need to decode it


class Unusable(ValueError):
    """An image or its labels cannot be used; the others can."""


def find_images(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """Images in `folder` and all folders below it.

    Follows symbolic links, except back to a folder that holds the link. Skips hidden files and folders (``._a.jpg``,
    ``.ipynb_checkpoints``, ``.Trash-1000``).
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        if entry.is_dir():
            yield from find_images(path, (*above, real))
        elif path.suffix.lower() in ENDINGS:
            yield path


def check_image(path: Path) -> tuple[int, int]:
    """(width, height) of an upright image, in pixels.

    Raises:
        Unusable: if the file is missing, truncated, too small, or in a format that YOLOv5 does not read.
    """
    if not os.path.isfile(path):  # False for a name that is too long, too
        raise Unusable(f"image {shortened(path)} does not exist. Add it, or remove its entry from the annotations.")
    try:
        with Image.open(path, formats=FORMATS) as image:
            check_depth(image)
            kind = image.format
            image.verify()
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if on_its_side(image, path):
                width, height = height, width
            if kind != "PNG":  # verify() compares the checksums of a PNG file; others have none and must be decoded
                image.draft("L", (1, 1))  # JPEG at an eighth of its size: 1.5 ms instead of 2.3 for a photograph
                image.load()
            if kind == "TIFF":  # Pillow turns it upright while it loads
                width, height = image.size
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, DecompressionBombError ...
        raise Unusable(f"image {path} cannot be read ({reason(error)}). Replace it, or remove it.") from error
    if min(width, height) < SMALLEST:
        raise Unusable(f"image {path} is {width} x {height} pixels; a side needs at least {SMALLEST}. Remove it.")
    return width, height


def read_image(path: Path) -> np.ndarray:
    """RGB pixels ``[height, width, 3]`` uint8 of an image, upright as its EXIF orientation says."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            check_depth(image)
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits: keep the upper 8, as OpenCV does; Pillow would clip at 255
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return np.asarray(upright.convert("RGB"))
    except Exception as error:
        raise Unusable(f"image {path} cannot be read ({reason(error)}). Replace it, or remove it.") from error


def check_depth(image: Image.Image) -> None:
    """Refuse values of 32 bits: which of them is white is not known, and converted they would be black."""
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise ValueError("its values have 32 bits; save it with 8 or 16")


def shortened(value: object, most: int = 120) -> str:
    """A value as an error shows it."""
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def reason(error: Exception) -> str:
    """What went wrong in a decoder, without the path that some of Pillow's messages hold."""
    return (
        "it is damaged, or not in one of " + ", ".join(FORMATS)
        if isinstance(error, Image.UnidentifiedImageError)
        else str(error)
    )


def on_its_side(image: Image.Image, path: Path) -> bool:
    """Whether width and height change places when `image` is turned upright."""
    if image.format == "TIFF":
        return False
    if image.format == "PNG" and not any(word in path.read_bytes() for word in EXIF_IN_PNG):
        return False
    return image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
