"""Folders of images and boxes: what is read, and what is refused with which words."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import ExifTags, Image

from examples.detector.augment import Augmentation
from examples.detector.data import read_folder
from examples.detector.loader import training_batches
from examples.detector.loss import Gains, detection_loss
from examples.detector.scenes import scenes


@pytest.fixture
def coco(tmp_path):
    """A COCO folder of two images, and a function that rewrites its annotations."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.png"):
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / "train" / name)
    content = {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 60, "height": 40},
            {"id": 3, "file_name": "b.png", "width": 60, "height": 40},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [6, 4, 12, 8], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [30, 20, 30, 20.4], "iscrowd": 0},
            {"id": 3, "image_id": 7, "category_id": 2, "bbox": [0, 0, 10, 10], "iscrowd": 1},
        ],
    }

    def write(change=lambda content: None):
        changed = json.loads(json.dumps(content))
        change(changed)
        (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(changed))
        (tmp_path / "train").rename(tmp_path / "train2017") if (tmp_path / "train").exists() else None
        return tmp_path

    return write


def test_coco_is_read(coco):
    data = read_folder(coco(), "train")
    assert data.names == ("cat", "dog")  # by id, as YOLOv5's converter numbers them
    np.testing.assert_allclose(data.boxes[0][0], [12 / 60, 8 / 40, 12 / 60, 8 / 40])
    np.testing.assert_allclose(data.boxes[0][1], [45 / 60, 30 / 40, 30 / 60, 20 / 40])  # cut to the image
    assert data.classes[0].tolist() == [1, 0]
    assert len(data.crowds[0]) == 1
    assert data.boxes[1].shape == (0, 4)  # an image without a box is fine
    assert data.pixels(1).shape == (40, 60, 3)


def first_box(value):
    return lambda content: content["annotations"][0].update(bbox=value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["images"][0].update(file_name="gone.jpg"), "gone.jpg does not exist.*Add it"),
        (
            first_box([50, 4, 30, 8]),
            r"annotation 1 has a box with corners \[50.0, 4.0, 80.0, 12.0\] outside its image of 60 x 40",
        ),
        (first_box([float("nan"), 4, 30, 8]), "annotation 1.*nan.*must be finite"),
        (first_box([1, 2, 3]), r"annotation 1 has bbox \[1, 2, 3\]; it must be \[left, top, width, height\]"),
        (first_box("abcd"), "annotation 1 has bbox 'abcd'"),
        (
            lambda c: c["annotations"][0].update(category_id=5),
            r"annotation 1 has category_id 5; the categories are \[2, 18\]",
        ),
        (lambda c: c["annotations"][0].update(image_id=99), "annotation 1 is of image 99, which is not listed"),
        (lambda c: c["categories"][1].update(name=""), "category 2 has no name. Give it one"),
        (lambda c: c["categories"][1].pop("name"), "category 2 has no name"),
        (lambda c: c["categories"][1].update(id=18), "two categories have the same id"),
        (lambda c: c["images"][1].update(id=7), "two images have the same id"),
        (lambda c: c["images"][0].update(width=61), r"a.jpg is \(60, 40\) pixels, but the annotations say \(61, 40\)"),
        (lambda c: c.pop("categories"), "lacks 'categories'"),
        (lambda c: c["images"][1].pop("width"), "an entry of images lacks 'width'. Add it"),
        (lambda c: c["images"][1].pop("file_name"), "an entry of images lacks 'file_name'. Add it"),
        (lambda c: c["categories"][1].pop("id"), "an entry of categories lacks 'id'. Add it"),
    ],
)
def test_a_wrong_coco_folder_is_refused(coco, change, words):
    folder = coco(change)
    with pytest.raises(ValueError, match=words):
        read_folder(folder, "train")


@pytest.mark.parametrize("name", ["a.jpg", "b.png", "c.bmp", "d.tif", "e.webp"])
def test_a_truncated_image_is_refused(coco, name):
    path = coco(lambda c: c["images"][1].update(file_name=name, id=3) if name > "b" else None) / "train2017" / name
    if not path.exists():
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=f"image .*{name} is broken.*Copy it again"):
        read_folder(path.parents[1], "train")


def test_a_jpeg_with_more_after_its_end_is_read(coco):
    path = coco() / "train2017" / "a.jpg"
    path.write_bytes(path.read_bytes() + bytes(2000))  # as some phones do
    assert read_folder(path.parents[1], "train").pixels(0).shape == (40, 60, 3)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_taken_sideways_is_turned_upright_as_its_boxes_are(yolo, turn):
    folder = yolo("1 0.25 0.25 0.5 0.5")
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30] = 250  # where the box is
    turned = Image.fromarray(pixels)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that the orientation takes back
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    turned = turned.transpose(Image.Transpose(undo[turn])) if turn in undo else turned
    (folder / "images" / "val" / "a.png").unlink()
    turned.save(folder / "images" / "val" / "a.jpg", exif=exif, quality=95)
    data = read_folder(folder, "val")
    assert data.sizes[0] == (60, 40)
    assert data.pixels(0)[:18, :28].min() > 200
    assert data.pixels(0)[22:].max() < 50


def test_sixteen_bits_are_brought_to_eight(yolo):
    folder = yolo("")
    ramp = np.linspace(0, 65535, 40 * 60).reshape(40, 60).astype(np.uint16)
    Image.fromarray(ramp).save(folder / "images" / "val" / "a.png")
    assert np.array_equal(read_folder(folder, "val").pixels(0)[..., 0], ramp >> 8)


def test_a_box_that_is_there_twice_counts_once(yolo):
    data = read_folder(yolo("1 0.5 0.25 0.2 0.1\n1 0.5 0.25 0.2 0.1\n0 0.5 0.25 0.2 0.1\n"), "val")
    assert data.classes[0].tolist() == [1, 0]
    assert data.notes == ("1 boxes there twice were left out",)


def test_labels_in_another_place_are_not_no_labels(yolo):
    folder = yolo("")
    (folder / "labels").rename(folder / "labels_old")
    with pytest.raises(ValueError, match=r"there is no .*labels/val. Put the labels there"):
        read_folder(folder, "val")


def test_a_truncated_annotation_file_is_refused(coco):
    file = coco() / "annotations" / "instances_train2017.json"
    file.write_text(file.read_text()[:-30])
    with pytest.raises(ValueError, match=r"no valid JSON.*Copy it again|no valid JSON.*copy it again"):
        read_folder(file.parents[1], "train")


def test_boxes_without_area_are_left_out_and_said_to_be(coco):
    data = read_folder(coco(first_box([5, 5, 0, 8])), "train")
    assert len(data.boxes[0]) == 1
    assert data.notes == ("1 boxes without area were left out",)


def test_a_folder_of_neither_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"neither annotations/ .COCO. nor data.yaml"):
        read_folder(tmp_path, "train")
    with pytest.raises(ValueError, match=r"there is no such folder"):
        read_folder(tmp_path / "none", "train")


@pytest.fixture
def yolo(tmp_path):
    for part in ("images", "labels"):
        (tmp_path / part / "val").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "images" / "val" / name)
    (tmp_path / "data.yaml").write_text("names: {0: cat, 1: dog}\n")

    def write(label, names=None):
        (tmp_path / "labels" / "val" / "a.txt").write_text(label)
        if names is not None:
            (tmp_path / "data.yaml").write_text(names)
        return tmp_path

    return write


def test_yolo_is_read(yolo):
    data = read_folder(yolo("1 0.5 0.25 0.2 0.1\n\n0 0.1 0.1 0.1 0.1\n"), "val")
    assert data.names == ("cat", "dog")
    assert data.classes[0].tolist() == [1, 0]
    np.testing.assert_allclose(data.boxes[0][0], [0.5, 0.25, 0.2, 0.1], rtol=1e-6)
    assert len(data.boxes[1]) == 0  # no label file: no boxes


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [("train/images", "train/labels", "../train/images"), ("images/train2017", "labels/train2017", "images/train2017"),
     ("images/deep/val", "labels/deep/val", "images/deep/val/"), ("images/val", "labels/val", None)],
)  # fmt: skip
def test_data_yaml_says_where_the_images_are(yolo, tmp_path, images, labels, said):
    folder = yolo("1 0.5 0.25 0.2 0.1", f"names: [cat, dog]\nval: {said}\n" if said else None)
    for was, now in (("images/val", images), ("labels/val", labels)):
        (tmp_path / "moved").mkdir(exist_ok=True)
        (folder / was).rename(tmp_path / "moved" / "x")
        (folder / now).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "moved" / "x").rename(folder / now)
    data = read_folder(folder, "val")
    assert [len(boxes) for boxes in data.boxes] == [1, 0]


@pytest.mark.parametrize("label", ["", "\n", "  \n\n"])
def test_an_empty_label_file_is_an_image_without_boxes(yolo, label):
    data = read_folder(yolo(label), "val")
    assert [boxes.shape for boxes in data.boxes] == [(0, 4), (0, 4)]
    assert [classes.shape for classes in data.classes] == [(0,), (0,)]
    batch = next(iter(training_batches(data, Augmentation(), size=64, batch_size=2, epochs=1, seed=0)))
    assert (batch["classes"] == -1).all()
    raw = [jnp.zeros((2, 3, n, n, 7)) for n in (8, 4, 2)]
    value, parts = detection_loss(raw, batch["boxes"], batch["classes"], Gains())
    assert np.isfinite(value)
    assert float(parts[0]) == float(parts[2]) == 0 < float(parts[1])  # nothing but "no object here" to learn


@pytest.mark.parametrize(
    ("label", "names", "words"),
    [
        ("2 0.5 0.5 0.1 0.1", None, "a.txt, line 1 has class 2; .* names the classes 0 to 1"),
        ("0.5 0.5 0.5 0.1 0.1", None, "has class 0.5"),
        ("0 0.5 0.5 0.1", None, "line 1 has 4 numbers; it must be five"),
        ("0 nan 0.5 0.1 0.1", None, "nan.*must be finite"),
        ("0 0.5 0.5 0.1 0.1\n0 0.95 0.5 0.5 0.1", None, "line 2 has a box .* outside its image of 60 x 40 pixels"),
        ("cat 0.5 0.5 0.1 0.1", None, "it must be five numbers"),
        ("", "names: [cat, '']", "class 1 has no name"),
        ("", "names: {0: cat, 2: dog}", r"names has keys \[0, 2\]"),
        ("", "nc: 2", "names is None"),
        ("", "names: [cat, dog]\nval: [a, b]", r"val is \['a', 'b'\]; it must be the path of one folder"),
    ],
)
def test_a_wrong_yolo_folder_is_refused(yolo, label, names, words):
    with pytest.raises(ValueError, match=words):
        read_folder(yolo(label, names), "val")


def test_scenes_are_the_same_each_time_and_share_nothing_between_splits(tmp_path):
    counts = {"train": 6, "val": 4}
    folders = [scenes(tmp_path / name, counts) for name in "ab"]
    files = [sorted(p.relative_to(f) for p in f.rglob("*") if p.is_file()) for f in folders]
    assert files[0] == files[1]
    assert all((folders[0] / p).read_bytes() == (folders[1] / p).read_bytes() for p in files[0])
    data = read_folder(folders[0], "train")
    assert (len(data), data.names) == (6, tuple("0123456789"))
    assert all(1 <= len(c) <= 5 for c in data.classes)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]  # nothing half-written is left
