"""Batches: the same from the seed whatever loads them, resumable, with boxes that stay on their objects."""

import itertools
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.detector.augment import Augmentation, colour, fitted, flip, letterbox, mosaic, warp
from examples.detector.loader import batch_shape, training_batches, training_sizes, validation_batches
from examples.detector.loss import Gains, detection_loss
from examples.detector.model import ANCHORS
from examples.detector.scenes import scenes
from examples.detector.sources import read_data

from .conftest import noise

RUN = {"size": 64, "batch_size": 4, "epochs": 2, "seed": 3}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return read_data(scenes(tmp_path_factory.mktemp("data") / "scenes", {"train": 10, "val": 5}), "train")


@pytest.fixture(scope="module")
def whole(images):
    return list(training_batches(images, Augmentation(), threads=1, **RUN))


def same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        assert all(np.array_equal(x[k], y[k]) for k in x)


def test_an_epoch_drops_what_fills_no_batch(whole):
    assert len(whole) == 2 * (10 // 4)
    assert whole[0]["image"].shape == (4, 64, 64, 3)
    assert whole[0]["image"].dtype == np.uint8


@pytest.mark.parametrize(("threads", "workers"), [(3, 0), (1, 2)])
def test_batches_do_not_depend_on_who_loads_them(images, whole, threads, workers):
    same(list(training_batches(images, Augmentation(), threads=threads, workers=workers, **RUN)), whole)


def test_workers_end_with_the_process_they_load_for(images):
    program = (
        "import os, sys; from examples.detector.augment import Augmentation\n"
        "from examples.detector.sources import read_data; from examples.detector.loader import training_batches\n"
        "data = read_data(sys.argv[1], 'train')\n"
        "batches = training_batches(data, Augmentation(), workers=1, **eval(sys.argv[2]))\n"
        "next(batches); os.kill(os.getpid(), 9)"
    )
    words = [sys.executable, "-c", program, images.images[0].parents[1], repr(RUN | {"epochs": 100})]
    # The pipe is at its end when all who may write to it have ended.
    ended = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    assert ended.returncode == -9, ended.stderr


def test_another_seed_gives_other_batches(images, whole):
    other = next(training_batches(images, Augmentation(), **(RUN | {"seed": 4})))
    assert not np.array_equal(other["image"], whole[0]["image"])


@pytest.mark.parametrize(("before", "after"), [(0, 0), (0, 2), (2, 1)])
def test_loading_goes_on_where_its_state_says_whoever_loads(images, whole, before, after):
    batches = training_batches(images, Augmentation(), workers=before, **RUN)
    first = list(itertools.islice(batches, 2))
    state = batches.get_state()
    same(first, whole[:2])
    again = training_batches(images, Augmentation(), workers=after, **RUN)
    again.set_state(state)
    same(list(again), whole[2:])


def test_processes_load_the_parts_of_one_batch(images, whole):
    parts = [list(training_batches(images, Augmentation(), shard=(i, 2), **RUN)) for i in range(2)]
    joined = [{k: np.concatenate([a[k], b[k]]) for k in a} for a, b in zip(*parts, strict=True)]
    same(joined, whole)


def test_a_batch_larger_than_the_data_is_refused(images):
    with pytest.raises(ValueError, match=r"--batch-size 16 is more than the 10 training images"):
        training_batches(images, Augmentation(), **(RUN | {"batch_size": 16}))


def test_validation_sees_each_image_once(images):
    for rectangular, side in ((False, 64), (True, 96)):
        batches = list(validation_batches(images, size=64, batch_size=4, rectangular=rectangular))
        assert np.concatenate([b["index"] for b in batches]).tolist() == [*range(10), -1, -1]
        assert {b["image"].shape for b in batches} == {(4, side, side, 3)}


@pytest.mark.parametrize(
    ("ratios", "size", "shape"),
    [
        ([1.0], 640, (672, 672)),  # ceil(20 + 0.5) strides of 32
        ([0.5, 0.75], 640, (512, 672)),  # all wide: the tallest decides; ceil(15.5) = 16
        ([0.66, 427 / 640], 640, (448, 672)),  # ceil(13.84) = 14
        ([2.0, 1.5], 640, (672, 448)),  # all tall: the widest decides; ceil(13.83) = 14
        ([0.5, 2.0], 640, (672, 672)),
        ([0.1], 64, (32, 96)),
    ],
)
def test_a_batch_is_as_large_as_in_val_py(ratios, size, shape):
    assert batch_shape(np.array(ratios), size) == shape


def test_validation_batches_hold_images_of_like_proportions(tmp_path):
    sizes = [(60, 60), (30, 60), (60, 24), (36, 60), (60, 30)]
    for number, size in enumerate(sizes):
        noise(tmp_path / "images" / "val" / f"{number}.png", size)
    (tmp_path / "labels" / "val").mkdir(parents=True)
    (tmp_path / "labels" / "val" / "0.txt").touch()
    (tmp_path / "data.yaml").write_text("names: [cat]")
    data = read_data(tmp_path, "val")
    batches = list(validation_batches(data, size=120, batch_size=2))
    assert [b["index"].tolist() for b in batches] == [[2, 4], [0, 3], [1, -1]]
    assert [b["image"].shape[1:3] for b in batches] == [(96, 160), (160, 160), (160, 96)]
    # Resized to a longer side of 120 and centred, not resized further to fill the batch.
    np.testing.assert_allclose(batches[0]["place"][1], [2, 2, 20, 18])
    np.testing.assert_array_equal(batches[0]["image"][1][18:78, 20:140], fitted(data.pixels(4), 120))


def test_with_multi_scale_batches_are_resized_versions_of_the_same(images, whole):
    assert training_sizes(640, True) == [320, 480, 640, 800, 960]
    assert training_sizes(64, True) == [32, 64, 96]
    assert training_sizes(64, False) == [64]
    run = RUN | {"epochs": 6}
    batches = list(training_batches(images, Augmentation(), multi_scale=True, **run))
    sides = [b["image"].shape[1] for b in batches]
    assert set(sides) == {32, 64, 96}
    assert all(b["image"].shape == (4, side, side, 3) for b, side in zip(batches, sides, strict=True))
    for batch, plain in zip(batches, whole, strict=False):
        assert np.array_equal(batch["boxes"], plain["boxes"])  # fractions
        for image, original in zip(batch["image"], plain["image"], strict=True):
            assert np.array_equal(image, fitted(original, len(image)))
    again = training_batches(images, Augmentation(), multi_scale=True, shard=(1, 2), **run)
    assert [b["image"].shape[:2] for b in again] == [(2, side) for side in sides]


def square(colour_=(255, 0, 0), corners=(10, 20, 30, 50)):
    """A grey image with one coloured box, and its label."""
    pixels = np.full((64, 64, 3), 114, np.uint8)
    x0, y0, x1, y1 = corners
    pixels[y0:y1, x0:x1] = colour_
    return pixels, np.array([[1, *corners]], np.float32)


def seen(pixels):
    """Corners of what is red."""
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 60)
    rows, columns = np.nonzero(red.any(1))[0], np.nonzero(red.any(0))[0]
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize("seed", range(4))
def test_boxes_move_with_what_they_hold(seed):
    rng = np.random.default_rng(seed)
    a = Augmentation(translate=0.1, scale=0.3, flipud=0.5, fliplr=0.5)
    pixels, labels = flip(rng, warp(rng, square(), 64, a), a)
    np.testing.assert_allclose(labels[0, 1:], seen(pixels), atol=1.6)  # edges are blended over a pixel


@pytest.mark.parametrize("seed", range(4))
def test_boxes_hold_all_of_what_is_turned_sheared_and_tilted(seed):
    rng = np.random.default_rng(seed)
    a = Augmentation(degrees=20, shear=5, perspective=0.001, scale=0.2)
    pixels, labels = warp(rng, square(), 64, a)
    got, held = labels[0, 1:], seen(pixels)
    assert got[0] <= held[0] + 1
    assert got[1] <= held[1] + 1
    assert got[2] >= held[2] - 1
    assert got[3] >= held[3] - 1


def test_a_mosaic_holds_four_images_around_its_centre():
    canvas, labels = mosaic(np.random.default_rng(0), [square() for _ in range(4)], 64)
    assert canvas.shape == (128, 128, 3)
    assert len(labels) == 4
    for _, x0, y0, x1, y1 in labels.astype(int):
        inside = canvas[y0:y1, x0:x1]
        assert (inside == (255, 0, 0)).all()


def test_colour_keeps_hue_without_gain_and_changes_it_with():
    pixels, _ = square((200, 100, 50))
    same_ = colour(np.random.default_rng(0), pixels, Augmentation(hsv_h=0, hsv_s=0, hsv_v=0))
    assert same_ is pixels
    changed = colour(np.random.default_rng(0), pixels, Augmentation(hsv_h=0.1, hsv_s=0, hsv_v=0.3))
    assert (changed != pixels).any()


def test_letterbox_centres_in_grey():
    canvas, factor, left, top = letterbox(np.zeros((20, 40, 3), np.uint8), (64, 64))
    assert (factor, left, top) == (1.6, 0, 16)
    assert (canvas[:16] == 114).all()
    assert (canvas[16:48] == 0).all()
    assert (canvas[48:] == 114).all()


def test_images_without_boxes_make_a_batch_with_a_finite_loss(yolo):
    data = read_data(yolo(""), "val")
    batch = next(iter(training_batches(data, Augmentation(), size=64, batch_size=2, epochs=1, seed=0)))
    assert (batch["classes"] == -1).all()
    raw = [jnp.zeros((2, 3, n, n, 7)) for n in (8, 4, 2)]
    value, parts = jax.jit(lambda *args: detection_loss(*args, ANCHORS, Gains()))(raw, batch["boxes"], batch["classes"])
    assert np.isfinite(value)
    assert float(parts[0]) == float(parts[2]) == 0 < float(parts[1])  # nothing but "no object here" to learn
