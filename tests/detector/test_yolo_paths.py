"""data.yaml: names, where the images are, and where their labels are."""

import os
from pathlib import Path

import pytest

from examples.detector.sources import read_data
from examples.detector.yolo_paths import class_names, label_files, labels_of, read_data_yaml, split_images

from .conftest import noise

NAMES = "names: [cat, dog]\n"


def read(folder, text, split="train"):
    """The images of a split, seen from the folder of data.yaml."""
    file = folder / "data.yaml"
    file.write_text(text)
    images, notes = split_images(file, read_data_yaml(file), split)
    return [os.path.relpath(image, folder) for image in images], notes


@pytest.fixture
def folder(tmp_path):
    for name in ("images/train/b.jpg", "images/train/a/c.png", "images/val/d.png", "more/images/e.png", "flat/f.png"):
        noise(tmp_path / name)
    return tmp_path


TRAIN = ["images/train/a/c.png", "images/train/b.jpg"]


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("names: [cat]", TRAIN),  # neither train nor val: images/train
        ("train:\nval: null", TRAIN),
        ("train: images/train\n", TRAIN),
        ("train: images/train/", TRAIN),
        ("train: ./images/train", TRAIN),
        ("train: ../images/train", TRAIN),  # as some exporters write
        ("path: images\ntrain: train", TRAIN),
        ("path: .\ntrain: images/train", TRAIN),
        ("train: [more/images, images/val]", ["images/val/d.png", "more/images/e.png"]),
        ("train:\n- flat", ["flat/f.png"]),
        ("path: {folder}/more\ntrain: images", ["more/images/e.png"]),
        ("train: {folder}/more", ["more/images/e.png"]),
    ],
)
def test_data_yaml_says_where_the_images_are(folder, text, images):
    assert read(folder, text.format(folder=folder)) == (images, [])


def test_paths_are_seen_from_the_current_directory_if_they_are_not_in_the_folder_of_data_yaml(folder, monkeypatch):
    (folder / "config").mkdir()
    monkeypatch.chdir(folder)
    assert read(folder / "config", "path: images\ntrain: train")[0] == ["../" + image for image in TRAIN]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "train: images/trian",
            "train names images/trian, which is not in {folder} or {cwd}. Correct 'train' or 'path'",
        ),
        ("train: small.txt", "train names small.txt, which is not in"),
        ("path: elsewhere\ntrain: images/train", "train names images/train, which is not in {folder}/elsewhere or"),
        ("train: [images/train, images/trian]", "train names images/trian"),
        ("train: images/train/b.jpg", "train names images/train/b.jpg"),
        ("val: images/val", "has no 'train'. Add a line such as 'train: images/train'"),
        ("train: {{a: b}}", "train is .*; it must be a path, or a list of paths"),
        ("train: [[a]]", "it must be a path, or a list of paths"),
        ("path: [a, b]\ntrain: a", "path is .*a.*b.*; it must be one folder"),
        ("train: ~nobody/x", "train names ~nobody/x, which is not in"),
        ("train: " + "a" * 5000, "train names a{{117}}[.][.][.], which is not in"),
        ("train: empty", "train is 'empty', which holds no images"),
    ],
)
def test_data_yaml_is_followed_or_an_error(folder, text, words, monkeypatch):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=words.format(folder=folder, cwd=os.getcwd())):
        read(folder, text.format())


def test_a_test_split_is_read_and_never_guessed(folder):
    assert read(folder, "train: images/train\ntest: flat", "test")[0] == ["flat/f.png"]
    with pytest.raises(ValueError, match=r"has no 'test'. Add a line such as 'test: images/test'"):
        read(folder, "train: images/train\ntest:", "test")


@pytest.mark.parametrize("lines", ["./images/train/b.jpg\n\n./flat/f.png", "images/train/b.jpg\nflat/f.png\n",
                                   "{folder}/flat/f.png\r\n{folder}/images/train/b.jpg"])  # fmt: skip
@pytest.mark.parametrize("cwd", [False, True])
def test_a_text_file_lists_images(folder, monkeypatch, lines, cwd):
    place = folder / "lists" if cwd else folder
    place.mkdir(exist_ok=True)
    (place / "some.txt").write_text(lines.format(folder=folder) + "\nreadme.md")
    if cwd:
        monkeypatch.chdir(folder)
    images, notes = read(folder, f"train: {place / 'some.txt'}")
    assert images == ["flat/f.png", "images/train/b.jpg"]
    assert notes == [f"{place / 'some.txt'}: lines left out that name no image: 1"]


def test_images_that_are_given_twice_count_twice(folder):
    images, notes = read(folder, "train: [images/train, images]")
    assert images == sorted(TRAIN * 2 + ["images/val/d.png"])
    assert notes == ["train: images given twice, which count twice: 2"]


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("/d/images/train/a.b.jpg", "/d/labels/train/a.b.txt"),
        ("/images/d/images/a.jpg", "/images/d/labels/a.txt"),  # the last of that name
        ("/d/train/a.jpg", "/d/train/a.txt"),
        ("/d/images.old/images", "/d/images.old/images.txt"),
    ],
)
def test_yolov5_looks_for_labels_there(image, labels):
    assert labels_of(Path(image)) == Path(labels)


def test_labels_are_found_in_the_first_place_that_has_any(folder):
    images = [folder / "images/train/b.jpg", folder / "images/val/d.png"]
    with pytest.raises(
        ValueError, match=f"none of the 2 images has a label file; that of .*b.jpg is {folder}/labels/train/b"
    ):
        label_files(images)
    (folder / "images/val/d.txt").touch()  # beside the image, though it is in a folder "images"
    assert label_files(images) == (
        [folder / "images/train/b.txt", folder / "images/val/d.txt"],
        ["1 of 2 images have no label file; they count as without objects"],
    )
    (folder / "labels/train").mkdir(parents=True)
    (folder / "labels/train/b.txt").touch()
    assert label_files(images)[0] == [folder / "labels/train/b.txt", folder / "labels/val/d.txt"]


def test_labels_are_where_a_link_to_the_images_leads(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "pictures").symlink_to(folder / "images" / "val")
    (folder / "labels" / "val").mkdir(parents=True)
    (folder / "labels" / "val" / "d.txt").touch()
    assert label_files([folder / "mine" / "pictures" / "d.png"]) == ([folder / "labels/val/d.txt"], [])


def names(folder, text):
    file = folder / "data.yaml"
    file.write_text(text)
    return class_names(file, read_data_yaml(file))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("names: [cat, dog]", ["cat", "dog"]),
        ("names:\n  1: dog\n  0: cat\nnc: 2", ["cat", "dog"]),
        ("names: [cat, dog]\nnc: 2.0", ["cat", "dog"]),
        ("names: [yes, 007, 1.0, null]", ["yes", "007", "1.0", "null"]),  # as written
    ],
)
def test_names_are_a_list_or_a_dict(tmp_path, text, expected):
    assert names(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: [cat, '']", "class 1 has the name ''; it must be a word"),
        ("names: [cat, [dog]]", r"class 1 has the name \['dog'\]; it must be a word"),
        ("names: {0: cat, 2: dog}", r"names has the keys \[0, 2\]; they must be 0, 1, 2"),
        ("names: {cat: 0}", r"names has the keys \['cat'\]; they must be 0, 1, 2"),
        ("nc: 2", "names is None; it must list the classes"),
        ("names: []", r"names is \[\]"),
        ("names: cat", "names is 'cat'"),
        ("names: [cat, dog]\nnc: 3", "nc is 3, but names has 2 entries"),
        ("names: [cat, dog]\nnc: two", "nc is 'two'; it must be the number of classes"),
        ("names: [cat, dog]\nnc: [2]", r"nc is \['2'\]; it must be the number of classes"),
        ("- names", "must hold lines such as"),
        ("names: [cat", "is no valid YAML .*line"),
        ("names: [cat]\n\tval: x", "is no valid YAML"),
    ],
)
def test_a_wrong_data_yaml_is_refused(tmp_path, text, words):
    with pytest.raises(ValueError, match=f"data.yaml:? {words}"):
        names(tmp_path, text)


def test_a_data_yaml_in_another_encoding_is_named(tmp_path):
    (tmp_path / "data.yaml").write_bytes("names: [käse]".encode("latin-1"))
    with pytest.raises(ValueError, match=r"data.yaml is not in UTF-8"):
        read_data_yaml(tmp_path / "data.yaml")


def test_a_split_is_read_by_its_data_yaml(folder):
    (folder / "labels/train").mkdir(parents=True)
    (folder / "labels/train/b.txt").write_text("1 0.5 0.25 0.2 0.1")
    (folder / "mine.yaml").write_text(NAMES + "path: .\ntrain: images/train\nval: images/val")
    for source in (folder / "mine.yaml", folder):  # the folder's only YAML file
        data = read_data(source, "train")
        assert [len(boxes) for boxes in data.boxes] == [0, 1]
        assert data.notes == ("1 of 2 images have no label file; they count as without objects",)
    (folder / "other.yaml").write_text(NAMES)
    with pytest.raises(ValueError, match=r"neither annotations/ .COCO. nor data.yaml .YOLO., and 2 other YAML files"):
        read_data(folder, "train")
