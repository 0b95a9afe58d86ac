"""Suppression against the greedy loop it stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.detector.suppress import detections, overlaps, suppress, to_draw


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
