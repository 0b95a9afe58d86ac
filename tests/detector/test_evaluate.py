"""Scores whose answer is known, and where boxes are placed and drawn."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.detector import pictures
from examples.detector.data import Dataset
from examples.detector.evaluate import find, score
from examples.detector.loader import validation_batches
from examples.detector.sources import read_data


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    boxes = [np.concatenate([rng.uniform(0.3, 0.7, (4, 2)), rng.uniform(0.1, 0.3, (4, 2))], 1) for _ in range(6)]
    boxes[3] = np.zeros((0, 4))
    classes = [np.arange(len(b)) % 3 for b in boxes]
    return Dataset(
        names=("a", "b", "c", "never"), images=(Path("x"),) * 6, sizes=((100, 80),) * 6,
        boxes=tuple(b.astype(np.float32) for b in boxes), classes=tuple(c.astype(np.int32) for c in classes),
        crowds=(np.zeros((0, 5), np.float32),) * 6,
    )  # fmt: skip


def perfect(dataset):
    return [
        np.concatenate([dataset.corners(i), np.full((len(c), 1), 0.9), c[:, None]], 1)
        for i, c in enumerate(dataset.classes)
    ]


def test_perfect_detections_score_one(dataset):
    result = score(dataset, tuple(perfect(dataset)))
    assert (result.map50, result.map) == (1.0, 1.0)
    assert result.fitness == pytest.approx(1.0)
    assert (result.precision, result.recall) == (1.0, 1.0)
    assert result.boxes.tolist() == [10, 5, 5, 0]
    np.testing.assert_array_equal(result.confusion, np.diag([10, 5, 5, 0, 0]))
    assert result.table().splitlines()[1].split() == ["all", "20", "1.000", "1.000", "1.000", "1.000"]


def test_a_class_that_is_never_found_counts_as_zero(dataset):
    found = tuple(table[table[:, 5] != 2] for table in perfect(dataset))
    result = score(dataset, found)
    assert result.map50 == pytest.approx(2 / 3)
    assert result.confusion[4, 2] == 5  # missed: background was predicted


def test_nothing_found_scores_zero(dataset):
    result = score(dataset, (np.zeros((0, 6)),) * 6)
    assert (result.map50, result.map, result.precision, result.recall) == (0.0, 0.0, 0.0, 0.0)


def test_wrong_classes_and_false_alarms_are_confused(dataset):
    found = perfect(dataset)
    found[0][0, 5] = 1  # an "a" called "b"
    found[3] = np.array([[0, 0, 10, 10, 0.8, 2]])
    counts = score(dataset, tuple(found)).confusion
    assert counts[1, 0] == 1
    assert counts[2, 4] == 1


def test_precision_and_recall_are_those_at_the_best_f1(dataset):
    """Each "a" is found at 0.9, and with as many false alarms at 0.3; the best F1 is between the two."""
    found = [
        np.concatenate([
            np.concatenate([dataset.corners(i), np.full((len(c), 1), 0.9), c[:, None]], 1),
            np.array([[0, 0, 5, 5, 0.3, k] for k in c]).reshape(-1, 6),
        ])
        for i, c in enumerate(dataset.classes)
    ]  # fmt: skip
    result = score(dataset, tuple(found))
    # Precision falls along a line from 1 at 0.9 to 0.5 at 0.3; smoothing F1 over 0.1 moves the best by half of that.
    assert 1 - 0.05 * 0.5 / 0.6 <= result.precision <= 1
    assert result.recall == 1
    at = int(0.2 * 999)
    assert result.curves.precision[at, 0] == pytest.approx(0.5)
    assert result.curves.recall[at, 0] == 1
    assert np.isnan(result.curves.recall[:, 3]).all()


def test_pictures_are_drawn_of_any_result(dataset, tmp_path):
    for name, found in (("all", tuple(perfect(dataset))), ("none", (np.zeros((0, 6)),) * 6)):
        folder = tmp_path / name
        folder.mkdir()
        pictures.evaluation(score(dataset, found), folder)
        assert len(list(folder.iterdir())) == 5
        assert all(path.stat().st_size > 5000 for path in folder.iterdir())


@pytest.mark.parametrize("size", [(200, 100), (30, 50), (64, 64), (300, 10), (49, 33)])
def test_what_is_found_is_placed_in_the_image_whatever_its_size(tmp_path, size):
    """A red box, found by its colour in what the network sees, is where the file has it."""
    width, height = size
    true = np.round(np.array([0.25, 0.3, 0.75, 0.8]) * (width, height, width, height)).astype(int)
    pixels = np.full((height, width, 3), 114, np.uint8)
    pixels[true[1] : true[3], true[0] : true[2]] = (255, 0, 0)
    for kind in ("images", "labels"):
        (tmp_path / kind / "val").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "images" / "val" / "a.png")
    (tmp_path / "labels" / "val" / "a.txt").touch()
    (tmp_path / "data.yaml").write_text("names: [red]")
    dataset = read_data(tmp_path, "val")

    def detect(batch):
        image = batch["image"][0].astype(int)
        rows, columns = np.nonzero(image[..., 0] > image[..., 1] + 70)
        return np.array([[[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]]), np.ones((1, 1)), [[0]]

    (found,) = find(detect, dataset, validation_batches(dataset, size=64, batch_size=1))
    pixel = max(1, max(size) / 64)  # of the network's input, in the file's
    np.testing.assert_allclose(found[0, :4], true, atol=1.5 * pixel)


def test_boxes_are_drawn_around_what_they_hold(tmp_path, monkeypatch):
    image = np.full((1, 8, 8, 3), 114, np.uint8)
    image[0, 2:6, 2:6] = (255, 0, 0)
    batch = {"image": image, "boxes": np.array([[[0.5, 0.5, 0.5, 0.5]]]), "classes": np.array([[0]])}
    drawn = []
    monkeypatch.setattr(pictures, "save", lambda figure, path: drawn.append(figure.axes[0]))
    pictures.training_batch(batch, ["red"], tmp_path / "x.png")
    (axis,) = drawn
    box = axis.patches[0].get_bbox().extents
    left, right, _, top = axis.images[0].get_extent()
    pixel = (right - left) / 8
    assert [left + 2 * pixel, top + 2 * pixel, left + 6 * pixel, top + 6 * pixel] == box.tolist()
