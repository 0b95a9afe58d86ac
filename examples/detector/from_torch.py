"""Weights of YOLOv5 in torch's names and layout, for the network in `model.py`.

    python -m examples.detector detect --weights yolov5s.pt photo.jpg       # a .pt is read wherever weights are
    python -m examples.detector.from_torch yolov5s.pt yolov5s.npz           # or converted once

A ``.pt`` may hold a whole checkpoint of YOLOv5's ``train.py`` (v6.0 or newer) or a ``state_dict``; torch is not needed,
and nothing in the file is run. Batch norm that was fused into the convolutions is read too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from examples.detector import torch_file, weights
from examples.detector.model import ANCHORS, EPSILON, SIZES, STRIDES, Anchors, bottlenecks
from examples.detector.weights import Description, Weights, flat_state, load_arrays

NECK = {
    "10": "lateral5",
    "13": "up4",
    "14": "lateral4",
    "17": "up3",
    "18": "down3",
    "20": "out4",
    "21": "down4",
    "23": "out5",
}
LEAF = {
    ("conv", "weight"): ("conv", "kernel"),
    ("conv", "bias"): ("bn", "bias"),  # only where batch norm is fused
    ("bn", "weight"): ("bn", "scale"),
    ("bn", "bias"): ("bn", "bias"),
    ("bn", "running_mean"): ("bn", "mean"),
    ("bn", "running_var"): ("bn", "var"),
}
HOLDERS = ("ema", "model", "state_dict", "model_state_dict")  # entries of a checkpoint that may hold the weights
UNUSED = ("num_batches_tracked", "anchors", "anchor_grid")  # a counter that nothing reads; anchors are read apart


def flax_path(name: str) -> str:
    """The path in the Flax network of a name in torch's ``state_dict``.

    >>> flax_path("model.4.m.1.cv2.conv.weight"), flax_path("model.23.cv3.bn.weight"), flax_path("model.24.m.0.bias")
    ('backbone/4/m/1/cv2/conv/kernel', 'neck/out5/cv3/bn/scale', 'head/levels/0/bias')
    """
    try:
        _, layer, *modules, kind, leaf = name.split(".")
        if layer == "24":
            return "/".join(["head", "levels", kind, {"weight": "kernel", "bias": "bias"}[leaf]])
        place = ["neck", NECK[layer]] if layer in NECK else ["backbone", str(int(layer))]
        return "/".join([*place, *modules, *LEAF[kind, leaf]])
    except (KeyError, ValueError):
        raise ValueError(
            f"{name!r} is not in a YOLOv5 v6 state_dict, whose names read like 'model.4.cv1.conv.weight'."
        ) from None


def flax_array(value: np.ndarray) -> np.ndarray:
    """torch's [out, in, kh, kw] as [kh, kw, in, out]; other arrays unchanged."""
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value


def torch_array(value: np.ndarray) -> np.ndarray:
    """The inverse of `flax_array`."""
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value


def flax_arrays(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A ``state_dict`` (as numpy arrays) by Flax path. Fused batch norm becomes one that changes nothing."""
    # What precedes the number of the layer depends on what was saved: "", "model.", "module.model.", ...
    named = {f"model.{re.sub('^[^0-9]*', '', name)}": np.asarray(value) for name, value in state_dict.items()}
    arrays = {flax_path(k): flax_array(v) for k, v in named.items() if not k.endswith(UNUSED)}
    for path in [p for p in arrays if p.endswith("bn/bias")]:
        bn, channels = path.removesuffix("bias"), arrays[path].shape
        if f"{bn}scale" not in arrays:
            ones = np.ones(channels, np.float32)
            arrays |= {f"{bn}scale": ones, f"{bn}mean": 0 * ones, f"{bn}var": (1 - EPSILON) * ones}
    return arrays


def anchors_of(state_dict: Mapping[str, np.ndarray]) -> Anchors:
    """The anchors of a ``state_dict`` in pixels; it holds them in cells of each level."""
    for name, value in state_dict.items():
        if name.endswith("24.anchors"):
            pixels = np.asarray(value, np.float64).reshape(3, -1, 2) * np.array(STRIDES)[:, None, None]
            return tuple(tuple((float(w), float(h)) for w, h in level) for level in pixels)
    return ANCHORS


def describe(
    arrays: Mapping[str, np.ndarray], anchors: Anchors, names: Any = None, image_size: int | None = None
) -> Description:
    """The description that these arrays, by Flax path, imply; classes without names are numbered."""
    try:
        classes = arrays["head/levels/0/bias"].shape[0] // 3 - 5
        widest = arrays["backbone/9/cv2/conv/kernel"].shape[-1]
    except KeyError as error:
        raise ValueError(f"there is no {error} in these weights; they are not of YOLOv5 v6.") from None
    counts = tuple(len({p.split("/")[3] for p in arrays if p.startswith(f"backbone/{i}/m/")}) for i in (2, 4, 6))
    depths = (*(depth for depth, _ in SIZES.values()), *(k / 100 for k in range(1, 500)))
    depth = next((depth for depth in depths if bottlenecks(depth) == counts), 1.0)
    width = widest / 1024
    if isinstance(names, Mapping):
        names = [names[c] for c in sorted(names)]
    names = tuple(map(str, names)) if names and len(names) == classes else tuple(map(str, range(classes)))
    return Description(names, depth, width, image_size or 640, anchors)


def load_torch(model: nnx.Module, state_dict: Mapping[str, np.ndarray]) -> None:
    """Set the arrays of `model` from a torch ``state_dict`` (as numpy arrays). Its anchors must be the model's."""
    if any(name.endswith("24.anchors") for name in state_dict) and not np.allclose(
        anchors_of(state_dict), model.anchors, rtol=1e-3
    ):
        raise ValueError(f"the state_dict has the anchors {anchors_of(state_dict)}. Give them to the model.")
    load_arrays(model, flax_arrays(state_dict))


def load_pt(path: Path) -> Weights:
    """Weights from a ``.pt``: a checkpoint of YOLOv5, a saved model, or a ``state_dict``."""
    content = torch_file.read(path)
    names = size = None
    if isinstance(content, dict):
        names, options = content.get("names"), content.get("opt")
        size = options.get("imgsz") if isinstance(options, dict) else None
        content = next((content[k] for k in HOLDERS if isinstance(content.get(k), dict | torch_file.Record)), content)
    if isinstance(content, torch_file.Record):
        names, content = content.state.get("names"), torch_file.state_dict(content)
    if not isinstance(content, dict) or not all(isinstance(v, np.ndarray) for v in content.values()):
        raise ValueError(f"{path} holds neither a checkpoint of YOLOv5 nor a state_dict.")
    try:
        arrays = {k: np.asarray(v, np.float32) for k, v in flax_arrays(content).items()}
        found = Weights(describe(arrays, anchors_of(content), names, size), arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    wanted = {name: value.shape for name, value in flat_state(found.description.abstract()).items()}
    there = {name: value.shape for name, value in arrays.items()}
    wrong = [name for name in sorted({*wanted, *there}) if wanted.get(name) != there.get(name)]
    if wrong:
        raise ValueError(f"{path} is no YOLOv5 v6 of 3 levels: {len(wrong)} arrays differ, first {wrong[0]}.")
    return found


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    try:
        weights.save(Path(sys.argv[2]), weights.load(sys.argv[1]))
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
