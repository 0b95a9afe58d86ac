"""Export a network: ``python -m examples.detector export --weights runs/detector``.

The default is StableHLO: the file holds everything from uint8 images to suppressed boxes, for any number of images and
any multiple of 32 as their height and width, and runs on a CPU, a GPU or a TPU with jax alone::

    from jax import export
    detect = export.deserialize(open("runs/detector/model.stablehlo", "rb").read()).call
    corners, scores, classes = detect(images, 0.25, 0.45)  # uint8 [n, 32 h, 32 w, 3]; confidence; overlap

For ``--format onnx`` see `onnx_export.py`.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from examples.detector import weights
from examples.detector.detector import found_by
from examples.detector.onnx_export import write_onnx
from examples.detector.suppress import SHOWN_OVERLAP
from examples.detector.weights import Weights

PLATFORMS = ("cpu", "cuda", "tpu")


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a network as a file that other programs run, and check the file by running it."""

    weights: Path
    """A run's folder, an .npz, or a .pt of YOLOv5."""
    format: Literal["stablehlo", "onnx"] = "stablehlo"
    """StableHLO: from uint8 images of any number and size to suppressed boxes, for jax. ONNX: the input and the output
    of YOLOv5's ONNX files, for any number of images of one size."""
    out: Path | None = None
    """The file; by default model.stablehlo or model.onnx in the run's folder, or beside the weights. A .json beside it
    has the class names and the image size of training."""
    image_size: int | None = None
    """With ONNX, width and height of the images; by default those of training."""
    bf16: bool = False
    """With StableHLO, compute in bfloat16."""


def exported(found: Weights, dtype: Any = jnp.float32) -> jax_export.Exported:
    """The detector as a program for any number and size of images."""
    n, h, w = jax_export.symbolic_shape("n, h, w", constraints=("h >= 1", "w >= 1"))
    images = jax.ShapeDtypeStruct((n, 32 * h, 32 * w, 3), jnp.uint8)
    number = jax.ShapeDtypeStruct((), jnp.float32)
    return jax_export.export(jax.jit(found_by(found, dtype)), platforms=PLATFORMS)(images, number, number)


def export(options: Export) -> Path:
    """Export as `options` say; the file."""
    if options.format == "onnx" and options.bf16:
        raise ValueError("--bf16: an ONNX file computes in float32. Leave it out.")
    if options.format == "stablehlo" and options.image_size:
        raise ValueError("--image-size: a StableHLO file takes images of any size. Leave it out.")
    found = weights.load(options.weights)
    place = options.weights if options.weights.is_dir() else options.weights.parent
    path = options.out or place / f"model.{options.format}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if options.format == "onnx":
        differ = f"values differ by at most {write_onnx(path, found, options.image_size):.2g} of their size"
    else:
        dtype = jnp.bfloat16 if options.bf16 else jnp.float32
        path.write_bytes(exported(found, dtype).serialize())
        differ = f"boxes differ by at most {check(path, found, dtype):.2g} pixels"
    path.with_suffix(".json").write_text(json.dumps(found.description.to_json(), indent=1))
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB; run here, its {differ} from the network's")
    return path


def check(path: Path, found: Weights, dtype: Any) -> float:
    """Run an exported file on random images; the largest difference of a corner from the network's, in pixels.

    Raises:
        ValueError: If the detections are others than the network's.
    """
    detect, own = jax_export.deserialize(bytearray(path.read_bytes())).call, jax.jit(found_by(found, dtype))
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    arguments = (images, np.float32(1e-4), np.float32(SHOWN_OVERLAP))
    (corners, scores, classes), want = detect(*arguments), own(*arguments)
    if not (np.array_equal(classes, want[2]) and np.allclose(scores, want[1], atol=1e-4)):
        raise ValueError(f"{path} gives other detections than the network it was exported from.")
    return float(jnp.abs(corners - want[0]).max())
