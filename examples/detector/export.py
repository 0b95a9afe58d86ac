"""Export a network as StableHLO: ``python -m examples.detector export --weights runs/detector``.

The file holds everything from uint8 images to suppressed boxes, for any number of images and any multiple of 32 as
their height and width, and runs on a CPU, a GPU or a TPU with jax alone::

    from jax import export
    detect = export.deserialize(open("runs/detector/model.stablehlo", "rb").read()).call
    corners, scores, classes = detect(images, 0.25, 0.45)  # uint8 [n, 32 h, 32 w, 3]; confidence; overlap
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from examples.detector import weights
from examples.detector.detector import found_by
from examples.detector.suppress import SHOWN_OVERLAP
from examples.detector.weights import Weights

PLATFORMS = ("cpu", "cuda", "tpu")


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a network as StableHLO, with its weights and suppression inside, and check the file by running it."""

    weights: Path
    """A run's folder, an .npz, or a .pt of YOLOv5."""
    out: Path | None = None
    """The file; by default model.stablehlo in the run's folder, or beside the weights. A .json beside it has the class
    names and the image size of training."""
    bf16: bool = False
    """Compute in bfloat16."""


def exported(found: Weights, dtype: Any = jnp.float32) -> jax_export.Exported:
    """The detector as a program for any number and size of images."""
    n, h, w = jax_export.symbolic_shape("n, h, w", constraints=("h >= 1", "w >= 1"))
    images = jax.ShapeDtypeStruct((n, 32 * h, 32 * w, 3), jnp.uint8)
    number = jax.ShapeDtypeStruct((), jnp.float32)
    return jax_export.export(jax.jit(found_by(found, dtype)), platforms=PLATFORMS)(images, number, number)


def export(options: Export) -> Path:
    """Export as `options` say; the file."""
    found = weights.load(options.weights)
    dtype = jnp.bfloat16 if options.bf16 else jnp.float32
    place = options.weights if options.weights.is_dir() else options.weights.parent
    path = options.out or place / "model.stablehlo"
    path.write_bytes(exported(found, dtype).serialize())
    path.with_suffix(".json").write_text(json.dumps(found.description.to_json(), indent=1))
    difference = check(path, found, dtype)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB for {', '.join(PLATFORMS)}; run here, its boxes differ by at "
          f"most {difference:.2g} pixels from the network's")  # fmt: skip
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
