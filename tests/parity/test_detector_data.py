"""The detector's reading of labels, images and validation batches against Ultralytics' own."""

import importlib.util
import os
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from examples.detector.images import check_image, read_image
from examples.detector.loader import ValidationSamples
from examples.detector.yolo_labels import read_label_file
from examples.detector.yolo_paths import labels_of

cv2 = pytest.importorskip("cv2")
if importlib.util.find_spec("ultralytics") is None:
    pytest.skip("ultralytics is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    os.environ.setdefault("YOLO_CONFIG_DIR", str(tmp_path_factory.mktemp("ultralytics")))
    os.environ.setdefault("YOLO_OFFLINE", "true")
    from ultralytics.data import base, utils

    return types.SimpleNamespace(
        verify=utils.verify_image_label, label_paths=utils.img2label_paths, set_rectangle=base.BaseDataset.set_rectangle
    )


@pytest.mark.parametrize(
    "lines",
    [
        "1 0.5 0.25 0.2 0.1", "0 1 0.5 0.5 0.1", "0 0.5 0.5 1 1", "0 9 9 9 9", "0 0.5 0.5 0.1 -0.1", "0 0.5 0.5 0.1",
        "0 0.5 0.5 0.1 0.1 0.9", "0 0.1 0.1 0.2 0.2 0.3 0.3", "0 0.1 0.1 0.2 0.2 0.3", "0 -0.1 0.1 0.2 0.2 0.3 0.3",
        "0.5 0.5 0.5 0.1 0.1", "-1 0.5 0.5 0.1 0.1", "", "nan 0.5 0.5 0.1 0.1", "0 nan 0.5 0.1 0.1", "cat 0 0 1 1",
        "0 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1", "1.0 0.5 0.5 0.1 0.1", "0 inf 0.5 0.1 0.1", "2 0.5 0.5 0.1 0.1",
    ],
)  # fmt: skip
def test_labels_are_read_or_refused_as_ultralytics_does(theirs, tmp_path, lines):
    image, file = tmp_path / "a.png", tmp_path / "a.txt"
    Image.new("RGB", (60, 40)).save(image)
    file.write_text(lines)
    path, boxes, *_ = theirs.verify((str(image), str(file), "", False, 2, 0, 0, False))
    if path is None:
        with pytest.raises(ValueError, match=r"a\.txt, line 1"):
            read_label_file(file, (60, 40), ["cat", "dog"])
    else:
        rows = np.array(read_label_file(file, (60, 40), ["cat", "dog"]).rows).reshape(-1, 5)
        np.testing.assert_allclose(rows, boxes, rtol=1e-6)


@pytest.mark.parametrize("ending", ["bmp", "jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("turn", [1, 3, 6])
def test_images_are_decoded_as_opencv_does(theirs, tmp_path, ending, turn):
    if (ending, turn) in (("tif", 6), ("bmp", 3), ("bmp", 6)):
        return  # OpenCV 5.0 fails on a TIFF image on its side; BMP has no orientation
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30] = 250
    path = tmp_path / f"a.{ending}"
    Image.fromarray(pixels).save(path, **({} if ending == "bmp" else {"exif": exif}))
    width, height = check_image(path)
    assert theirs.verify((str(path), str(tmp_path / "a.txt"), "", False, 2, 0, 0, False))[2] == (height, width)
    np.testing.assert_array_equal(read_image(path)[..., ::-1], cv2.imread(str(path)))


def test_labels_are_looked_for_in_the_same_place(theirs):
    images = ["/d/images/train/a.b.jpg", "/images/d/images/a.jpg", "/d/train/a.jpg", "/d/images.old/images/x.png"]
    assert [str(labels_of(Path(image))) for image in images] == theirs.label_paths(images)


def test_validation_batches_have_the_same_images_and_shapes(theirs):
    rng = np.random.default_rng(0)
    sizes = [tuple(size) for size in rng.integers(200, 900, (50, 2)).tolist()]
    for size, batch in ((640, 8), (128, 16), (320, 50)):
        original = types.SimpleNamespace(
            ni=50, batch_size=batch, imgsz=size, stride=32, pad=0.5, im_files=list(range(50)),
            labels=[{"shape": (height, width)} for width, height in sizes],
        )  # fmt: skip
        theirs.set_rectangle(original)
        source = types.SimpleNamespace(size=size, dataset=types.SimpleNamespace(sizes=sizes))
        ours = ValidationSamples(source, batch, rectangular=True)
        assert ours.order.tolist() == original.im_files
        assert [list(shape) for shape in ours.shapes] == np.array(original.batch_shapes).tolist()
