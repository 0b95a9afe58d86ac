"""Export a network as ONNX, with the input and the output of YOLOv5's own ONNX files.

    pip install -e '.[onnx]'
    python -m examples.detector export --weights runs/detector --format onnx

The input ``images`` is float32 ``[n, 3, size, size]``, RGB from 0 to 1. The output ``output0`` is
``[n, boxes, 5 + classes]``: centre and size in pixels, objectness, classes; suppression is left to the program that
runs the file. The stride and the class names are in the file's metadata, where YOLOv5's programs look for them.
"""

from __future__ import annotations

import logging
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from examples.detector.detector import check_size
from examples.detector.model import STRIDES, decode
from examples.detector.weights import Weights

OPSET = 17  # YOLOv5's


def write_onnx(path: Path, found: Weights, image_size: int | None = None) -> float:
    """Write the file and run it on random images; the largest difference of a value from the network's, as a fraction.

    Raises:
        ValueError: If jax2onnx and onnxruntime are not installed, or if the file gives other values than the network.
    """
    try:
        import jax2onnx
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ValueError(f"--format onnx needs {error.name}, which is an extra: pip install -e '.[onnx]'") from None
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it warns of each shape inside that it does not write down
    size = check_size(image_size or found.description.image_size)
    graph, params, stats = nnx.split(found.model(), nnx.Param, nnx.BatchStat)

    def predict(images: jax.Array) -> jax.Array:
        model = nnx.merge(graph, params, stats, copy=True)
        return decode(model(images.transpose(0, 2, 3, 1)), model.anchors)

    program = jax2onnx.to_onnx(
        predict, [("n", 3, size, size)], opset=OPSET, input_names=["images"], output_names=["output0"]
    )
    names = dict(enumerate(found.description.names))
    onnx.helper.set_model_props(program, {"stride": str(max(STRIDES)), "names": str(names)})
    onnx.checker.check_model(program, full_check=True)
    onnx.save(program, path)

    images = np.random.default_rng(0).random((2, 3, size, size), np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (values,) = session.run(["output0"], {"images": images})
    difference = float(np.abs(values / np.asarray(jax.jit(predict)(images)) - 1).max())
    if not difference < 1e-2:  # some 60 layers in float32, in another order
        raise ValueError(f"{path} gives other values than the network it was exported from, by up to {difference:.2g}.")
    return difference
