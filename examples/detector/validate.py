"""Evaluate a network on a split of a data set: ``python -m examples.detector validate --weights runs/detector``."""

from __future__ import annotations

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
from flax import nnx

from examples.detector import coco, pictures, weights
from examples.detector.data import write_skipped
from examples.detector.detector import check_size
from examples.detector.evaluate import Evaluation
from examples.detector.loader import validation_batches
from examples.detector.setup import check_names, read_split
from examples.detector.validator import Validator


@dataclasses.dataclass(frozen=True)
class Validate:
    """Evaluate a network: precision, recall and COCO's mAP of each class, pictures, COCO's JSON."""

    weights: Path
    """A run's folder, an .npz, or a .pt of YOLOv5."""
    data: Path | None = None
    """As for training; none: the embedded scenes."""
    split: Literal["train", "val", "test"] = "val"
    """Which images."""
    strict: bool = False
    """As for training."""
    single_class: bool = False
    """As for training."""
    out: Path = Path("runs/validate")
    """Folder for the pictures, and for the detections and the true boxes as COCO's JSON."""
    image_size: int | None = None
    """Width and height of the network's input, in pixels; by default that of training."""
    batch_size: int = 32
    """Images computed at a time."""
    rectangular: bool = True
    """Batches just large enough for their images, as in YOLOv5's val.py; otherwise squares."""
    bf16: bool = False
    """Compute in bfloat16."""


def validate(options: Validate) -> Evaluation:
    """Evaluate as `options` say, and print the result."""
    found = weights.load(options.weights)
    for note in found.notes:
        print(f"note: {note}")
    dataset = read_split(options.data, options.split, options.strict, options.single_class)
    for note in dataset.notes:
        print(f"note: {note}")
    write_skipped(options.out, dataset)
    check_names(found.description.names, dataset.names)
    size = check_size(options.image_size or found.description.image_size)
    batch_size = min(options.batch_size, len(dataset))
    batches = validation_batches(dataset, size=size, batch_size=batch_size, rectangular=options.rectangular)
    graph, params, stats = nnx.split(found.model(), nnx.Param, nnx.BatchStat)
    dtype = jnp.bfloat16 if options.bf16 else jnp.float32
    validator = Validator(graph, dataset, batches, None, dtype)
    params, stats = nnx.as_pure(params), nnx.as_pure(stats)
    shown, indices = validator.to_draw(params, stats)
    evaluation = validator(params, stats)
    options.out.mkdir(parents=True, exist_ok=True)
    pictures.evaluation(evaluation, options.out)
    pictures.predictions(dataset, shown, indices, options.out / "predictions.png")
    (options.out / "predictions.json").write_text(json.dumps(coco.results(evaluation.found)))
    (options.out / "ground_truth.json").write_text(json.dumps(coco.ground_truth(dataset)))
    print(evaluation.table())
    print(f"{statistics.median(validator.seconds) * 1e3:.1f} ms an image; files are in {options.out}")
    return evaluation
