"""Each release of YOLOv5 against its training loop, written out; and what dates a file."""

import math

import jax
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports.yolov5._versions import FORKS, RELEASES, candidates, release

HYP = dict(
    lr0=0.01, lrf=0.1, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1
)


def loop(version, hyp, epochs, batches, batch_size, linear):
    """(lr of weights, lr of biases, momentum, whether an update) of each iteration, as train.py of a release does."""
    old, new = version in ("3.0", "3.1", "4.0", "5.0"), version in ("6.2", "7.0")
    if version == "3.0":
        hyp = {**hyp, "lrf": 0.2, "warmup_epochs": 3.0, "warmup_momentum": 0.9, "warmup_bias_lr": 0.1}
    warm = max(round(hyp["warmup_epochs"] * batches), 100 if new else 1000)
    over = epochs - 1 if version in ("5.0", "6.0") else epochs

    def factor(epoch):
        if linear:
            return (1 - epoch / over) * (1 - hyp["lrf"]) + hyp["lrf"]
        return (1 + math.cos(math.pi * epoch / epochs)) / 2 * (1 - hyp["lrf"]) + hyp["lrf"]

    lr, bias, momentum, last, rows = hyp["lr0"], hyp["lr0"], hyp["momentum"], -1, []
    every = max(round(64 / batch_size), 1)
    for epoch in range(epochs):
        for i in range(batches):
            at = i + batches * epoch
            if at <= warm:
                every = max(1, np.interp(at, [0, warm], [1, 64 / batch_size]).round())
                lr = np.interp(at, [0, warm], [0.0, hyp["lr0"] * factor(epoch)])
                bias = np.interp(at, [0, warm], [hyp["warmup_bias_lr"], hyp["lr0"] * factor(epoch)])
                momentum = np.interp(at, [0, warm], [hyp["warmup_momentum"], hyp["momentum"]])
            due = at % every == 0 if old else at - last >= every
            last = at if due else last
            rows.append((lr, bias, momentum, due))
        lr = bias = hyp["lr0"] * factor(epoch)
    return [np.asarray(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(("epochs", "batches", "batch_size"), [(12, 5, 8), (30, 120, 24), (3, 400, 16), (40, 40, 128)])
@pytest.mark.parametrize(
    ("version", "linear"), [(v, False) for v in RELEASES] + [(v, True) for v in RELEASES if v >= "5.0"]
)
def test_every_iteration_of_a_release(version, epochs, batches, batch_size, linear):
    hyp = {k: v for k, v in HYP.items() if version != "3.0" or k in ("lr0", "momentum", "weight_decay")}
    recipe = js.ports.yolov5.recipe(
        hyp, epochs=epochs, steps_per_epoch=batches, batch_size=batch_size, cos_lr=not linear, version=version
    )
    lr, bias, momentum, due = loop(version, HYP, epochs, batches, batch_size, linear)
    curves = js.curves(recipe)
    # A few ulp of float32, and where the line nears its end those of lr0: 1e-6 of lr, 1e-9 beside lr0 = 0.01.
    np.testing.assert_allclose(curves["weight"]["lr"], lr, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(curves["bias"]["lr"], bias, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(curves["weight"]["momentum"], momentum, rtol=1e-6)
    np.testing.assert_array_equal(js.report.update_steps(recipe), due)
    assert recipe.clip_norm == (10.0 if version in ("6.2", "7.0") else None)


def test_the_chain_updates_where_the_release_did():
    recipe = js.ports.yolov5.recipe(HYP, epochs=4, steps_per_epoch=9, batch_size=4, version="5.0")
    tx, params = recipe.build(), {"w": np.float32(1.0)}

    def step(state, _):
        _, state = tx.update(params, state, params)
        return state, js.did_update(state)

    _, seen = jax.lax.scan(step, tx.init(params), None, length=recipe.steps)
    np.testing.assert_array_equal(seen, js.report.update_steps(recipe))


WHOLE = {*HYP, "box", "cls", "hsv_h", "translate", "scale", "mosaic"}


@pytest.mark.parametrize(
    ("hyp", "opt", "expected"),
    [
        (HYP, {}, ["3.1", "4.0", "5.0", "6.0", "6.1", "6.2", "7.0"]),
        ({"lr0", "momentum", "weight_decay", "giou"}, {}, ["3.0"]),
        (WHOLE, {}, ["3.1", "4.0", "5.0"]),
        (WHOLE | {"copy_paste"}, {}, ["6.0", "6.1", "6.2", "7.0"]),
        (WHOLE | {"copy_paste"}, {"cos_lr", "seed"}, ["6.2", "7.0"]),
        (WHOLE | {"copy_paste"}, {"cos_lr", *"abcdefghijklmnopqrstuvw"}, ["6.1"]),
        (WHOLE, {"linear_lr"}, ["5.0"]),
        (WHOLE | {"loss_ota"}, {}, ["yolov7"]),
    ],
)
def test_the_keys_date_a_file(hyp, opt, expected):
    assert candidates(hyp, opt) == expected


def test_an_open_version_is_said_with_what_differs():
    recipe = js.ports.yolov5.recipe(HYP, epochs=100, steps_per_epoch=50, batch_size=16)
    (note,) = [note for note in recipe.notes if "version-open" in note]
    assert "read as YOLOv5 7.0" in note
    assert "as 6.1: lr differs at 1,049 of 5,000 steps, updates come at other steps, gradients are not clipped" in note
    assert [f.code for f in js.lint(recipe) if f.code == "version-open"]
    assert not js.ports.yolov5.recipe(HYP, epochs=100, steps_per_epoch=50, batch_size=16, version="v7.0").notes


@pytest.mark.parametrize("name", [*RELEASES, *FORKS, "v6.1"])
def test_every_version_has_its_name(name):
    assert release(name) == ("6.1" if name == "v6.1" else name)


def test_another_version_is_an_error():
    with pytest.raises(ValueError, match=r"version must be one of 3\.0, "):
        js.ports.yolov5.recipe(HYP, epochs=1, steps_per_epoch=1, batch_size=1, version="8")
