"""The loss against YOLOv5's own numbers: loss.npz, recorded under torch 2.13.0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.detector.loss import Gains, detection_loss, label_lengths, level_loss, match, weighted_parts
from examples.detector.model import ANCHORS, STRIDES

from .recorded import recorded

pytestmark = pytest.mark.usefixtures("compile_quickly")


def in_cells(level):
    return np.array(ANCHORS[level]) / STRIDES[level]


CASES = ("base", "empty", "one_small", "smooth_focal")


def padded(targets, batch=4, length=80):
    """YOLOv5's rows of (image, class, box) as padded labels."""
    boxes, classes = np.zeros((batch, length, 4), np.float32), np.full((batch, length), -1, np.int32)
    for image in range(batch):
        rows = targets[targets[:, 0] == image]
        boxes[image, : len(rows)], classes[image, : len(rows)] = rows[:, 2:], rows[:, 1]
    return boxes, classes


def gains_of(case):
    golden = recorded("loss")
    names = Gains.__dataclass_fields__
    return Gains(**{k: float(golden[f"{case}/hyp/{k}"]) for k in names if f"{case}/hyp/{k}" in golden})


# One compiled program for all cases of equal gains.
loss_and_gradients = jax.jit(jax.value_and_grad(detection_loss, has_aux=True), static_argnums=(3, 4))
levels = jax.jit(level_loss, static_argnums=4)
matches = jax.jit(match, static_argnums=(3, 4))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_loss_and_gradients_agree_with_yolov5(case, precision):
    golden, double = recorded("loss"), precision == "float64"
    part = "float64/" if double else ""
    boxes, classes = padded(golden[f"{case}/targets"])
    with jax.enable_x64(double):
        raw = [jnp.asarray(golden[f"pred{i}"], precision) for i in range(3)]
        labels = jnp.asarray(boxes, precision), jnp.asarray(classes)
        (total, parts), grads = loss_and_gradients(raw, *labels, ANCHORS, gains_of(case))
        total, parts, grads = jax.tree.map(np.asarray, (total, parts, grads))
    rtol = 1e-10 if double else 1e-5
    np.testing.assert_allclose(total, golden[f"{case}/{part}total"], rtol=rtol)
    want = [float(golden[f"{case}/{part}{name}"].item()) for name in ("lbox", "lobj", "lcls")]
    np.testing.assert_allclose(parts, want, rtol=rtol)
    for level, grad in enumerate(grads):
        want = golden[f"{case}/{part}grad{level}"]
        np.testing.assert_allclose(grad, want, atol=1e-12 if double else 2e-8, rtol=0 if double else 1e-4)


@pytest.mark.parametrize("case", ["base", "empty", "one_small"])
def test_targets_are_built_as_yolov5_builds_them(case):
    golden = recorded("loss")
    boxes, classes = padded(golden[f"{case}/targets"])
    for level in range(3):
        rows, columns = golden[f"pred{level}"].shape[2:4]
        got = matches(boxes, classes, in_cells(level), rows, columns)
        valid = np.moveaxis(got.valid, 0, 2)  # offsets, anchors, images, labels: YOLOv5's order
        assert valid.sum() == golden[f"{case}/built/count{level}"]
        _, anchor, image, label = np.nonzero(valid)
        ordered = {k: np.moveaxis(v, 0, 2)[valid] for k, v in got._asdict().items()}
        index = np.stack([image, anchor, ordered["row"], ordered["column"]], -1)
        np.testing.assert_array_equal(index, golden[f"{case}/built/index{level}"].reshape(-1, 4))
        np.testing.assert_array_equal(classes[image, label], golden[f"{case}/built/class{level}"])
        np.testing.assert_allclose(ordered["box"], golden[f"{case}/built/tbox{level}"].reshape(-1, 4), atol=1e-6)
        np.testing.assert_allclose(ordered["anchor"], golden[f"{case}/built/anch{level}"].reshape(-1, 2), atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_last_target_in_a_cell_gives_its_objectness(case):
    golden = recorded("loss")
    boxes, classes = padded(golden[f"{case}/targets"])
    for level in range(3):
        raw = jnp.asarray(golden[f"pred{level}"])
        _, objectness = levels(raw, boxes, classes, in_cells(level), gains_of(case))
        np.testing.assert_allclose(objectness, golden[f"{case}/tobj{level}"], atol=2e-6)


def test_padding_changes_nothing():
    golden = recorded("loss")
    raw = [jnp.asarray(golden[f"pred{i}"]) for i in range(3)]
    values = [
        loss_and_gradients(raw, *padded(golden["base/targets"], length=length), ANCHORS, gains_of("base"))[0][0]
        for length in (40, 80)  # 80 is compiled already
    ]
    np.testing.assert_allclose(*values, rtol=1e-6)


def test_gains_are_scaled_as_yolov5_scales_them():
    hyp = {"box": 0.05, "cls": 0.5, "obj": 1.0, "anchor_t": 4.0, "lr0": 0.01}
    gains = Gains.from_hyp(hyp, classes=10, image_size=64)
    assert (gains.box, gains.cls) == (0.05, 0.0625)
    assert gains.obj == pytest.approx(0.01)


def test_few_labels_in_long_padding_take_a_short_branch_of_one_program():
    """The value and the gradient are those of the whole length, and nothing is compiled anew."""
    rng, length = np.random.default_rng(0), 100
    assert label_lengths(length) == [25, 100]
    assert label_lengths(2872) == [45, 180, 718, 2872]
    raw = [jnp.asarray(rng.normal(size=(2, 3, n, n, 8)), jnp.float32) for n in (4, 2, 1)]

    def whole(raw, boxes, classes):
        return 2 * weighted_parts(raw, boxes, classes, ANCHORS, Gains()).sum()

    short = jax.jit(jax.value_and_grad(lambda *args: detection_loss(*args, ANCHORS, Gains()), has_aux=True))
    value = jax.jit(jax.value_and_grad(whole))
    for used in (0, 25, 26, 100):
        boxes, classes = np.zeros((2, length, 4), np.float32), np.full((2, length), -1, np.int32)
        boxes[1, :used] = rng.uniform(0.1, 0.9, (used, 4))
        classes[1, :used] = rng.integers(0, 3, used)
        (total, parts), grads = short(raw, boxes, classes)
        expected, expected_grads = value(raw, boxes, classes)
        np.testing.assert_allclose(total, expected, rtol=1e-5)  # sums of 2e3 terms, in another order
        np.testing.assert_allclose(2 * parts.sum(), total, rtol=1e-6)
        for got, want in zip(grads, expected_grads, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    assert short._cache_size() == 1
