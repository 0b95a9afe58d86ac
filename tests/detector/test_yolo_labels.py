"""YOLO's label files: lines that are boxes, polygons, or neither."""

import numpy as np
import pytest

from examples.detector.images import Unusable
from examples.detector.yolo_labels import read_label_file

SIZE = (60, 40)


@pytest.fixture
def read(tmp_path):
    def of(text, encoding="utf-8", **options):
        (tmp_path / "a.txt").write_bytes(text.encode(encoding))
        return read_label_file(tmp_path / "a.txt", SIZE, ["cat", "dog"], **options)

    return of


def test_boxes_are_read(read):
    labels = read("1 0.5 0.25 0.2 0.1\r\n\n  0\t0.1 0.1 1e-1 .1  \n1.0 0.5 0.5 1 1")
    assert labels.rows == [[1, 0.5, 0.25, 0.2, 0.1], [0, 0.1, 0.1, 0.1, 0.1], [1, 0.5, 0.5, 1, 1]]
    assert labels.size == SIZE


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
def test_an_empty_file_and_a_missing_one_mean_no_objects(read, tmp_path, text):
    assert read(text).rows == []
    assert read_label_file(tmp_path / "none.txt", SIZE, ["cat"]).rows == []


def test_a_polygon_becomes_the_box_around_it(read):
    labels = read("1 0.2 0.1 0.6 0.3 0.4 0.9\n0 0.5 0.25 0.2 0.1")  # the second stays a box
    np.testing.assert_allclose(labels.rows, [[1, 0.4, 0.5, 0.4, 0.8], [0, 0.5, 0.25, 0.2, 0.1]])


def test_a_byte_order_mark_is_no_number(read):
    assert read("1 0.5 0.25 0.2 0.1", "utf-8-sig").rows == [[1, 0.5, 0.25, 0.2, 0.1]]


def test_boxes_that_stick_out_are_taken_as_yolov5_takes_them(read):
    """It asks for a centre in the image and a size of at most the image's."""
    assert len(read("0 1 0.5 0.5 0.1\n0 0 0 1 1").rows) == 2
    for line in (
        "0 1.05 0.5 0.1 0.1",
        "0 -0.05 0.5 0.1 0.1",
        "0 0.5 0.5 1.1 0.1",
        "0 0.5 0.5 0.1 -0.1",
        "0 300 200 50 40",
    ):
        with pytest.raises(Unusable, match=r"a.txt, line 1 has a box of centre \(.*in an image of 60 x 40 pixels"):
            read(line)
    assert len(read("0 1.0000001 0.5 0.1 0.1").rows) == 1  # rounding


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0.5 0.5 0.5 0.1 0.1", "has class 0.5; it must be 0 or another whole number"),
        ("-1 0.5 0.5 0.1 0.1", "has class -1"),
        ("nan 0.5 0.5 0.1 0.1", "has class nan"),
        ("0 0.5 0.5 0.1", "has 4 numbers; a box has five"),
        ("0 0.5 0.5 0.1 0.1 0.9", "has 6 numbers; a box has five"),  # with a confidence: detections, not labels
        (
            "0 0.1 0.1 0.2 0.2 0.3 0.3 0.4",
            "has 8 numbers; a box has five .* a polygon a class and at least three points",
        ),
        ("0", "has 1 numbers"),
        ("0 nan 0.5 0.1 0.1", "has the box .*nan.* must be finite"),
        ("0 0.1 0.1 inf 0.2 0.3 0.3", "has the box .*inf.* must be finite"),
        ("cat 0.5 0.5 0.1 0.1", "is 'cat 0.5 0.5 0.1 0.1'; it must hold numbers"),
        ("0,0.5,0.5,0.1,0.1", "is '0,0.5,0.5,0.1,0.1'; it must hold numbers"),
    ],
)
def test_a_line_that_is_no_label_is_unusable(read, line, words):
    with pytest.raises(Unusable, match=f"a.txt, line 2 {words}"):
        read(f"0 0.5 0.5 0.1 0.1\n{line}")


def test_another_encoding_is_said(read):
    with pytest.raises(Unusable, match=r"a.txt is not in UTF-8 .*Save it as UTF-8"):
        read("0 0.5 0.5 0.1 0.1", "utf-16")


def test_a_class_without_a_name_stops_as_then_the_names_are_wrong(read):
    with pytest.raises(ValueError, match="line 1 has class 2, but the names are those of classes 0 to 1") as raised:
        read("2 0.5 0.5 0.1 0.1")
    assert not isinstance(raised.value, Unusable)
    assert read("2 0.5 0.5 0.1 0.1", single_class=True).rows == [[0, 0.5, 0.5, 0.1, 0.1]]


def test_boxes_without_area_and_repeated_ones_are_left_out(read):
    labels = read("1 0.5 0.25 0.2 0.1\n1 0.5 0.25 0.2 0.1\n0 0.5 0.25 0.2 0.1\n0 0.5 0.5 0 0.1\n")
    assert [row[0] for row in labels.rows] == [1, 0]
    assert labels.left_out == {"given twice": 1, "without area": 1}
