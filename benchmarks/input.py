"""How fast batches are made, and what share of a training step is spent waiting for them.

python benchmarks/input.py                         # the embedded scenes at 128 px, batch 16
python benchmarks/input.py --data coco --image-size 640 --batch-size 64 --workers 8
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import jax
import numpy as np
import tyro
from flax import nnx

sys.path.insert(0, str(Path(__file__).parents[1]))

import jaxsched as js
from examples.detector.augment import Augmentation
from examples.detector.loader import training_batches
from examples.detector.loss import Gains
from examples.detector.model import SIZES, YOLOv5
from examples.detector.options import SCENES_HYP, read_hyp
from examples.detector.scenes import scenes
from examples.detector.sources import read_data
from examples.detector.step import initial_state, training_step


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure the input pipeline."""

    data: Path | None = None
    """Folder of images and boxes; none: the embedded scenes."""
    image_size: int = 128
    """Width and height of the input, in pixels."""
    batch_size: int = 16
    """Images in a batch."""
    threads: int = 2
    """Threads that load, of each process."""
    workers: int = 0
    """Processes that load; 0: threads of this one."""
    batches: int = 60
    """Batches to measure."""


def main(o: Options) -> None:
    dataset = read_data(o.data or scenes("data/scenes"), "train")
    hyp = read_hyp(SCENES_HYP)

    def loading() -> object:
        return training_batches(
            dataset, Augmentation.from_hyp(hyp), size=o.image_size, batch_size=o.batch_size, epochs=1000, seed=0,
            threads=o.threads, workers=o.workers,
        )  # fmt: skip

    batches = loading()
    for _ in range(len(dataset) // o.batch_size):  # one epoch, which fills the cache
        next(batches)
    began = time.perf_counter()
    for _ in range(o.batches):
        batch = next(batches)
    alone = (time.perf_counter() - began) / o.batches
    print(f"loading alone: {alone * 1e3:.1f} ms a batch, {o.batch_size / alone:.0f} images a second")

    recipe = js.ports.yolov5.recipe(SCENES_HYP, epochs=10, steps_per_epoch=1000, batch_size=o.batch_size)
    tx = recipe.build(flatten=True)
    model = YOLOv5(len(dataset.names), *SIZES["n"], rngs=nnx.Rngs(0))
    model.set_attributes(fused=True)
    graph, state = initial_state(model, tx)
    gains = Gains.from_hyp(hyp, classes=len(dataset.names), image_size=o.image_size)
    step = jax.jit(training_step(graph, tx, gains), donate_argnums=0)
    state, metrics = step(state, batch)
    jax.block_until_ready(metrics)
    waits, began = [], time.perf_counter()
    for _ in range(o.batches):
        asked = time.perf_counter()
        batch = next(batches)
        waits.append(time.perf_counter() - asked)
        state, metrics = step(state, batch)
    jax.block_until_ready(metrics)
    whole = (time.perf_counter() - began) / o.batches
    print(
        f"training with it: {whole * 1e3:.1f} ms a step, {np.sum(waits) / o.batches / whole:.1%} of it waiting for data"
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=Options.__doc__))
