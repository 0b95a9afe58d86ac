"""Tiny data sets in both layouts, and quick compilation."""

import json

import jax
import numpy as np
import pytest
from PIL import Image


def noise(path, size=(60, 40), **options):
    """An image file of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), np.uint8)).save(path, **options)
    return path


@pytest.fixture(scope="module")
def compile_quickly():
    """For programs that run for a second: half the time goes into optimizing them."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def coco(tmp_path):
    """A COCO folder of two images, and a function that rewrites its annotations."""
    for name in ("a.jpg", "b.png"):
        noise(tmp_path / "train2017" / name)
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
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(changed))
        return tmp_path

    return write


@pytest.fixture
def yolo(tmp_path):
    """A YOLO folder of two images, and a function that writes the labels of the first, and data.yaml."""
    for name in ("a.png", "b.png"):
        noise(tmp_path / "images" / "val" / name)
    (tmp_path / "labels" / "val").mkdir(parents=True)

    def write(label="1 0.5 0.25 0.2 0.1", content="names: {0: cat, 1: dog}\n"):
        (tmp_path / "labels" / "val" / "a.txt").write_text(label)
        (tmp_path / "data.yaml").write_text(content)
        return tmp_path

    return write
