"""What explain says, as data and as a text (golden/*.txt; `JAXSCHED_WRITE_GOLDEN=1 pytest` writes them anew)."""

import json
import os
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

NUMBER = re.compile(r"\d+\.?\d*(?:e[+-]?\d+)?")
GOLDEN = Path(__file__).parent / "golden"
HYP = dict(
    lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1,
    box=0.05,
)  # fmt: skip
NET = {
    "conv": {"kernel": jnp.ones((3, 3, 4, 8)), "bias": jnp.ones(8)},
    "bn": {"scale": jnp.ones(8), "bias": jnp.ones(8)},
}
YOLO = js.ports.yolov5.recipe(HYP, epochs=300, steps_per_epoch=7393, batch_size=16, version="7.0")
LAYERS = js.Recipe(
    "adamw",
    dict(lr=1e-3, weight_decay=0.05),
    groups={f"layer{i}": dict(lr=js.warmup(js.cosine(1e-3 * 0.75 ** (20 - i), 9000), 500)) for i in range(20)},
    rules=[(f"layers/{i}/**", f"layer{i}") for i in range(20)],
    steps=9000,
    steps_per_epoch=90,
)
FROZEN = js.Recipe(
    "sgd",
    dict(lr=js.per_epoch(js.multi_step(0.02, at=(8, 11)), 7330) * js.warmup(js.constant(1.0), 500, start=0.001)),
    groups={"body": None},
    rules=[("body/**", "body"), (js.role("bias") & js.groups.contains("head"), "bias"), ("**", "rest")],
    clip_norm=35.0,
    clip_value=1.0,
    clip_each_norm=5.0,
    ema=0.999,
    steps=12 * 7330,
    steps_per_epoch=7330,
    notes=("custom_hooks: NumClassCheckHook is not part of a recipe",),
)
CASES = {
    "yolov5": lambda: js.explain(YOLO, NET),
    "layers": lambda: js.explain(LAYERS),
    "frozen": lambda: js.explain(FROZEN),
    "no_length": lambda: js.explain(js.Recipe("adamw", dict(lr=js.warmup(js.constant(1e-3), 100)))),
    "lint": lambda: js.lint(
        js.Recipe("sgd", dict(lr=js.warmup(js.multi_step(0.1, at=(8, 11)), 300)), steps=200, steps_per_epoch=10), NET
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_text(name):
    text, path = str(CASES[name]()), GOLDEN / f"{name}.txt"
    if os.environ.get("JAXSCHED_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert_same_text(text, path.read_text(encoding="utf-8"))


def assert_same_text(text, expected):
    """Word by word; numbers to 5 digits, as the last of 6 may be rounded otherwise on another processor."""
    found, wanted = text.splitlines(), expected.splitlines()
    assert len(found) == len(wanted)
    for line, other in zip(found, wanted, strict=True):
        assert NUMBER.sub("#", line).split() == NUMBER.sub("#", other).split()
        assert [float(x) for x in NUMBER.findall(line)] == pytest.approx(
            [float(x) for x in NUMBER.findall(other)], 1e-5
        )


def test_rows_are_the_moments_that_matter_with_the_values_of_the_curves():
    explanation = js.explain(YOLO)
    assert [(row.step, row.epoch, row.what) for row in explanation.rows] == [
        (0, 0.0, ("start",)),
        (22179, 3.0, ("warm-up ends",)),
        (29572, 4.0, ("next part",)),
        (2217899, 2217899 / 7393, ("last step",)),
    ]
    steps = [row.step for row in explanation.rows]
    for group, curves in js.curves(YOLO, steps).items():
        for name, values in curves.items():
            assert [row.values[group][name] for row in explanation.rows] == values.tolist()


def test_where_numbers_came_from():
    groups = js.explain(YOLO).groups
    assert groups["weight"].origin["weight_decay"] == "hyp: weight_decay 0.0005 x 16 x 4 / 64"
    assert groups["bias"].origin["lr"] == "hyp: warmup_bias_lr, then as the others"
    assert groups["norm"].origin["dampening"] == "default"
    assert "origin" in json.loads(json.dumps(js.explain(YOLO, NET).to_dict()))


def test_lengths_are_in_steps_and_in_epochs():
    text = js.explain(YOLO).groups["norm"].hyperparameters["lr"]
    assert "steps=22179 [3 epochs]" in text
    assert "steps=300 epochs" in text


def test_accumulation_and_effective_batch():
    explanation = js.explain(YOLO)
    assert explanation.batches_to_an_update == (1, 4)
    assert explanation.images_to_an_update == (16, 64)
    assert explanation.nominal_batch_size == 64


def test_parameters_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match="belong to no group"):
        js.explain(js.Recipe("sgd", dict(lr=0.1), rules=[("conv/**", "all")]), NET)


def test_lengths_are_in_what_a_schedule_counts():
    """A Trainer's schedule counts updates, of which there are fewer than batches; a warm-up of 500 is 500 of them."""
    args = dict(warmup_steps=500, gradient_accumulation_steps=4)
    said = js.explain(js.ports.huggingface.recipe(args, steps_per_epoch=1001))
    assert "linear(start=0, end=5e-05, steps=500 updates)" in str(said)
    (warm,) = (row for row in said.rows if "warm-up ends" in row.what)
    assert warm.step == 1001 + (500 - 251) * 4
    assert warm.values["decay"]["lr"] == np.float32(5e-5)
