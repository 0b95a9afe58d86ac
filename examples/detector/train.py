"""Train a YOLOv5 detector: ``python -m examples.detector.train``; ``--help`` lists the options.

All of optimization is ``jaxsched.ports.yolov5.recipe``: one optax transformation that gathers gradients, clips them,
updates each group with its own learning rate, momentum and decay, and averages the parameters.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from functools import partial
from typing import Any

from examples.detector.memory import use_large_pages

if __name__ == "__main__":
    use_large_pages()  # before what takes long to import

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx

import jaxsched as js
from examples.detector import pictures
from examples.detector.augment import Augmentation
from examples.detector.checkpoint import Checkpoints
from examples.detector.data import Dataset
from examples.detector.devices import Devices
from examples.detector.evaluate import Evaluation, detections, find, score, to_draw
from examples.detector.fine_tune import frozen, head_and_body, start_from
from examples.detector.from_torch import flat_state
from examples.detector.journal import Journal
from examples.detector.loader import training_batches, validation_batches
from examples.detector.loss import Gains
from examples.detector.model import YOLOv5, decode, parameter_count
from examples.detector.options import Options, check_the_same, left_out, read_hyp
from examples.detector.scenes import scenes
from examples.detector.sources import read_data
from examples.detector.step import initial_state, training_step


class Stopper:
    """YOLOv5's early stopping: only a strictly better fitness counts; `patience` epochs without one end the run."""

    def __init__(self, patience: int, best: float = -1.0, best_epoch: int = 0, epoch: int = 0):
        self.patience, self.best, self.best_epoch, self.epoch = patience or math.inf, best, best_epoch, epoch

    def __call__(self, epoch: int, fitness: float) -> bool:
        self.epoch = epoch
        if fitness > self.best:
            self.best, self.best_epoch = fitness, epoch
        return self.stops

    @property
    def stops(self) -> bool:
        return self.epoch - self.best_epoch >= self.patience

    def progress(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "epoch": self.epoch}


class Asked:
    """Whether the process was asked to end (SIGTERM), to be looked at between two steps."""

    def __init__(self) -> None:
        self.to_end = False
        signal.signal(signal.SIGTERM, self.note)

    def note(self, *_: Any) -> None:
        self.to_end = True


def open_data(options: Options) -> tuple[Dataset, Dataset]:
    """The training and the validation images."""
    folder = options.data or scenes("data/scenes")
    read = partial(read_data, folder, strict=options.strict, single_class=options.single_class)
    train, held_out = read("train"), read("val")
    if train.names != held_out.names:
        raise ValueError(
            f"{folder}: training has the classes {train.names}, validation {held_out.names}; make them equal."
        )
    if not any(len(classes) for classes in train.classes):
        raise ValueError(f"{folder}: none of the {len(train)} training images has a box. Are the labels in place?")
    return train, held_out


def train(options: Options) -> Evaluation | None:
    """Train as `options` say; gives the last evaluation, or None where the process was asked to end before."""
    began = time.perf_counter()
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax warns of what is meant to be so
    asked = Asked()
    if options.distributed:
        jax.distributed.initialize(options.coordinator, options.processes, options.process)
    if options.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", str(options.compilation_cache.absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # drawing a network is a hundred small ones
    first = jax.process_index() == 0
    say = print if first else lambda *_: None

    # What is trained on, with what, and how.
    devices, hyp = Devices(options.shard_optimizer), read_hyp(options.hyp)
    dtype = jnp.bfloat16 if options.bf16 else jnp.float32
    images, held_out = open_data(options)
    loading = {"size": options.image_size, "workers": options.workers, "threads": options.threads,
               "cache": int(options.cache * 2**30)}  # fmt: skip
    batches = training_batches(
        images, Augmentation.from_hyp(hyp), batch_size=options.batch_size, epochs=options.epochs, seed=options.seed,
        shard=(jax.process_index(), jax.process_count()), **loading,
    )  # fmt: skip
    # In threads: its processes would start anew for each evaluation.
    held_out_batches = validation_batches(
        held_out, batch_size=32, rectangular=options.rectangular, **loading | {"workers": 0}
    )
    steps_per_epoch = len(images) // options.batch_size
    if options.batch_size % jax.device_count():
        raise ValueError(f"--batch-size {options.batch_size} does not divide over {jax.device_count()} devices.")

    recipe = js.ports.yolov5.recipe(
        options.hyp, epochs=options.epochs, steps_per_epoch=steps_per_epoch, batch_size=options.batch_size,
        optimizer=options.optimizer, cos_lr=options.cos_lr,
    )  # fmt: skip
    recipe = frozen(head_and_body(recipe, options.body_rate), options.freeze)
    model = YOLOv5(len(images.names), *options.multiples, rngs=nnx.Rngs(options.seed))
    model.set_attributes(parts=1 if options.sync_batch_norm else jax.device_count())
    notes = left_out(hyp) + (start_from(model, options.weights) if options.weights else [])
    say(f"{parameter_count(model):,} parameters, {len(images)} images of {len(images.names)} classes to train on, "
        f"{len(held_out)} to validate; {jax.device_count()} {jax.devices()[0].device_kind}")  # fmt: skip
    say(f"{options.epochs} epochs at {options.image_size} pixels with the hyperparameters of {options.hyp}")
    if not any(len(classes) for classes in held_out.classes):
        notes.append("no validation image has a box: every mAP will be 0, and no checkpoint better than another")
    for note in (*images.notes, *(f"validation: {note}" for note in held_out.notes), *notes):
        say(f"note: {note}")

    # The two programs: a training step, and the detections of the averaged network.
    tx = recipe.build(flatten=True)
    graph, state = initial_state(model, tx)
    places = devices.of_state(state)
    state = jax.device_put(state, places)
    gains = Gains.from_hyp(hyp, classes=len(images.names), image_size=options.image_size)
    step = jax.jit(
        training_step(graph, tx, gains, dtype=dtype, ratios_of=recipe if options.log_ratios else None),
        donate_argnums=0,
        out_shardings=(places, devices.whole),
    )

    @jax.jit
    def predict(params: Any, stats: Any, pixels: jax.Array) -> jax.Array:
        network = nnx.merge(graph, params, stats, copy=True)
        raw = network(pixels.astype(dtype) / 255)
        return decode([level.astype(jnp.float32) for level in raw])  # bfloat16 has but 256 places in a row

    # Where the run stands.
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(options.out / "checkpoints")
    stopper, start = Stopper(options.patience), 0
    decisive = options.decisive() | {"images": len(images), "classes": list(images.names)}
    if options.resume:
        state, progress = checkpoints.restore(state)
        check_the_same(decisive, progress["options"])
        batches.set_state(progress["data"])
        stopper, start = Stopper(options.patience, **progress["stopper"]), progress["step"]
    elif checkpoints.last() is not None:
        raise ValueError(f"{options.out} holds a run already. Go on with it (--resume), or choose another --out.")
    steps = options.epochs * steps_per_epoch
    journal = Journal(options.out, start=start, steps=steps, steps_per_epoch=steps_per_epoch,
                      tensorboard=options.tensorboard, quiet=not first)  # fmt: skip

    averaged = jax.jit(lambda state: (js.ema_params(state.opt), state.average), out_shardings=devices.whole)

    def save(done: int, fitness: float | None = None) -> None:
        weights = flat_state(nnx.merge(graph, *averaged(state), copy=True))
        progress = {"step": done, "data": batches.get_state(), "stopper": stopper.progress(),
                    "options": decisive}  # fmt: skip
        checkpoints.save(done, state, weights, progress, fitness)
        journal.write()

    def found(select: Any, batches: Any) -> tuple[np.ndarray, ...]:
        network, select = partial(predict, *jax.device_get(averaged(state))), jax.jit(select)
        return find(lambda pixels: select(network(pixels)), held_out, batches)

    def judge() -> Evaluation:
        return score(held_out, found(detections, held_out_batches))

    at_end = start == steps or stopper.stops
    evaluation = judge() if at_end else None
    for number in range(steps if at_end else start, steps):
        asked_at = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - asked_at
        state, metrics = step(state, devices.batch(batch))
        journal.step(number, metrics, waited / (time.perf_counter() - asked_at))
        if number == 0 and first:
            pictures.training_batch(batch, images.names, options.out / "training_batch.png")

        done, evaluation, stop = number + 1, None, asked.to_end or checkpoints.reached_preemption(number + 1)
        if done % steps_per_epoch == 0:
            epoch = number // steps_per_epoch
            if done == steps or (epoch + 1) % options.evaluate_every == 0:
                evaluation = judge()
                journal.evaluated(evaluation.map50, evaluation.map)
                stop |= stopper(epoch, evaluation.fitness)
            save(done, evaluation.fitness if evaluation else None)
        elif stop:
            save(done)
        if stop:
            break
    journal.close()
    checkpoints.close()
    if evaluation is None:
        say(f"asked to end after step {done}; go on with --resume")
        return None
    if first:
        shown = next(iter(held_out_batches))
        pictures.predictions(held_out, found(to_draw, [shown]), shown["index"], options.out / "predictions.png")
        pictures.confusion(evaluation, held_out.names, options.out / "confusion.png")
        pictures.precision_recall(evaluation, held_out.names, options.out / "precision_recall.png")
        pictures.losses(journal.path, options.out / "losses.png")
        pictures.hyperparameters(journal.path, options.out / "hyperparameters.png")
    say(evaluation.table())
    say(
        f"mAP@0.5 {evaluation.map50:.4f}, mAP@0.5:0.95 {evaluation.map:.4f}, {time.perf_counter() - began:.0f} s in all"
    )
    say(f"{journal.waited():.1%} of it waiting for data; log, pictures and checkpoints are in {options.out}")
    return evaluation


def main() -> None:
    """The command line; what is wrong with the input is said in a line."""
    try:
        train(tyro.cli(Options, description=Options.__doc__))
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
