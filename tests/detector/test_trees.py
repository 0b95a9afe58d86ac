"""Tiles of annotated pictures, from pictures and annotations made here in the package's form."""

import numpy as np
import pytest
from PIL import Image

from examples.detector import trees
from examples.detector.sources import read_data

BOX = "<object><name>Tree</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


@pytest.fixture
def source(tmp_path):
    boxes = [(10, 20, 40, 60), (122, 100, 142, 120), (300, 30, 330, 60)]
    for name in trees.PICTURES:
        Image.fromarray(np.zeros((140, 380, 3), np.uint8)).save(tmp_path / f"{name}.png")
        text = "".join(BOX.format(*box) for box in boxes)
        (tmp_path / f"{name}.xml").write_text(f"<annotation>{text}</annotation>")
        boxes = []
    return tmp_path


def test_tiles_hold_the_boxes_that_are_mostly_in_them(source, tmp_path, monkeypatch):
    monkeypatch.setattr(trees, "TILE", 64)
    folder = trees.trees(tmp_path / "written", source)
    train, val = read_data(folder, "train"), read_data(folder, "val")
    assert [path.stem for path in val.images] == ["0_0000_0285", "1_0000_0285"]
    assert [path.stem for path in train.images] == [
        f"{n}_{top:04d}_{left:04d}" for n in (0, 1) for top in (0, 64) for left in (0, 64, 128, 192)
    ]
    assert val.names == ("tree",)
    np.testing.assert_allclose(val.corners(0), [[15, 30, 45, 60]], atol=1e-3)
    np.testing.assert_allclose(train.corners(0), [[10, 20, 40, 60]], atol=1e-3)
    assert [len(boxes) for boxes in train.boxes[:4]] == [1, 0, 0, 0]
    np.testing.assert_allclose(train.corners(6), [[0, 36, 14, 56]], atol=1e-3)  # 14 of its 20 columns
    assert len(train.boxes[5]) == 0  # 6 of its 20 columns
    assert train.notes == val.notes == ()


def test_without_the_package_the_remedy_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps deepforest"):
        trees.trees(tmp_path / "written")
