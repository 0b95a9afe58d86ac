"""Suppression against the greedy loop it stands for, and scores whose answer is known."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from examples.detector import pictures
from examples.detector.data import Dataset
from examples.detector.evaluate import corners_of, detections, find, overlaps, score, suppress, to_draw
from examples.detector.loader import validation_batches
from examples.detector.sources import read_data


def greedy(corners, overlap):
    """One box after the other: kept unless one that is kept hides it."""
    pairs, kept = np.asarray(overlaps(corners, corners)), []
    for i in range(len(corners)):
        if all(pairs[j, i] <= overlap for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_suppression_is_the_greedy_loop(seed):
    rng = np.random.default_rng(seed)
    low = rng.random((200, 2)) * 100
    corners = jnp.asarray(np.concatenate([low, low + rng.random((200, 2)) * 50 + 1], 1), jnp.float32)
    kept = np.nonzero(np.asarray(jax.jit(suppress, static_argnums=1)(corners, 0.5)))[0].tolist()
    assert kept == greedy(corners, 0.5)
    assert 10 < len(kept) < 190


def test_a_hidden_box_hides_none():
    # 1 hides 2 and 2 would hide 3; 2 is gone, so 3 stays. A single pass would drop it.
    row = jnp.asarray([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]], jnp.float32)
    assert suppress(row, 0.5).tolist() == [True, False, True]


def test_detections_are_sorted_and_suppressed_within_a_class_only():
    box = [50, 50, 20, 20]
    decoded = jnp.asarray(
        [[[*box, 1, 0.9, 0.3], [*box, 1, 0.8, 0.2], [10, 10, 5, 5, 0.5, 0.0, 1.0], [9, 9, 9, 9, 0, 1, 1]]]
    )
    corners, scores, classes = detections(decoded)
    np.testing.assert_allclose(scores[0, :4], [0.9, 0.5, 0.3, 0], rtol=1e-6)
    assert classes[0, :3].tolist() == [0, 1, 1]
    np.testing.assert_allclose(corners[0, 0], [40, 40, 60, 60])


def test_a_drawn_object_has_one_box_of_its_best_class():
    # Two guesses at one object, of which each leans to another class second; half of the first box, and a faint one.
    decoded = jnp.asarray(
        [[[50, 50, 20, 20, 1, 0.9, 0.3], [51, 50, 20, 20, 1, 0.8, 0.4], [55, 50, 20, 20, 1, 0.7, 0.1],
          [10, 10, 5, 5, 0.3, 0.0, 0.8]]]
    )  # fmt: skip
    assert (np.asarray(detections(decoded)[1][0]) > 0.25).sum() == 3  # what evaluation counts
    _, scores, classes = to_draw(decoded)
    np.testing.assert_allclose(scores[0, :2], [0.9, 0], rtol=1e-6)
    assert classes[0, 0] == 0


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
        np.concatenate([corners_of(dataset, i), np.full((len(c), 1), 0.9), c[:, None]], 1)
        for i, c in enumerate(dataset.classes)
    ]


def test_perfect_detections_score_one(dataset):
    result = score(dataset, tuple(perfect(dataset)))
    assert (result.map50, result.map) == (1.0, 1.0)
    assert result.fitness == pytest.approx(1.0)
    assert [row[1] for row in result.per_class] == [10, 5, 5, 0]
    np.testing.assert_array_equal(result.confusion, np.diag([10, 5, 5, 0, 0]))
    assert "all      20     1.000         1.000" in result.table()


def test_a_class_that_is_never_found_counts_as_zero(dataset):
    found = tuple(table[table[:, 5] != 2] for table in perfect(dataset))
    result = score(dataset, found)
    assert result.map50 == pytest.approx(2 / 3)
    assert result.confusion[4, 2] == 5  # missed: background was predicted


def test_nothing_found_scores_zero(dataset):
    result = score(dataset, (np.zeros((0, 6)),) * 6)
    assert (result.map50, result.map) == (0.0, 0.0)


def test_wrong_classes_and_false_alarms_are_confused(dataset):
    found = perfect(dataset)
    found[0][0, 5] = 1  # an "a" called "b"
    found[3] = np.array([[0, 0, 10, 10, 0.8, 2]])
    counts = score(dataset, tuple(found)).confusion
    assert counts[1, 0] == 1
    assert counts[2, 4] == 1


def test_pictures_are_drawn_of_any_result(dataset, tmp_path):
    for found in (tuple(perfect(dataset)), (np.zeros((0, 6)),) * 6):
        result = score(dataset, found)
        pictures.confusion(result, dataset.names, tmp_path / "c.png")
        pictures.precision_recall(result, dataset.names, tmp_path / "p.png")
    assert (tmp_path / "c.png").stat().st_size > 5000
    assert (tmp_path / "p.png").stat().st_size > 5000


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

    def detect(images):
        rows, columns = np.nonzero(images[0, ..., 0] > images[0, ..., 1] + 70)
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
