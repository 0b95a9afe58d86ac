"""Checkpoints without a run: which are kept, what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from examples.detector.checkpoint import Checkpoints
from examples.detector.weights import Description, Weights, load, read_npz, save

DESCRIPTION = Description(("cat", "dog"), 0.33, 0.125, 64)
STATE = {"a": jnp.arange(3.0), "b": (jnp.ones((2, 2)), jnp.int32(4))}


def written(folder, fitness, **options):
    """Checkpoints of steps 1, 2, ... with these fitnesses."""
    checkpoints = Checkpoints(folder, **options)
    for step, value in enumerate(fitness, 1):
        state = {"a": STATE["a"] * step, "b": STATE["b"]}
        weights = Weights(DESCRIPTION, {"w": np.full(2, step, np.float32)})
        checkpoints.save(step, state, weights, {"step": step}, value)
    checkpoints.close()
    return Checkpoints(folder)


def test_the_last_two_the_best_and_every_so_many_are_kept(tmp_path):
    kept = written(tmp_path / "a", [0.1, 0.5, None, 0.5, 0.2, None])
    assert kept.steps() == [6, 5, 2]
    assert kept.best() == 2
    assert kept.weights().arrays["w"].tolist() == [2, 2]
    assert kept.weights().description == DESCRIPTION
    assert written(tmp_path / "b", [0.1] * 7, keep_every=3).steps() == [7, 6, 3, 1]
    assert written(tmp_path / "c", [None] * 3).weights().arrays["w"].tolist() == [3, 3]


def test_a_state_comes_back_with_its_structure(tmp_path):
    state, progress = written(tmp_path, [0.1, 0.2]).restore(STATE)
    assert progress["step"] == 2
    np.testing.assert_array_equal(state["a"], STATE["a"] * 2)
    assert state["b"][1].dtype == jnp.int32


def test_every_flipped_bit_is_noticed(tmp_path):
    """Bits all over the file: each gives the state as saved, or the checkpoint before."""
    written(tmp_path, [0.1, 0.2])
    last = tmp_path / "step-0000002.npz"
    good = last.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(good), 60):
        content = bytearray(good)
        content[place] ^= 1 << (place % 8)
        last.write_bytes(content)
        state, progress = Checkpoints(tmp_path).restore(STATE)
        np.testing.assert_array_equal(state["a"], STATE["a"] * progress["step"])


def test_foreign_files_are_left_alone(tmp_path):
    for name in ("notes.txt", "step-x.npz", "step-0000009 (copy).npz"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "5").mkdir()
    (tmp_path / ".step-0000001.npz.writing").write_text("left by a run that was killed")
    checkpoints = written(tmp_path, [0.1])
    assert checkpoints.steps() == [1]
    assert checkpoints.notes == []
    assert {p.name for p in tmp_path.iterdir()} == {
        "notes.txt", "step-x.npz", "step-0000009 (copy).npz", "5", "step-0000001.npz",
    }  # fmt: skip


def test_a_state_that_is_not_finite_is_not_saved(tmp_path):
    checkpoints = written(tmp_path, [0.1])
    with pytest.raises(FloatingPointError, match=r"1 arrays of the state are not finite, first a"):
        checkpoints.save(2, STATE | {"a": jnp.full(3, jnp.nan)}, Weights(DESCRIPTION, {}), {"step": 2}, 0.9)
    assert checkpoints.steps() == [1]


def test_where_all_are_damaged_one_line_says_so(tmp_path):
    written(tmp_path / "checkpoints", [0.1])
    (tmp_path / "checkpoints" / "step-0000001.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"--weights: .* holds no good checkpoint: .*step-0000001.npz is damaged"):
        load(tmp_path)
    with pytest.raises(ValueError, match=r"--resume: .* holds no good checkpoint: .* Start without --resume"):
        Checkpoints(tmp_path / "checkpoints").restore(STATE)
    assert Checkpoints(tmp_path / "checkpoints").any()


def test_weights_are_a_file_too(tmp_path):
    save(tmp_path / "w.npz", Weights(DESCRIPTION, {"a/b": np.arange(3.0)}))
    found = read_npz(tmp_path / "w.npz")
    assert found.description == DESCRIPTION
    np.testing.assert_array_equal(found.arrays["a/b"], np.arange(3.0))
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    with pytest.raises(ValueError, match=r"other.npz has no description of its network"):
        load(tmp_path / "other.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "w.npz").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cut.npz is damaged .*Copy it again"):
        load(tmp_path / "cut.npz")
    (tmp_path / "w.txt").write_text("")
    with pytest.raises(ValueError, match=r"must be a run's folder, an .npz or a .pt"):
        load(tmp_path / "w.txt")
    with pytest.raises(ValueError, match="there is no such file or folder"):
        load(tmp_path / "nowhere")
