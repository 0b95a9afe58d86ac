"""The cost of a training step of the detector and of its parts; with --torch, compared with the same step in torch.

    python benchmarks/train_step.py --torch                                   # n at 128 px, batch 16
    OMP_WAIT_POLICY=passive taskset -c 0 python benchmarks/train_step.py --image-size 640 --torch   # on one core
    python benchmarks/train_step.py --size s --image-size 640 --batch-size 64 --bf16 --torch   # on a GPU

On a CPU the batch is split over all cores, as in training; JAX_NUM_CPU_DEVICES=1 leaves the cores to XLA.

Times are medians in milliseconds over whole cycles of gradient accumulation, after compilation, with the batch in
memory. The two are measured in turns, so that other load affects both. The processor time is that of all threads: load
affects it less than the time by the clock. OMP_WAIT_POLICY=passive keeps torch's threads from using the processor
while they wait for each other. What updates cost is shown twice: called alone, with the hand-over of all its arrays,
and as what it adds to the gradients. On a CPU under Linux, start it with GLIBC_TUNABLES=glibc.malloc.hugetlb=1 to
measure both with memory in pages of 2 MB.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import nnx

import jaxsched as js
from benchmarks.cost import Cost, in_turns
from examples.detector.devices import Devices, use_cores
from examples.detector.loss import Gains, detection_loss
from examples.detector.model import SIZES, YOLOv5
from examples.detector.options import HYP, read_hyp
from examples.detector.step import initial_state, training_step


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure a training step."""

    size: Literal["n", "s", "m", "l", "x"] = "n"
    """Size of the network."""
    image_size: int = 128
    """Width and height of the input, in pixels."""
    batch_size: int = 16
    """Images in a batch."""
    boxes: int = 8
    """Boxes in an image; the labels are padded to 24."""
    bf16: bool = False
    """Compute in bfloat16 (torch: autocast)."""
    fused: bool = True
    """Use the forms of examples/detector/fused.py, as the training does."""
    torch: bool = False
    """Measure the same in torch too: on a GPU with channels-last and torch.compile."""
    cycles: int | None = None
    """Cycles of accumulation to measure. The default is 20 at 128 pixels, and fewer for larger images: 2 at 640."""
    kernels: bool = False
    """Print the fused kernels of the compiled step."""


def main(o: Options) -> None:
    rng = np.random.default_rng(0)
    boxes = np.zeros((o.batch_size, 24, 4), np.float32)
    classes = np.full((o.batch_size, 24), -1, np.int32)
    boxes[:, : o.boxes, :2] = rng.uniform(0.2, 0.8, (o.batch_size, o.boxes, 2))
    boxes[:, : o.boxes, 2:] = rng.uniform(0.05, 0.4, (o.batch_size, o.boxes, 2))
    classes[:, : o.boxes] = rng.integers(0, 10, (o.batch_size, o.boxes))
    image = rng.integers(0, 256, (o.batch_size, o.image_size, o.image_size, 3), np.uint8)
    hyp = read_hyp(HYP)
    gains = Gains.from_hyp(hyp, classes=10, image_size=o.image_size)
    accumulate = max(round(64 / o.batch_size), 1)

    use_cores(o.batch_size)
    device, devices = jax.devices()[0], Devices()
    print(f"{o.size} at {o.image_size} px, batch {o.batch_size}, {'bf16' if o.bf16 else 'float32'}, an update every "
          f"{accumulate} batches, on {jax.device_count()} {device.device_kind}")  # fmt: skip
    print(*(f"{name} is {os.environ.get(name)!r}" for name in ("GLIBC_TUNABLES", "OMP_WAIT_POLICY")), sep=", ")
    batch = devices.batch({"image": image, "boxes": boxes, "classes": classes})
    parts = jax_parts(o, devices, batch, gains, accumulate)
    if o.torch:
        parts |= torch_parts(o, image, boxes, classes, gains, accumulate)
    costs = in_turns(parts, o.cycles or max(round(20 * (128 / o.image_size) ** 2), 2), accumulate)

    median = statistics.median
    for side in ("jax", "torch") if o.torch else ("jax",):
        shown = {name: each for name, each in costs.items() if name.startswith(side)}
        steps, without = shown.pop(f"{side}: whole step"), costs[f"{side}: forward, loss and backward"]
        shown[f"{side}: what the update adds to the step"] = [
            Cost(*(a - b for a, b in zip(*pair, strict=True))) for pair in zip(steps, without, strict=True)
        ]
        clock, processor, system, faults = (median(column) for column in zip(*steps, strict=True))
        print(f"\n{side}: {clock:.1f} ms a step, {o.batch_size / clock * 1e3:.0f} images a second")
        print(f"  processor time {processor:.1f} ms, {system:.1f} of it in the system for {faults:.0f} page faults")
        for name, each in shown.items():
            of_part, of_cores = median(c.clock for c in each), median(c.processor for c in each)
            print(f"  {name.split(': ')[1]:<44} {of_part:8.2f} ms {of_part / clock:7.1%}, processor {of_cores:8.2f} ms")
    if o.torch:
        print("\njax / torch (in brackets: the middle half of the cycles)")
        for field in ("clock", "processor"):
            pairs = zip(costs["jax: whole step"], costs["torch: whole step"], strict=True)
            low, middle, high = statistics.quantiles([getattr(a, field) / getattr(b, field) for a, b in pairs], n=4)
            print(f"  {field:<10} {middle:.2f} ({low:.2f} to {high:.2f})")
    if o.kernels:
        step, state, _ = jax_step(o, devices, gains, jax_recipe(o, accumulate))
        print_kernels(step, state, batch)


def jax_recipe(o: Options, accumulate: int) -> js.Recipe:
    """YOLOv5's after warm-up: an update every `accumulate` batches."""
    hyp = dict(read_hyp(HYP).items()) | {"warmup_epochs": 0.0}
    recipe = js.ports.yolov5.recipe(hyp, epochs=100, steps_per_epoch=1000, batch_size=o.batch_size)
    return recipe.replace(accumulate=js.Accumulation(accumulate, drop_at_epoch_end=True))


def jax_step(
    o: Options, devices: Devices, gains: Gains, recipe: js.Recipe, ratios: bool = False
) -> tuple[Any, Any, Any]:
    """The step, to be compiled, its state and the structure of the model."""
    tx = recipe.build(flatten=True)
    model = YOLOv5(10, *SIZES[o.size], rngs=nnx.Rngs(0))
    model.set_attributes(fused=o.fused)
    graph, state = initial_state(model, tx)
    dtype = jnp.bfloat16 if o.bf16 else jnp.float32
    step = training_step(graph, tx, gains, dtype=dtype, ratios_of=recipe if ratios else None)
    return devices.compile(step), jax.device_put(state, devices.whole), graph


def jax_parts(o: Options, devices: Devices, batch: Any, gains: Gains, accumulate: int) -> dict[str, Callable[[], Any]]:
    """Functions that each do one step's worth of work."""
    recipe = jax_recipe(o, accumulate)
    dtype = jnp.bfloat16 if o.bf16 else jnp.float32
    _, state, graph = jax_step(o, devices, gains, recipe)
    params = state.params
    held = {"of": (state.stats, jax.tree.map(jnp.copy, params))}

    def whole(ratios: bool = False) -> Callable[[], Any]:
        step, state, _ = jax_step(o, devices, gains, recipe, ratios)
        held = {"state": state}

        def once() -> Any:
            held["state"], metrics = step(held["state"], batch)
            return metrics["loss"]

        return once

    @devices.compile
    def differentiate(before: Any, params: Any, batch: Any) -> Any:
        stats, _ = before  # the memory of both is the result's

        def loss_of(params: Any) -> Any:
            model = nnx.merge(graph, params, stats, copy=True)
            raw = model(batch["image"].astype(dtype) / 255, train=True)
            loss, _ = detection_loss(raw, batch["boxes"], batch["classes"], model.anchors, gains)
            return loss, nnx.as_pure(nnx.state(model, nnx.BatchStat))

        (loss, stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
        return (stats, gradients), loss

    def gradients() -> Any:
        held["of"], loss = differentiate(held["of"], params, batch)
        return loss

    def updating(tx: optax.GradientTransformation) -> Callable[[], Any]:
        def update(params: Any, state: Any, grads: Any) -> Any:
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        compiled = jax.jit(update, donate_argnums=(0, 1))  # donated in the order of the results, or they are copied
        own = jax.tree.map(jnp.copy, params)
        kept = {"of": (own, tx.init(own))}
        grads = jax.tree.map(lambda p: 1e-3 * jnp.ones_like(p), params)

        def once() -> Any:
            params, state = kept["of"]
            kept["of"] = compiled(params, state, grads)
            return kept["of"]

        return once

    with_ratios = {"jax: with the ratios of its groups": whole(ratios=True)} if o.image_size < 256 else {}
    return {
        "jax: whole step": whole(),
        **with_ratios,
        "jax: forward, loss and backward": gradients,
        "jax: recipe (gather, clip, groups, EMA)": updating(recipe.build(flatten=True)),
        "jax: recipe, not flattened": updating(recipe.build()),
        "jax: recipe without EMA": updating(recipe.replace(ema=None).build(flatten=True)),
        "jax: bare optax.sgd, no groups, each batch": updating(optax.sgd(0.01, 0.937, nesterov=True)),
    }


def torch_parts(
    o: Options, image: Any, boxes: Any, classes: Any, gains: Gains, accumulate: int
) -> dict[str, Callable[[], Any]]:
    """The same in torch."""
    import torch

    from benchmarks.torch_detector import Trainer
    from benchmarks.torch_detector import YOLOv5 as Network

    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    network = Network(10, *SIZES[o.size]).to(device)
    pixels = torch.from_numpy(image).to(device).permute(0, 3, 1, 2)
    if gpu:
        network, pixels = (
            network.to(memory_format=torch.channels_last),
            pixels.contiguous(memory_format=torch.channels_last),
        )
    else:
        pixels = pixels.contiguous()
    rows, labels = np.nonzero(classes >= 0)
    targets = np.concatenate([rows[:, None], classes[rows, labels][:, None], boxes[rows, labels]], 1)
    targets = torch.from_numpy(targets.astype(np.float32)).to(device)
    trainer = Trainer(network, gains, accumulate=accumulate, amp=o.bf16)
    if gpu:
        trainer.model = torch.compile(network)

    def done() -> None:
        if gpu:
            torch.cuda.synchronize()

    def whole() -> None:
        trainer.step(pixels, targets)
        done()

    def gradients() -> None:
        trainer.gradients(pixels, targets)
        done()

    def update() -> None:
        if trainer.count % accumulate == 0:
            trainer.update()
        trainer.count += 1
        done()

    gradients()
    return {
        "torch: whole step": whole,
        "torch: forward, loss and backward": gradients,
        "torch: clip, groups, EMA": update,
    }


def print_kernels(step: Any, state: Any, batch: Any) -> None:
    """The number of kernels of each kind in the compiled step, and the operations in the fused ones."""
    text = step.lower(state, batch).compile().as_text()
    entry = text[text.index("\nENTRY") :]
    kinds = collections.Counter(
        re.sub(r"[.\d]+$", "", name) for name in re.findall(r"^\s+(?:ROOT )?%?([\w.-]+) = ", entry, re.M)
    )
    calls = collections.Counter(re.findall(r"\}? ([\w-]+)\(", entry))
    print("\nkernels of the compiled step, by what XLA named them")
    for name, count in kinds.most_common(25):
        print(f"  {count:5d} {name}")
    print("instructions")
    for name, count in calls.most_common(15):
        print(f"  {count:5d} {name}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=Options.__doc__))
