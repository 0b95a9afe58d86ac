"""An exported ONNX file, run by onnxruntime, which programs that run YOLOv5's ONNX files use."""

import ast

import jax
import numpy as np
import pytest
from flax import nnx

from examples.detector import weights
from examples.detector.__main__ import main
from examples.detector.model import decode
from examples.detector.weights import Description, Weights, flat_state

pytest.importorskip("jax2onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(autouse=True)
def _compile_quickly():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def test_an_onnx_file_has_yolov5s_input_and_output(tmp_path, capsys):
    description = Description(("cat", "dog"), 0.33, 0.0625, 64)
    rng = np.random.default_rng(0)
    arrays = {k: rng.normal(0, 0.1, x.shape).astype(np.float32) for k, x in flat_state(description.abstract()).items()}
    arrays |= {k: np.ones_like(x) for k, x in arrays.items() if k.endswith(("scale", "var"))}
    weights.save(tmp_path / "w.npz", Weights(description, arrays))
    main(["export", "--weights", str(tmp_path / "w.npz"), "--format", "onnx"])
    assert "model.onnx" in capsys.readouterr().out

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["stride"] == "32"
    assert ast.literal_eval(metadata["names"]) == {0: "cat", 1: "dog"}
    images = np.random.default_rng(0).random((3, 3, 64, 64), np.float32)
    (found,) = session.run(["output0"], {"images": images})
    assert found.shape == (3, 3 * (8 * 8 + 4 * 4 + 2 * 2), 7)
    graph, state = nnx.split(weights.load(tmp_path / "w.npz").model())
    predict = jax.jit(lambda images: decode(nnx.merge(graph, state)(images), description.anchors))
    # Some 60 layers of rounding, of either sign; boxes are up to 64 pixels.
    np.testing.assert_allclose(found, predict(images.transpose(0, 2, 3, 1)), rtol=1e-4, atol=64 * 2**-18)


def test_options_that_a_format_does_not_have_are_refused(tmp_path):
    for words, said in (
        (["--format", "onnx", "--bf16"], "--bf16: an ONNX file computes in float32"),
        (["--image-size", "64"], "--image-size: a StableHLO file takes images of any size"),
    ):
        with pytest.raises(SystemExit, match=said):
            main(["export", "--weights", str(tmp_path), *words])
