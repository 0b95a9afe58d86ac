"""Pictures: what must be seen is seen."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from examples.detector import pictures
from examples.detector.label_pictures import labels
from examples.detector.sources import read_data


def drawn(colour, background, dashed, boxed):
    """An image of one colour, with a box or without, as drawn."""
    figure, (axis,) = pictures.tiles(1, "")
    pictures.draw_pixels(axis, np.full((32, 32, 3), background, np.uint8))
    if boxed:
        pictures.draw_box(axis, (8, 8, 24, 24), "", colour, dashed=dashed)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    plt.close(figure)
    return pixels


@pytest.mark.parametrize("background", [0, 128, 255])
def test_true_boxes_are_seen_on_any_image(background):
    with_box, without = (drawn("white", background, True, boxed) for boxed in (True, False))
    changed = abs(with_box - without).max(-1) > 100  # of 255
    assert changed.sum() > 100  # pixels


def test_labels_are_counted_and_placed(yolo, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("examples.detector.label_pictures.save", lambda figure, path: drawn.append(figure))
    labels(read_data(yolo("1 0.5 0.25 0.2 0.1\n1 0.1 0.1 0.1 0.1\n0 0.5 0.5 0.4 0.4"), "val"), tmp_path / "labels.png")
    (figure,) = drawn
    counts, sizes, centres, _ = figure.axes
    assert [bar.get_height() for bar in counts.patches] == [1, 2]
    assert [label.get_text() for label in counts.get_xticklabels()] == ["cat", "dog"]
    outline = sizes.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose([outline.min(0), outline.max(0)], [[0.4, 0.45], [0.6, 0.55]], rtol=1e-6)
    assert centres.collections[0].get_array().sum() == 3
    figure.canvas.draw()
    plt.close(figure)


def test_labels_of_one_box_or_none_are_drawn(yolo, tmp_path):
    labels(read_data(yolo(""), "val"), tmp_path / "labels.png")
    assert (tmp_path / "labels.png").stat().st_size > 5000


def test_names_are_drawn_as_written(yolo, tmp_path):
    """Matplotlib would read what is between dollars as a formula, and fail at the end of a training on a wrong one."""
    folder = yolo(content="names: ['a $^', '$ \\frac{_ $']\n")
    data = read_data(folder, "val")
    labels(data, tmp_path / "labels.png")
    batch = {"image": data.pixels(0)[None], "boxes": data.boxes[0][None], "classes": np.zeros((1, 1), int)}
    pictures.training_batch(batch, data.names, tmp_path / "batch.png")


@pytest.mark.parametrize("top", [0, 1, 16])
def test_the_name_of_a_box_is_within_the_image(top):
    figure, (axis,) = pictures.tiles(1, "")
    pictures.draw_pixels(axis, np.zeros((32, 32, 3), np.uint8))
    pictures.draw_box(axis, (4, top, 12, 30), "cat", "red")
    figure.canvas.draw()
    assert axis.texts[0].get_window_extent().y1 <= axis.get_window_extent().y1
    plt.close(figure)
