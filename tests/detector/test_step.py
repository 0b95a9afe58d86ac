"""The whole training step, as a program for other devices than this one."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export

import jaxsched as js
from examples.detector.loss import Gains
from examples.detector.model import YOLOv5
from examples.detector.options import HYP
from examples.detector.step import initial_state, training_step


def network():
    model = YOLOv5(3, 0.33, 0.0625, rngs=nnx.Rngs(0))
    model.set_attributes(fused=True)
    return model


def test_the_step_lowers_for_a_gpu_and_a_tpu():
    """In bfloat16 and with the ratios of the groups, so that all a step can hold is in it."""
    recipe = js.ports.yolov5.recipe(HYP, epochs=3, steps_per_epoch=50, batch_size=16)
    tx = recipe.build(flatten=True)
    graph, *_ = nnx.split(nnx.eval_shape(network), nnx.Param, nnx.BatchStat)
    state = jax.eval_shape(lambda: initial_state(network(), tx)[1])
    batch = {
        "image": jax.ShapeDtypeStruct((2, 32, 32, 3), np.uint8),
        "boxes": jax.ShapeDtypeStruct((2, 104, 4), np.float32),  # long enough for branches of the loss
        "classes": jax.ShapeDtypeStruct((2, 104), np.int32),
    }
    step = training_step(graph, tx, Gains(), dtype=jnp.bfloat16, ratios_of=recipe)
    program = export.export(jax.jit(step, donate_argnums=0), platforms=["cuda", "tpu"])(state, batch)
    assert program.platforms == ("cuda", "tpu")
    assert "stablehlo.convolution" in program.mlir_module()
    assert program.out_tree.num_leaves > program.in_tree.num_leaves - 3  # the state, and metrics
