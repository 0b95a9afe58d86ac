"""Detecting in images, and the command line of all the programs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from examples.detector import detect as detecting
from examples.detector import weights
from examples.detector.__main__ import main
from examples.detector.detect import images_of
from examples.detector.detector import Box, Detector
from examples.detector.model import ANCHORS
from examples.detector.weights import Description, Weights, flat_state

from .conftest import noise

pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A network without training, as a file; its head gives each cell the class "b" with some certainty."""
    description = Description(("a", "b"), 0.33, 0.0625, 32, ANCHORS)
    path = tmp_path_factory.mktemp("weights") / "w.npz"
    rng = np.random.default_rng(0)
    arrays = {k: rng.normal(0, 0.1, x.shape).astype(np.float32) for k, x in flat_state(description.abstract()).items()}
    arrays |= {k: np.ones_like(x) for k, x in arrays.items() if k.endswith(("scale", "var"))}
    for level in range(3):
        arrays[f"head/levels/{level}/bias"] = np.tile(np.float32([0, 0, 0, 0, 1, -1, 1]), 3)
    weights.save(path, Weights(description, arrays))
    return path


def test_five_lines_of_python(file):
    detector = Detector.load(file)
    image = np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8)
    boxes = detector(image)
    assert boxes
    assert {box.name for box in boxes} == {"b"}
    assert all(box.score > 0.25 for box in boxes)
    assert sorted((box.score for box in boxes), reverse=True) == [box.score for box in boxes]
    for box in boxes:
        left, top, right, bottom = box.corners
        assert 0 <= left <= right <= 96
        assert 0 <= top <= bottom <= 48
    # One image at a time or several together, with a part of a batch left over.
    (_, again, _) = detector.each([image[::-1].copy(), image, image], batch_size=2)
    np.testing.assert_allclose([b.score for b in again], [b.score for b in boxes], rtol=1e-5)


def test_files_of_an_image(file, tmp_path, capsys):
    noise(tmp_path / "in" / "deep" / "a.png", (96, 48))
    noise(tmp_path / "in" / "a.jpg", (50, 50))
    out = tmp_path / "out"
    main(["detect", str(tmp_path / "in"), "--weights", str(file), "--out", str(out), "--confidence", "0.3"])
    assert {p.name for p in out.iterdir()} == {"a.png", "a.txt", "a-2.png", "a-2.txt", "detections.json"}
    found = json.loads((out / "detections.json").read_text())
    assert len(found) == 2
    assert Image.open(out / "a-2.png").size == (96, 48)
    boxes = found[str(tmp_path / "in" / "deep" / "a.png")]
    lines = (out / "a-2.txt").read_text().splitlines()
    assert len(lines) == len(boxes) > 0
    number, x, y, w, h, score = map(float, lines[0].split())
    left, top, right, bottom = boxes[0]["corners"]
    np.testing.assert_allclose([x * 96, y * 48, w * 96, h * 48], [
        (left + right) / 2, (top + bottom) / 2, right - left, bottom - top], rtol=1e-4, atol=1e-3)  # fmt: skip
    assert (number, score) == (1, pytest.approx(boxes[0]["score"], rel=1e-5))
    assert "2 images in" in capsys.readouterr().out


def test_images_are_files_folders_and_patterns(tmp_path):
    for name in ("x/a.png", "x/deep/b.jpg", "c.png"):
        noise(tmp_path / name)
    (tmp_path / "x" / "notes.txt").write_text("")
    assert [p.name for p in images_of([tmp_path / "x"])] == ["a.png", "b.jpg"]
    assert [p.name for p in images_of([tmp_path / "c.png", tmp_path / "x" / "*.png"])] == ["c.png", "a.png"]
    for nothing in (tmp_path / "none", tmp_path / "*.bmp"):
        with pytest.raises(ValueError, match="there is no such image, and no folder or pattern of images"):
            list(images_of([nothing]))


def test_boxes_are_drawn_where_they_are():
    pixels = np.zeros((100, 200, 3), np.uint8)
    drawn = np.asarray(detecting.draw(pixels, [Box("cat", 0.5, (50, 40, 150, 90), 3)]))
    rows, columns = np.nonzero((drawn == (0xD6, 0x27, 0x28)).all(-1))
    assert (columns.min(), columns.max(), rows.max()) == (50, 149, 89)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["detect", "nowhere.png", "--weights", "w.npz"], "nowhere.png: there is no such image"),
        (["validate", "--weights", "nowhere"], "--weights nowhere: there is no such file or folder"),
        (["export", "--weights", "nowhere"], "--weights nowhere: there is no such file or folder"),
    ],
)  # fmt: skip
def test_errors_are_one_line(arguments, said):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert str(caught.value).startswith(f"error: {said}")


@pytest.mark.parametrize("command", ["train", "validate", "detect", "export"])
def test_each_program_lists_its_options(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "--weights" in capsys.readouterr().out


def test_wrong_images_and_options_are_refused(file):
    found = weights.load(file)
    with pytest.raises(ValueError, match="--image-size is 50; it must be a multiple of 32"):
        Detector(found, image_size=50)
    with pytest.raises(ValueError, match="--confidence is 1; it must be from 0 to below 1"):
        Detector(found, confidence=1)
    with pytest.raises(ValueError, match=r"an image must be uint8 \[height, width, 3\], got float32 \[4, 4, 3\]"):
        Detector(found)(np.zeros((4, 4, 3), np.float32))


def test_anchors_and_sizes_come_with_the_weights(file):
    """Twice the anchors, boxes of twice the size."""
    found = weights.load(file)
    double = tuple(tuple((2 * w, 2 * h) for w, h in level) for level in ANCHORS)
    other = Weights(Description(**{**found.description.__dict__, "anchors": double}), found.arrays)
    from examples.detector.detector import raw_predictions
    from examples.detector.model import decode

    sizes = []
    for given in (found, other):
        graph, params, stats = nnx.split(given.model(), nnx.Param, nnx.BatchStat)
        images = jnp.zeros((1, 32, 32, 3), jnp.uint8)
        predict = jax.jit(lambda *arguments, graph=graph: decode(*raw_predictions(graph)(*arguments)))
        sizes.append(predict(nnx.as_pure(params), nnx.as_pure(stats), images)[0, :, 2:4])
    np.testing.assert_allclose(sizes[1], 2 * sizes[0], rtol=1e-6)
