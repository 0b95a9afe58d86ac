"""A data set in memory: what is skipped and counted, clipped, and where it is read from."""

import numpy as np
import pytest

from examples.detector.data import LISTED, in_both, to_corners, write_skipped
from examples.detector.sources import read_data

from .conftest import noise


def test_yolo_is_read(yolo):
    data = read_data(yolo("1 0.5 0.25 0.2 0.1\n\n0 0.1 0.1 0.1 0.1\n"), "val")
    assert data.names == ("cat", "dog")
    assert data.classes[0].tolist() == [1, 0]
    np.testing.assert_allclose(data.boxes[0][0], [0.5, 0.25, 0.2, 0.1], rtol=1e-6)
    assert len(data.boxes[1]) == 0  # no label file: no boxes
    assert data.notes == ("1 of 2 images have no label file; they count as without objects",)


def test_boxes_are_clipped_to_the_image_in_corners_only():
    """YOLOv5 trains with boxes as labelled, cut where the network's input ends, and validates with clipped ones."""
    boxes = np.array([[0, 0.5, 0.2, 0.5], [1, 1, 1, 1], [0.5, 0.5, 0.5, 0.5]], np.float32)
    np.testing.assert_allclose(
        to_corners(boxes, (60, 40)), [[0, 10, 6, 30], [30, 20, 60, 40], [15, 10, 45, 30]], atol=1e-5
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "labels/val/a.txt").write_text("0 0.5 0.5 0.1"), "a.txt, line 1 has 4 numbers"),
        (lambda folder: (folder / "labels/val/a.txt").write_text("0 9 9 9 9"), "a.txt, line 1 has a box"),
        (lambda folder: (folder / "images/val/a.png").write_bytes(b"\x89PNG"), "a.png cannot be read"),
        (lambda folder: noise(folder / "images/val/a.png", (9, 9)), "a.png is 9 x 9 pixels"),
    ],
)
def test_unusable_images_are_skipped_and_counted_unless_strict(yolo, spoil, words):
    folder = yolo()
    spoil(folder)
    data = read_data(folder, "val")
    assert [path.name for path in data.images] == ["b.png"]
    assert data.notes[1] == "1 of 2 images are skipped (--strict stops at the first):"
    assert words in data.notes[2]
    with pytest.raises(ValueError, match=words):
        read_data(folder, "val", strict=True)


def test_all_that_is_skipped_is_kept_and_the_first_are_listed(yolo):
    folder = yolo()
    for number in range(LISTED + 3):
        (folder / "images" / "val" / f"c{number}.png").touch()
    data = read_data(folder, "val")
    assert len(data) == 2
    assert len(data.skipped) == LISTED + 3
    assert len(data.notes) == 2 + LISTED + 1
    assert data.notes[-1] == "  and 3 more, in skipped.txt"
    write_skipped(folder / "out", data, data)
    assert (folder / "out" / "skipped.txt").read_text().splitlines() == [*data.skipped, *data.skipped]


def test_nothing_usable_is_an_error(yolo):
    folder = yolo("0 0.5 0.5")
    (folder / "images" / "val" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"none of the 1 images can be used; the first: .*a.txt, line 1 has 3 numbers"):
        read_data(folder, "val")


def test_a_class_without_a_name_stops_the_run(yolo):
    with pytest.raises(ValueError, match="class 2, but the names are those of classes 0 to 1"):
        read_data(yolo("2 0.5 0.5 0.1 0.1"), "val")


def test_a_single_class_keeps_its_name_and_several_become_one(yolo):
    data = read_data(yolo("1 0.5 0.25 0.2 0.1\n0 0.5 0.25 0.2 0.1"), "val", single_class=True)
    assert data.names == ("item",)
    assert data.classes[0].tolist() == [0]  # two labels that then are equal count once
    assert read_data(yolo(content="names: [cat]"), "val", single_class=True).names == ("cat",)


def test_files_in_both_of_two_splits_are_counted_whatever_their_path(yolo):
    folder = yolo(content="names: [cat, dog]\ntrain: other\nval: images/val")
    noise(folder / "other" / "c.png")
    (folder / "other" / "c.txt").touch()
    (folder / "other" / "a.png").symlink_to(folder / "images" / "val" / "a.png")
    assert in_both(read_data(folder, "train"), read_data(folder, "val")) == 1


def test_a_folder_of_neither_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"neither annotations/ .COCO. nor data.yaml"):
        read_data(tmp_path, "train")
    with pytest.raises(ValueError, match=r"there is no such file or folder"):
        read_data(tmp_path / "none", "train")
