"""Numbers recorded from YOLOv5, read once."""

import functools
import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "recorded" / "yolov5"
PICO = (0.33, 0.125)  # depth and width of the network that they are of


@functools.cache
def recorded(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


@functools.cache
def recorded_json(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text())
