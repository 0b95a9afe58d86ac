"""Configs of YOLOv6, against its training loop written out in float64."""

import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.cli._source import recognise
from jaxsched.ports import yolov6
from jaxsched.ports.shared import File, MissingError

SOLVER = dict(
    optim="SGD",
    lr_scheduler="Cosine",
    lr0=0.02,
    lrf=0.1,
    momentum=0.9,
    weight_decay=5e-4,
    warmup_epochs=3.0,
    warmup_momentum=0.7,
    warmup_bias_lr=0.1,
)
CONFIG = """\
model = dict(type='YOLOv6s', pretrained=None, head=dict(strides=[8, 16, 32], use_dfl=False))
lr = 0.01
solver = dict(optim='SGD', lr_scheduler='Cosine', lr0=lr * 2, lrf=0.1, momentum=0.9, weight_decay=0.0005,
              warmup_epochs=3, warmup_momentum=0.7, warmup_bias_lr=0.1)
solver['warmup_epochs'] = 3.0
data_aug = dict(mosaic=1.0, mixup=0.0)
training_mode = 'conv_silu'
"""


def loop(solver, epochs, nb, batch, scale):
    """What each iteration has: the lr of weights and of biases, momentum, and how many batches make an update."""
    peak, warm = solver["lr0"] * scale, max(round(solver["warmup_epochs"] * nb), 1000)

    def factor(epoch):
        half = (1 - math.cos(math.pi * epoch / epochs)) / 2
        return 1.0 if solver["lr_scheduler"] == "Constant" else 1 + half * (solver["lrf"] - 1)

    weight, bias, momentum, rows = peak, peak, solver["momentum"], []
    for epoch in range(epochs):
        if epoch:  # the scheduler has just stepped, to the epoch that is over
            weight = bias = peak * factor(epoch - 1)
        for step in range(epoch * nb, (epoch + 1) * nb):
            gathered = max(1, round(64 / batch))
            if step <= warm:
                part = step / warm
                weight = part * peak * factor(epoch)
                bias = (1 - part) * solver["warmup_bias_lr"] + weight
                momentum = solver["warmup_momentum"] + part * (solver["momentum"] - solver["warmup_momentum"])
                gathered = max(1, round(1 + part * (64 / batch - 1)))
            rows.append((weight, bias, momentum, gathered))
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(
    ("changes", "epochs", "nb", "batch", "world"),
    [
        ({}, 5, 420, 16, 2),  # the warm-up of 1260 ends within the fourth epoch
        (dict(lr_scheduler="Constant", warmup_epochs=1), 3, 400, 64, 1),  # at least 1000
        (dict(warmup_epochs=3), 3, 150, 48, 2),  # it never ends
    ],
)
def test_every_iteration_is_the_training_loops(changes, epochs, nb, batch, world):
    solver = {**SOLVER, **changes}
    recipe = yolov6.recipe(dict(solver=solver), epochs=epochs, batch_size=batch, steps_per_epoch=nb, world_size=world)
    weight, bias, momentum, gathered = loop(solver, epochs, nb, batch, batch / (world * 32))
    curves = js.curves(recipe)
    for group, lr in (("weight", weight), ("norm", weight), ("bias", bias)):
        np.testing.assert_allclose(curves[group]["lr"], lr, rtol=5e-6, atol=1e-9)
        np.testing.assert_allclose(curves[group]["momentum"], momentum, rtol=1e-6)
    decays = {group: values["weight_decay"] for group, values in recipe.by_group().items()}
    scaled = 5e-4 * batch * max(1, round(64 / batch)) / 64
    assert decays == {"weight": pytest.approx(scaled), "norm": 0.0, "bias": 0.0}
    if gathered.max() == 1:
        assert recipe.accumulate is None
    else:
        assert (recipe.accumulate.drop_at_epoch_end, recipe.accumulate.at_multiples) == (True, False)
        np.testing.assert_array_equal(recipe.accumulate.every(np.arange(epochs * nb)), gathered)
    np.testing.assert_allclose(float(recipe.ema(9)), 0.9999 * (1 - math.exp(-10 / 2000)), rtol=1e-5)


def test_a_file_is_followed_and_never_executed():
    file = File(Path("yolov6s.py"), CONFIG)
    assert recognise(file).name == "yolov6"
    given = dict(epochs=3, batch_size=64, images=1001, world_size=2)
    recipe = yolov6.recipe(file, **given)
    assert recipe.steps_per_epoch == 16  # ceil(501 / 32)
    assert js.Recipe.from_json(recipe.to_json()) == recipe
    same = yolov6.recipe(dict(solver=SOLVER), **given)
    assert (recipe.hyperparameters, recipe.groups) == (same.hyperparameters, same.groups)
    params = {"bn": {"scale": jnp.ones(2), "bias": jnp.ones(2)}, "conv": {"kernel": jnp.ones((2, 2))}}
    labels = js.groups.labels(params, recipe.rules)
    assert labels == {"bn": {"scale": "norm", "bias": "bias"}, "conv": {"kernel": "weight"}}


def test_adam_has_its_first_beta_as_momentum():
    recipe = yolov6.recipe(dict(solver={**SOLVER, "optim": "Adam"}), epochs=3, batch_size=32, steps_per_epoch=9)
    assert (recipe.optimizer, recipe.hyperparameters["betas"]) == ("adam", (0.9, 0.999))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("solver['lr0'] = float(input())", r"solver: lr0 is `.*` \(line 8\), which is not known without running"),
        ("solver.update(optim='AdamW')", "solver: optim must be one of 'SGD', 'Adam', got 'AdamW'"),
        ("solver['lr_scheduler'] = 'Linear'", "lr_scheduler must be one of 'Cosine', 'Constant', got 'Linear'"),
        ("solver['warmup_epoch'] = 3", "'warmup_epoch'"),
        ("training_mode = 'repopt'", "training_mode 'repopt' changes the gradients"),
        ("qat = dict(calib_pt='a.pt')", "qat is for a run with --quant, which has no warm-up and is not ported"),
        ("_base_ = 'yolov6s.py'", "_base_ names another config"),
        ("solver = 3", "solver must hold names and values, got 3"),
        ("del solver", "'solver' is missing"),
    ],
)
def test_what_is_not_read_is_named(line, message):
    with pytest.raises((TypeError, ValueError), match=message):
        yolov6.recipe(File(Path("a.py"), CONFIG + line + "\n"), epochs=3, batch_size=32, steps_per_epoch=9)


def test_the_processes_are_asked_for_where_the_lr_depends_on_them():
    with pytest.raises(MissingError, match=r"lr0 is multiplied by .* = 256 / \(world_size \* 32\); give world_size="):
        yolov6.recipe(dict(solver=SOLVER), epochs=3, batch_size=256, steps_per_epoch=9)
    with pytest.raises(ValueError, match=r"batch_size must be at least world_size \(8\), got 4"):
        yolov6.recipe(dict(solver=SOLVER), epochs=3, batch_size=4, world_size=8, steps_per_epoch=9)
