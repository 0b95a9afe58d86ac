"""The smallest run that does all a run does, and what is left of it."""

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np

from examples.detector.checkpoint import Checkpoints
from examples.detector.options import SCENES_HYP, Options
from examples.detector.pictures import read_log

SIZE = {"width": 0.125, "depth": 0.33, "image_size": 32, "batch_size": 4, "epochs": 3, "evaluate_every": 2}
STEPS_PER_EPOCH = 4  # of 16 images


def options(folder, out, **changes):
    """Options of a run on the scenes in `folder`, which shares its compiled programs with all tests."""
    compiled = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])  # set by tests/conftest.py
    base = {"data": folder / "scenes", "hyp": SCENES_HYP, "out": folder / out, "compilation_cache": compiled}
    return Options(**(SIZE | base | changes))


def command(chosen, *program):
    """The command line that means these options, of `program` in place of the training."""
    words = []
    for field in dataclasses.fields(chosen):
        value = getattr(chosen, field.name)
        if value != field.default:
            name = field.name.replace("_", "-")
            words += [f"--{name}", *(() if value is True else value if isinstance(value, tuple) else (str(value),))]
    return [sys.executable, *(program or ("-m", "examples.detector.train")), *words]


def log(out):
    """The columns of a run's log; empty fields are nan."""
    return read_log(out / "log.csv")


def final_state(out):
    """The step and all arrays of the last checkpoint, by path."""
    path = max((out / "checkpoints").glob("step-*.npz"))
    with np.load(path) as file:
        return int(path.stem[5:]), {name: file[name] for name in file.files if name.startswith("state/")}


def weights(out):
    return Checkpoints(out / "checkpoints", read_only=True).weights()
