"""Image files: which are found, which are refused, and how they are decoded."""

import os

import numpy as np
import pytest
from PIL import ExifTags, Image

from examples.detector.images import ENDINGS, Unusable, check_image, find_images, read_image

from .conftest import noise


def found(folder):
    return sorted(str(p.relative_to(folder)) for p in find_images(folder))


def test_images_are_found_as_yolov5_finds_them(tmp_path):
    seen = ["a.jpg", "b.JPEG", "deep/er/c.webp", "d.mpo", "e.dng", "f.tar.png"]
    hidden = [
        "._a.jpg",
        ".ipynb_checkpoints/a.jpg",
        ".Trash-1000/files/a.jpg",
        "__MACOSX/._a.jpg",
        "notes.txt",
        "g.gif",
    ]
    for name in seen + hidden:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert found(tmp_path) == sorted(seen)
    assert {".mpo", ".dng", ".pfm"} < set(ENDINGS)


def test_links_to_folders_are_followed_and_circles_end(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.png").touch()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "far").symlink_to(tmp_path / "disk")
    (tmp_path / "images" / "again").symlink_to(tmp_path / "disk")  # twice, but no circle
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "images")
    assert found(tmp_path / "images") == ["again/a.png", "far/a.png"]


@pytest.mark.parametrize("name", ["a.jpg", "b.png", "c.bmp", "d.tif", "e.webp"])
@pytest.mark.parametrize("lost", [200, "all but 20"])
def test_a_truncated_image_is_refused(tmp_path, name, lost):
    path = noise(tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[:-200] if lost == 200 else content[:20])
    with pytest.raises(Unusable, match=rf"image .*{name} cannot be read \(.+\). Replace it"):
        check_image(path)
    with pytest.raises(Unusable, match=rf"image .*{name} cannot be read"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "broken"), [("a.jpg", b"\xff\xd8" * 20), ("b.webp", b"\xff" * 200), ("c.png", b"\xff")]
)
def test_an_image_that_is_broken_in_the_middle_is_refused(tmp_path, name, broken):
    """Otherwise the run would stop at it, some time in the first epoch."""
    path = noise(tmp_path / name)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + broken + content[middle + len(broken) :])
    with pytest.raises(Unusable, match=f"{name} cannot be read"):
        check_image(path)


def test_a_name_that_is_too_long_is_of_no_image_and_shown_in_part(tmp_path):
    with pytest.raises(Unusable, match=r"a\.\.\. does not exist"):
        check_image(tmp_path / ("a" * 5000))


def test_a_jpeg_with_more_after_its_end_is_read(tmp_path):
    path = noise(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes() + bytes(2000))  # as some phones do
    assert check_image(path) == (60, 40)
    assert read_image(path).shape == (40, 60, 3)


def test_the_ending_need_not_tell_the_format_but_the_format_must_be_known(tmp_path):
    png = noise(tmp_path / "a.png")
    assert check_image(png.rename(tmp_path / "a.jpg")) == (60, 40)
    gif = noise(tmp_path / "b.gif").rename(tmp_path / "b.jpg")
    with pytest.raises(Unusable, match="not in one of BMP, JPEG, PNG, TIFF, WEBP"):
        check_image(gif)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_an_image_is_turned_upright_whatever_its_format(tmp_path, turn, ending):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30] = 250
    turned = Image.fromarray(pixels)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that the orientation takes back
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    turned = turned.transpose(Image.Transpose(undo[turn])) if turn in undo else turned
    path = tmp_path / f"a{ending}"
    turned.save(path, exif=exif, **({"quality": 95} if ending in (".jpg", ".webp") else {}))
    assert check_image(path) == (60, 40)
    read = read_image(path)
    assert read.shape == (40, 60, 3)
    assert read[:18, :28].min() > 200
    assert read[22:].max() < 50


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_sixteen_bits_are_brought_to_eight(tmp_path, ending):
    ramp = np.linspace(0, 65535, 40 * 60).reshape(40, 60).astype(np.uint16)
    path = tmp_path / f"a{ending}"
    Image.fromarray(ramp).save(path)
    check_image(path)
    assert np.array_equal(read_image(path)[..., 0], ramp >> 8)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_of_32_bits_are_refused_rather_than_black(tmp_path, dtype):
    path = tmp_path / "a.tif"
    Image.fromarray(np.full((40, 60), 1, dtype)).save(path)
    for read in (check_image, read_image):
        with pytest.raises(Unusable, match=r"a.tif cannot be read \(its values have 32 bits; save it with 8 or 16\)"):
            read(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_other_modes_become_rgb(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("RGB", (20, 30), (255, 255, 255)).convert(mode).save(path)
    assert check_image(path) == (20, 30)
    assert (read_image(path) == 255).all()


def test_small_and_missing_and_enormous_images_are_refused(tmp_path, monkeypatch):
    assert check_image(noise(tmp_path / "a.png", (10, 10))) == (10, 10)
    with pytest.raises(Unusable, match=r"b.png is 9 x 40 pixels; a side needs at least 10"):
        check_image(noise(tmp_path / "b.png", (9, 40)))
    with pytest.raises(Unusable, match=r"c.png does not exist"):
        check_image(tmp_path / "c.png")
    os.symlink(tmp_path / "nowhere.png", tmp_path / "d.png")
    with pytest.raises(Unusable, match=r"d.png does not exist"):
        check_image(tmp_path / "d.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Unusable, match=r"e.png cannot be read \(Image size \(2400 pixels\) exceeds limit"):
        check_image(noise(tmp_path / "e.png"))
