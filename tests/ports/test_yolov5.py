"""YOLOv5's recipe against every recorded iteration of its own train.py, and against hand-worked facts."""

import json
from pathlib import Path

import numpy as np
import pytest

import jaxsched as js

RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "yolov5_schedules.json").read_text())
RUNS = {run["name"]: run for run in RECORDED["runs"]}
HYP = dict(
    lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1
)


def recorded_recipe(run):
    return js.ports.yolov5.recipe(
        run["hyp"],
        epochs=run["epochs"],
        steps_per_epoch=run["nb"],
        batch_size=run["batch_size"],
        optimizer=run["optimizer"],
        cos_lr=run["cos_lr"],
    )


@pytest.mark.parametrize("name", RUNS)
def test_every_recorded_iteration(name):
    run = RUNS[name]
    recipe, series = recorded_recipe(run), run["series"]
    curves = js.curves(recipe, series["ni"])
    for group in ("bias", "weight", "norm"):
        # float32 arithmetic: a few ulp, 6e-8 each; 1e-6 is the promise
        np.testing.assert_allclose(curves[group]["lr"], series[f"lr_{group}"], rtol=1e-6, atol=0, err_msg=group)
        np.testing.assert_allclose(curves[group]["momentum"], series["momentum_or_beta1"], rtol=1e-6)
    decay = dict(zip(run["groups"], run["weight_decay"], strict=True))
    for group, value in decay.items():
        np.testing.assert_allclose(curves[group]["weight_decay"], value, rtol=1e-6)
    every = np.asarray(recipe.accumulate.every(np.asarray(series["ni"])))
    np.testing.assert_array_equal(every, series["accumulate"])
    if not run["resumed"]:  # a resumed YOLOv5 steps at once, on one batch; ours goes on as if it had not stopped
        length = run["n_iterations"]
        np.testing.assert_array_equal(np.flatnonzero(js.updates(recipe, np.arange(length))), run["step_ni"])
