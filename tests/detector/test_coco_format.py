"""COCO's layout: what is read, what is skipped, and what is refused with which words."""

import json

import numpy as np
import pytest

from examples.detector.sources import read_data

from .conftest import noise


def annotations(folder):
    return folder / "annotations" / "instances_train2017.json"


def test_coco_is_read(coco):
    data = read_data(coco(), "train")
    assert data.names == ("cat", "dog")  # by id, as YOLOv5's converter numbers them
    np.testing.assert_allclose(data.boxes[0][0], [12 / 60, 8 / 40, 12 / 60, 8 / 40])
    np.testing.assert_allclose(data.boxes[0][1], [45 / 60, 30.2 / 40, 30 / 60, 20.4 / 40], rtol=1e-6)  # as labelled
    np.testing.assert_allclose(data.corners(0)[1], [30, 20, 60, 40], rtol=1e-6)  # clipped to the image
    assert data.classes[0].tolist() == [1, 0]
    np.testing.assert_allclose(data.crowds[0], [[0, 5 / 60, 5 / 40, 10 / 60, 10 / 40]])
    assert data.boxes[1].shape == (0, 4)  # an image without a box is fine
    assert data.pixels(1).shape == (40, 60, 3)
    assert data.notes == ()


@pytest.mark.parametrize("place", ["train2017", "images/train2017", "images", "."])
def test_images_are_found_where_they_usually_are(coco, tmp_path, place):
    folder = coco()
    for name in ("a.jpg", "b.png"):
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / "train2017" / name).rename(folder / place / name)
    assert read_data(folder, "train").images[0] == folder / place / "a.jpg"


def test_a_file_name_may_hold_the_folder(coco):
    def change(content):
        for image in content["images"]:
            image["file_name"] = "train2017/" + image["file_name"]

    assert len(read_data(coco(change), "train")) == 2


def first_image(**values):
    return lambda content: content["images"][0].update(values)


def first_box(value):
    return lambda content: content["annotations"][0].update(bbox=value)


SKIPPED = [
    (first_image(file_name="gone.jpg"), "gone.jpg does not exist.*Add it"),
    (first_image(width=61), r"a.jpg is 60 x 40 pixels, but its entry says 61 x 40"),
    (first_image(width="60"), r"a.jpg is 60 x 40 pixels, but its entry says 60 x 40"),
    (
        first_box([50, 4, 30, 98]),
        r"annotation 1 has a box of centre \(65, 53\) and size \(30, 98\) in an image of 60 x 40",
    ),
    (first_box([float("nan"), 4, 30, 8]), "annotation 1 has the box .*nan.*must be finite"),
    (first_box([1, 2, 3]), r"annotation 1 has the bbox \[1, 2, 3\]; it must be \[left, top, width, height\]"),
    (first_box("abcd"), "annotation 1 has the bbox abcd"),
    (first_box([10**400, 4, 12, 8]), r"annotation 1 has the bbox \[1000.*\.\.\.; it must be"),
    (first_image(file_name="a" * 5000), r"a\.\.\. does not exist"),
    (first_image(width="a" * 5000), r"its entry says a+\.\.\. x 40"),
    (first_box(None), "annotation 1 has the bbox None"),
]


@pytest.mark.parametrize(("change", "words"), SKIPPED)
def test_what_is_wrong_with_one_image_leaves_the_others(coco, change, words):
    folder = coco(change)
    with pytest.raises(ValueError, match=words):
        read_data(folder, "train", strict=True)
    data = read_data(folder, "train")
    assert [path.name for path in data.images] == ["b.png"]
    assert data.notes[0] == "1 of 2 images are skipped (--strict stops at the first):"
    assert data.notes[1].strip() == data.skipped[0]
    with pytest.raises(ValueError, match=words):
        raise ValueError(data.skipped[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["annotations"][0].update(category_id=5), "has category_id 5, but the categories are 2, 18"),
        (lambda c: c["annotations"][0].update(category_id=None), "annotation 1 has category_id None"),
        (lambda c: c["categories"][1].update(name=""), "category 2 has no name. Give it one"),
        (lambda c: c["categories"][1].update(name=None), "category 2 has no name. Give it one"),
        (lambda c: c["categories"][1].pop("name"), "category 2 has no name"),
        (lambda c: c["categories"][1].update(id=18), "two categories have the same id"),
        (lambda c: c["categories"][1].update(id="18"), "two categories have the same id"),
        (lambda c: c["categories"][1].update(id="cat"), "a category has the id 'cat'; it must be a whole number"),
        (lambda c: c["categories"][1].update(id=2.5), "a category has the id 2.5; it must be a whole number"),
        (lambda c: c["categories"][1].update(id=None), r"categories\[1\] has the id None. Give it one"),
        (lambda c: c["images"][1].update(id=7), "two images have the same id"),
        (lambda c: c["images"][1].update(id=[7]), r"images\[1\] has the id \[7\]. Give it one"),
        (lambda c: c["images"][1].pop("file_name"), r"images\[1\] has the file_name None. Give it one"),
        (lambda c: c["categories"][1].pop("id"), r"categories\[1\] has the id None. Give it one"),
        (lambda c: c.pop("categories"), "categories is None; it must be a list"),
        (lambda c: c.update(annotations=None), "annotations is None; it must be a list"),
        (lambda c: c.update(annotations=[None]), r"annotations\[0\] is None; it must be an object"),
        (lambda c: c.update(images=[]), "images is empty"),
        (lambda c: [i.update(file_name="x" + i["file_name"]) for i in c["images"]], "lists xa.jpg, but neither"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_whole_file_is_an_error(coco, change, words):
    folder = coco(change)
    with pytest.raises(ValueError, match=words) as raised:
        read_data(folder, "train")
    assert str(annotations(folder)) in str(raised.value)


def test_sizes_that_are_not_given_are_those_of_the_files(coco):
    data = read_data(coco(lambda c: (c["images"][0].update(width=None), c["images"][1].pop("height"))), "train")
    assert data.sizes == ((60, 40), (60, 40))


def test_names_that_are_numbers_are_names(coco):
    data = read_data(coco(lambda c: (c["categories"][0].update(name=7), c["categories"][1].update(name=0))), "train")
    assert data.names == ("0", "7")


def test_ids_may_be_strings_and_mixed(coco):
    def change(content):
        content["categories"][0]["id"] = "18"
        content["images"][0]["id"] = "7"
        content["annotations"][0]["category_id"] = 18.0

    assert read_data(coco(change), "train").classes[0].tolist() == [1, 0]


def test_annotations_of_images_that_are_not_listed_are_left_out(coco):
    folder = coco(lambda c: c["annotations"][0].update(image_id=99))
    data = read_data(folder, "train")
    assert data.classes[0].tolist() == [0]
    assert "annotation 1 is of image 99, which is not listed" in data.notes[0]
    with pytest.raises(ValueError, match="annotation 1 is of image 99, which is not listed"):
        read_data(folder, "train", strict=True)


def test_polygons_without_a_bbox_become_boxes(coco):
    polygons = [[6, 4, 18, 4, 12, 12], [10, 5, 11, 5, 11, 6]]
    data = read_data(coco(lambda c: c["annotations"][0].update(bbox=None, segmentation=polygons)), "train")
    np.testing.assert_allclose(data.corners(0)[0], [6, 4, 18, 12], rtol=1e-6)


def test_boxes_without_area_are_left_out_and_said_to_be(coco):
    data = read_data(coco(first_box([5, 5, 0, 8])), "train")
    assert len(data.boxes[0]) == 1
    assert data.notes == ("1 box without area left out",)


def test_a_single_class(coco):
    data = read_data(coco(), "train", single_class=True)
    assert data.names == ("item",)
    assert data.classes[0].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda text: text[:-30], "is no valid JSON .*If it is truncated, copy it again"),
        (lambda text: "[]", "must hold an object with images, annotations and categories"),
        (
            lambda text: text.replace("dog", "d\N{LATIN SMALL LETTER O WITH DIAERESIS}g").encode("latin-1"),
            "is not in UTF-8",
        ),
    ],
)
def test_a_file_that_is_no_json_is_named(coco, content, words):
    file = annotations(coco())
    changed = content(json.dumps(json.loads(file.read_text()), ensure_ascii=False))
    file.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    with pytest.raises(ValueError, match=f"{file} {words}"):
        read_data(file.parents[1], "train")


def test_one_file_to_a_split(coco):
    folder = coco()
    with pytest.raises(ValueError, match=r"annotations has 0 files instances_val\*.json; it needs one"):
        read_data(folder, "val")
    noise(folder / "test" / "c.png")
    content = {"images": [{"id": 1, "file_name": "c.png"}], "annotations": [], "categories": [{"id": 2, "name": "cat"}]}
    (folder / "annotations" / "instances_test.json").write_text(json.dumps(content))
    assert len(read_data(folder, "test")) == 1


def test_an_export_with_the_annotations_beside_the_images_is_read(coco):
    folder = coco()
    (folder / "train2017").rename(folder / "valid")
    annotations(folder).rename(folder / "valid" / "_annotations.coco.json")
    (folder / "annotations").rmdir()
    data = read_data(folder, "val")
    assert data.images[0] == folder / "valid" / "a.jpg"
    assert data.classes[0].tolist() == [1, 0]
