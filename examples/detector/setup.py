"""What a run consists of: data, recipe, network, compiled step, and where it stands."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxsched as js
from examples.detector import weights
from examples.detector.augment import Augmentation
from examples.detector.autoanchor import suited
from examples.detector.checkpoint import Checkpoints
from examples.detector.data import Dataset, in_both
from examples.detector.devices import Devices
from examples.detector.fine_tune import frozen, head_and_body, start_from
from examples.detector.loader import Batches, training_batches, validation_batches
from examples.detector.loss import Gains
from examples.detector.model import ANCHORS, parameter_count
from examples.detector.options import Options, check_the_same, left_out, read_hyp
from examples.detector.scenes import scenes
from examples.detector.sources import read_data
from examples.detector.step import Step, TrainState, initial_state, training_step
from examples.detector.stop import EarlyStopping
from examples.detector.validator import Validator
from examples.detector.weights import Description, Weights, flat_state


@dataclasses.dataclass
class Run:
    """A training run.

    Attributes:
        options: What it was started with.
        train: The training images.
        description: The network.
        graph: Its structure.
        recipe: What the optimizer does.
        devices: Where arrays live.
        batches: Of training images.
        step: The compiled training step.
        state: What the next step starts from.
        validator: Evaluates the averaged network.
        averaged: Parameters and statistics of the averaged network, from a state.
        checkpoints: Of the run.
        stopping: The rule for early stopping.
        decisive: What decides its numbers; a resumed run must have the same.
        steps_per_epoch: Steps in an epoch.
        start: The step it starts or resumes at.
        notes: What a person should know, a line each.
    """

    options: Options
    train: Dataset
    description: Description
    graph: Any
    recipe: js.Recipe
    devices: Devices
    batches: Batches
    step: Step
    state: TrainState
    validator: Validator
    averaged: Callable[[TrainState], tuple[Any, Any]]
    checkpoints: Checkpoints
    stopping: EarlyStopping
    decisive: dict[str, Any]
    steps_per_epoch: int
    start: int
    notes: list[str]

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.options.epochs * self.steps_per_epoch  # type: ignore[operator]

    def averaged_on_host(self) -> tuple[Any, Any]:
        """Parameters and statistics of the averaged network."""
        return jax.device_get(self.averaged(self.state))

    def save(self, done: int, fitness: float | None) -> None:
        """Write a checkpoint after `done` steps."""
        arrays = flat_state(nnx.merge(self.graph, *self.averaged(self.state), copy=True))
        progress = {"step": done, "data": self.batches.get_state(), "stopping": self.stopping.progress(),
                    "options": self.decisive, "labels": label_sum(self.train, self.validator.dataset),
                    "devices": jax.device_count()}  # fmt: skip
        self.checkpoints.save(done, self.state, Weights(self.description, arrays), progress, fitness)


def set_up(options: Options) -> Run:
    """Read the data, build the network and its training step, and restore the state if the run resumes.

    Raises:
        ValueError: For anything wrong with the options, the data or a checkpoint.
    """
    devices, hyp = Devices(), read_hyp(options.hyp)
    train, val = open_data(options)
    batches, val_batches = open_batches(options, hyp, train, val)
    steps_per_epoch = len(train) // options.batch_size
    notes = [*train.notes, *(f"validation: {note}" for note in val.notes), *left_out(hyp)]
    if shared := in_both(train, val):
        notes.append(f"images both in training and in validation: {shared}; the mAP looks better than it is")
    if not any(map(len, val.classes)):
        notes.append("no validation image has a box: every mAP will be 0, and no checkpoint better than another")

    recipe = run_recipe(options, steps_per_epoch)
    gains = Gains.from_hyp(hyp, classes=len(train.names), image_size=options.image_size)

    checkpoints = Checkpoints(options.out / "checkpoints", keep_every=options.save_period * steps_per_epoch)
    if checkpoints.any() and not options.resume:
        raise ValueError(f"--out {options.out} holds a run already. Continue it (--resume), or choose another --out.")
    given = weights.load(options.weights) if options.weights and not options.resume else None
    anchors = given.description.anchors if given else ANCHORS
    if options.resume:
        anchors = checkpoints.weights("--resume").description.anchors
    elif options.auto_anchor:
        anchors, note = suited(train, anchors, options.image_size, gains.anchor_t, options.seed)
        notes.append(note)
    description = Description(train.names, *options.multiples, options.image_size, anchors)
    model = description.build(nnx.Rngs(options.seed))
    model.set_attributes(fused=options.fused)
    if given:
        notes += [*given.notes, *start_from(model, given)]
    notes = [
        f"{parameter_count(model):,} parameters; {len(train)} images of {len(train.names)} classes to train on, "
        f"{len(val)} to validate; {jax.device_count()} {jax.devices()[0].device_kind}",
        f"{options.epochs} epochs at {options.image_size} pixels with the hyperparameters of {options.hyp}",
        *(f"note: {note}" for note in notes),
    ]

    tx = recipe.build(flatten=True)
    graph, state = initial_state(model, tx)
    state = jax.device_put(state, devices.whole)
    dtype = jnp.bfloat16 if options.bf16 else jnp.float32
    step = training_step(graph, tx, gains, dtype=dtype, ratios_of=recipe if options.log_ratios else None)
    run = Run(
        options=options, train=train, description=description, graph=graph, recipe=recipe, devices=devices,
        batches=batches, step=devices.compile(step), state=state,
        validator=Validator(graph, val, val_batches, gains, dtype),
        averaged=jax.jit(lambda state: (js.ema_params(state.opt), state.average), out_shardings=devices.whole),
        checkpoints=checkpoints, stopping=EarlyStopping(options.patience),
        decisive=options.decisive() | {"images": len(train), "classes": list(train.names)},
        steps_per_epoch=steps_per_epoch, start=0, notes=notes,
    )  # fmt: skip
    if options.resume:
        restore(run)
    return run


def run_recipe(options: Options, steps_per_epoch: int) -> js.Recipe:
    """What the optimizer does: YOLOv5's recipe, with the body at another rate or frozen where the options say so."""
    recipe = js.ports.yolov5.recipe(
        options.hyp, epochs=options.epochs, steps_per_epoch=steps_per_epoch, batch_size=options.batch_size,
        optimizer=options.optimizer, cos_lr=options.cos_lr, version="7.0",
    )  # fmt: skip
    return frozen(head_and_body(recipe, options.body_rate), options.freeze)


def restore(run: Run) -> None:
    """Continue from the newest good checkpoint."""
    run.state, progress = run.checkpoints.restore(run.state)
    check_the_same(run.decisive, progress["options"])
    run.batches.set_state(progress["data"])
    run.stopping = EarlyStopping(run.options.patience, **progress["stopping"])
    run.start = progress["step"]
    run.notes += run.checkpoints.notes
    if run.checkpoints.notes:
        run.notes.append(f"resumed from step {run.start}, the newest good checkpoint")
    if progress["devices"] != jax.device_count():
        run.notes.append(f"the run was on {progress['devices']} devices and now is on {jax.device_count()}: sums are "
                         "taken in another order, so the last bits differ")  # fmt: skip
    if progress["labels"] != label_sum(run.train, run.validator.dataset):
        run.notes.append("images or labels have changed since the run began: it continues with the new ones, and is "
                         "no longer the run it would have been")  # fmt: skip


def label_sum(*datasets: Dataset) -> int:
    """A checksum of the names, sizes and labels of all images."""
    total = 0
    for data in datasets:
        for image, size, boxes, classes in zip(data.images, data.sizes, data.boxes, data.classes, strict=True):
            total = zlib.crc32(f"{image.name} {size}".encode() + boxes.tobytes() + classes.tobytes(), total)
    return total


def open_data(options: Options) -> tuple[Dataset, Dataset]:
    """The training and the validation images."""
    train, val = (read_split(options.data, s, options.strict, options.single_class) for s in ("train", "val"))
    if train.names != val.names:
        raise ValueError(
            f"{options.data}: training has the classes {train.names}, validation {val.names}; make them equal."
        )
    if not any(map(len, train.classes)):
        raise ValueError(
            f"{options.data}: none of the {len(train)} training images has a box. Are the labels in place?"
        )
    return train, val


def read_split(data: Path | None, split: str, strict: bool = False, single_class: bool = False) -> Dataset:
    """A split of `data`, or of the embedded scenes."""
    return read_data(data or scenes("data/scenes"), split, strict=strict, single_class=single_class)


def check_names(of_weights: tuple[str, ...], of_data: tuple[str, ...]) -> None:
    """Weights can be evaluated on data of as many classes; an error otherwise."""
    if len(of_weights) != len(of_data):
        raise ValueError(
            f"the weights have {len(of_weights)} classes and the data {len(of_data)}. Give theirs with --data."
        )


def open_batches(options: Options, hyp: dict[str, float], train: Dataset, val: Dataset) -> tuple[Batches, Any]:
    """Batches of the whole run, and of one evaluation."""
    if options.batch_size % jax.device_count():
        raise ValueError(f"--batch-size {options.batch_size} does not divide over {jax.device_count()} devices.")
    loading = {"size": options.image_size, "threads": options.threads, "cache": int(options.cache * 2**30)}
    batches = training_batches(
        train, Augmentation.from_hyp(hyp), batch_size=options.batch_size, epochs=options.epochs, seed=options.seed,
        shard=(jax.process_index(), jax.process_count()), workers=options.workers, multi_scale=options.multi_scale,
        **loading,
    )  # fmt: skip
    # In threads, since worker processes would be started again for each evaluation.
    return batches, validation_batches(val, batch_size=min(32, len(val)), rectangular=options.rectangular, **loading)


def rates(recipe: js.Recipe) -> dict[str, np.ndarray]:
    """The learning rate of each group at each step."""
    return {group: np.asarray(values["lr"]) for group, values in js.curves(recipe).items()}
