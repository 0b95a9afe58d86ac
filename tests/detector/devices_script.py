"""Run by test_devices.py in a process of its own: the losses of a few training steps, as JSON.

All convolutions take the forms for large ones.
"""

import json
import sys

import jax
import numpy as np
from flax import nnx

import jaxsched as js
from examples.detector import fused
from examples.detector.devices import Devices
from examples.detector.loss import Gains
from examples.detector.model import YOLOv5
from examples.detector.options import HYP
from examples.detector.step import initial_state, training_step

STEPS, BATCH, SIZE = 6, 16, 64


def batches(process, processes):
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        batch = {
            "image": rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8),
            "boxes": rng.uniform(0.2, 0.6, (BATCH, 8, 4)).astype(np.float32),
            "classes": rng.integers(-1, 10, (BATCH, 8)).astype(np.int32),
        }
        mine = slice(process * BATCH // processes, (process + 1) * BATCH // processes)
        yield {k: v[mine] for k, v in batch.items()}


def losses():
    devices = Devices()
    recipe = js.ports.yolov5.recipe(HYP, epochs=2, steps_per_epoch=3, batch_size=BATCH)
    tx = recipe.build(flatten=True)
    model = YOLOv5(10, 0.33, 0.125, rngs=nnx.Rngs(0))
    model.set_attributes(fused=True)
    graph, state = initial_state(model, tx)
    state = jax.device_put(state, devices.whole)
    step = devices.compile(training_step(graph, tx, Gains()))
    found = []
    for batch in map(devices.batch, batches(jax.process_index(), jax.process_count())):
        if not found:
            compiled = step.lower(state, batch).compile()
        state, metrics = compiled(state, batch)
        found.append(float(metrics["loss"]))
    return {"losses": found, "devices": jax.device_count(), "gathers": compiled.as_text().count("all-gather(")}


if __name__ == "__main__":
    fused.LARGE = 0
    kind, *rest = sys.argv[1:]
    if kind == "processes":
        address, index = rest
        jax.config.update("jax_num_cpu_devices", 1)
        jax.distributed.initialize(address, num_processes=2, process_id=int(index))
        result = losses()
    else:
        jax.config.update("jax_num_cpu_devices", int(kind))
        result = losses()
    print(json.dumps(result))
