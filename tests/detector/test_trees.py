"""Tiles of annotated pictures, from pictures and annotations made here in the package's form."""

import numpy as np
import pytest
from PIL import Image

from examples.detector import trees
from examples.detector.sources import read_data

BOX = "<object><name>Tree</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


@pytest.fixture
def source(tmp_path):
    boxes = [(10, 20, 40, 60), (250, 100, 270, 140), (300, 300, 330, 330)]
    for name in trees.PLACES.values():
        Image.fromarray(np.zeros((300, 520, 3), np.uint8)).save(tmp_path / f"{name}.png")
        text = "".join(BOX.format(*box) for box in boxes)
        (tmp_path / f"{name}.xml").write_text(f"<annotation>{text}</annotation>")
    return tmp_path


def test_tiles_hold_the_boxes_that_are_mostly_in_them(source, tmp_path):
    folder = trees.trees(tmp_path / "written", source)
    val = read_data(folder, "val")
    assert [path.stem for path in val.images] == ["0000_0000", "0000_0256"]
    assert val.names == ("tree",)
    np.testing.assert_allclose(val.corners(0), [[10, 20, 40, 60]], atol=1e-3)
    np.testing.assert_allclose(val.corners(1), [[0, 100, 14, 140]], atol=1e-3)  # 14 of its 20 columns
    train = read_data(folder, "train")
    assert [path.stem for path in train.images] == ["0000_0000", "0000_0128", "0000_0256"]
    np.testing.assert_allclose(train.corners(1), [[122, 100, 142, 140]], atol=1e-3)
    assert train.notes == ()


def test_without_the_package_the_remedy_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps deepforest"):
        trees.trees(tmp_path / "written")
