"""AutoAnchor on boxes whose best anchors are known."""

from pathlib import Path

import numpy as np
import pytest

from examples.detector.autoanchor import best_possible_recall, box_sizes, fit, fitted_anchors, suited
from examples.detector.data import Dataset
from examples.detector.model import ANCHORS

TRUE = np.array([(4, 40), (6, 60), (9, 90), (40, 4), (60, 6), (90, 9), (20, 120), (120, 20), (150, 150)], float)


def dataset(sizes, image=(640, 640)):
    boxes = np.concatenate([np.full((len(sizes), 2), 0.5), sizes / np.array(image)], 1).astype(np.float32)
    return Dataset(("a",), (Path("x"),), (image,), (boxes,), (np.zeros(len(sizes), np.int32),), (np.zeros((0, 5)),))


@pytest.fixture(scope="module")
def sizes():
    rng = np.random.default_rng(0)
    return np.concatenate([wh * rng.uniform(0.9, 1.1, (40, 2)) for wh in TRUE])


def test_fit_is_the_worst_side():
    assert fit(np.array([[10.0, 20.0]]), np.array([[10.0, 10.0], [40.0, 20.0], [10.0, 20.0]])).tolist() == [
        [0.5, 0.25, 1]
    ]


def test_sizes_are_in_pixels_of_the_networks_input():
    np.testing.assert_allclose(box_sizes(dataset(np.array([[320.0, 100.0]]), (640, 200)), 320), [[160, 50]])


def test_anchors_that_fit_are_kept():
    data = dataset(np.array(ANCHORS, float).reshape(-1, 2))
    anchors, note = suited(data, ANCHORS, 640, 4.0)
    assert anchors is ANCHORS
    assert note == "anchors: best possible recall 1.0000"


def test_long_boxes_get_anchors_of_their_shape(sizes):
    before = best_possible_recall(sizes, ANCHORS, 4.0)
    assert before < 0.9
    anchors, note = suited(dataset(sizes), ANCHORS, 640, 4.0)
    assert best_possible_recall(sizes, anchors, 4.0) == 1
    assert f"best possible recall 1.0000 (before: {before:.4f})" in note
    assert [len(level) for level in anchors] == [3, 3, 3]
    areas = np.array(anchors).prod(-1).ravel()
    assert (np.diff(areas) >= 0).all()
    # Within the 10 % by which the boxes scatter, and some for the nine clusters not being found exactly.
    assert np.sort(fit(TRUE, np.array(anchors).reshape(-1, 2)).max(1))[1:].min() > 0.7
    assert fitted_anchors(sizes, 4.0) == fitted_anchors(sizes, 4.0)


def test_too_few_boxes_keep_the_anchors_and_say_so():
    data = dataset(np.array([[5.0, 200.0]] * 20))
    anchors, note = suited(data, ANCHORS, 640, 4.0)
    assert anchors is ANCHORS
    assert "best possible recall only 0.0000; kept, since the boxes have fewer than 9 different sizes" in note
    assert suited(dataset(np.zeros((0, 2))), ANCHORS, 640, 4.0)[0] is ANCHORS
