"""Darknet's cfg files: the rates and the updates of Darknet itself, recorded, and what is refused."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import darknet

RECORDED = json.loads((Path(__file__).parents[2] / "recorded" / "darknet.json").read_text())
NET = dict(learning_rate="0.5", max_batches="8", momentum="0.9", decay="0.0005", batch="64", subdivisions="16")


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "net.cfg"
        path.write_text(text)
        return darknet.recipe(path)

    return read


@pytest.mark.parametrize("name", RECORDED)
def test_each_rate_is_that_of_darknet(name, read):
    recipe = read(RECORDED[name]["cfg"])
    expected = np.asarray(RECORDED[name]["rates"])
    assert recipe.steps == len(expected)
    # Darknet computes 1 - n / max_batches in float32, which magnifies its rounding of 6e-8 by up to 60 and by the power
    np.testing.assert_allclose(js.curves(recipe)["weight"]["lr"], expected, rtol=5e-6, atol=1e-9)
    assert js.Recipe.from_json(recipe.to_json()) == recipe
    recipe.build()


def numbers(update):
    """The images and labels of a batch, as they were recorded: four images of 2 x 2 with three channels."""
    i, image, j = np.ogrid[:2, :2, :12]
    x = ((update * 31 + i * 17 + (image * 12 + j) * 7) % 13) / 13 - 0.4
    i, image, j = np.ogrid[:2, :2, :4]
    y = ((update * 5 + i * 3 + image * 4 + j) % 7) / 7
    return x.reshape(4, 3, 4).astype(np.float32), y.reshape(4, 4).astype(np.float32)


def test_updates_are_those_of_darknet(read):
    name = "steps"  # whose parameters were recorded
    recipe = read(RECORDED[name]["cfg"])
    bias, *kernel = RECORDED[name]["parameters"][0]
    params = {"kernel": jnp.asarray(kernel)[:, None], "bias": jnp.asarray([bias], jnp.float32)}

    @jax.jit
    def step(params, state, x, y):
        def loss(params):  # the sum within an image, the mean over images
            out = jnp.einsum("icp,c->ip", x, params["kernel"][:, 0]) + params["bias"]
            return 0.5 * jnp.sum(jnp.square(out - y)) / len(x)

        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return jax.tree.map(jnp.add, params, updates), state

    tx = recipe.build()
    state = tx.init(params)
    for update, expected in enumerate(RECORDED[name]["parameters"]):
        mine = [*params["bias"].tolist(), *params["kernel"][:, 0].tolist()]
        np.testing.assert_allclose(mine, expected, rtol=0, atol=2e-5)  # 12 updates of float32 numbers of about 1
        params, state = step(params, state, *numbers(update))


def test_a_file_as_darknet_reads_it(read):
    text = """# a comment
; another
 [ net ]
# batch=1
batch = 64
sub divisions=8   # white space is dropped
learning_rate=0.01#and this
max_batches=4
width=416
burn_in=2
batch=1

[convolutional]
filters=3
learning_rate=0.1

[yolo]
mask = 0,1
without a value
"""
    recipe = read(text)
    assert (recipe.batch_size, recipe.steps) == (64, 4)
    np.testing.assert_allclose(js.curves(recipe)["bias"]["lr"], [0.01 / 16, 0.01, 0.01, 0.01], rtol=1e-6)
    assert [values["weight_decay"] for values in recipe.by_group().values()] == [0.0, 0.0, 1e-4]
    assert "layer 0 [convolutional] learning_rate=0.1: left out" in recipe.notes[0]
    assert recipe.notes[1] == "not part of a recipe: width"


def test_what_a_batch_is():
    assert darknet.recipe({**NET, "batch": "66"}).batch_size == 64
    assert darknet.recipe({**NET, "batch": "64", "time_steps": "3"}).batch_size == 192
    with pytest.raises(ValueError, match=r"batch must be at least subdivisions \(16\)"):
        darknet.recipe({**NET, "batch": "8"})


def test_steps_of_yolov2():
    net = {**NET, "policy": "steps", "steps": "-1,3,6", "scales": ".1,10,.1"}
    np.testing.assert_allclose(js.curves(darknet.recipe(net))["weight"]["lr"], [0.05] * 2 + [0.5] * 3 + [0.05] * 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(max_batches=None), "max_batches must be a whole number in digits|must be a number"),
        (dict(max_batches="5e5"), "max_batches must be a whole number in digits, got '5e5'"),
        (dict(max_batches="0"), "max_batches must be a whole number >= 1"),
        (dict(learning_rate="fast"), "learning_rate must be a number, got 'fast'"),
        (dict(learning_rate="0.1x"), "learning_rate must be a number, got '0.1x'"),
        (dict(momentum="1.5"), "momentum must be in"),
        (dict(decay="-1"), "decay must be in"),
        (dict(policy="random"), "no recipe can repeat"),
        (dict(policy="steps"), "'steps' is missing"),
        (dict(policy="steps", steps="3", scales=""), r"scales\[0\] must be a number"),
        (dict(policy="steps", steps="3,2", scales="1,1"), "steps must ascend"),
        (dict(policy="steps", steps="3,4", scales="1"), "with a number in scales for each"),
        (dict(policy="step", step="0"), "step must be a whole number >= 1"),
        (dict(policy="poly", power="0"), "net: polynomial: power must be positive"),
        (dict(policy="sgdr", sgdr_cycle="1", sgdr_mult="1", max_batches="5000"), "more than 1000 cycles"),
        (dict(burn_in="-3"), "burn_in must be a whole number >= 0"),
        (dict(adam="1"), "adam is set"),
        (dict(head_lr="1"), "'head_lr' is not known, and its name says"),
    ],
)
def test_what_is_refused(values, message):
    with pytest.raises((ValueError, TypeError), match=message):
        darknet.recipe({**NET, **values})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"does not begin with the section \[net\]"),
        ("[convolutional]\n[net]\nbatch=1", r"does not begin with the section \[net\]"),
        ("[net]\nbatch 64", "net.cfg:2: 'batch64' has no =; remove it or add a value"),
        ("[net]\n" + "[a]\n" * 6000, "more than 5000 sections"),
    ],
)
def test_files_that_are_refused(text, message, read):
    with pytest.raises(ValueError, match=message):
        read(text)


@pytest.mark.parametrize("name", ["ema_alpha", "dynamic_minibatch", "clip"])
def test_what_changes_the_update_is_said(name):
    (note,) = darknet.recipe({**NET, name: "0.5"}).notes
    assert note.startswith("caution left-out")
    assert name in note


def test_far_out():
    """Against float64, after millions of batches."""
    net = {**NET, "max_batches": "2147483000", "learning_rate": "1.0"}
    at = np.asarray([0, 999_999, 2**24, 2**30, 2_147_482_998])
    n = at + 1.0
    for more, exact in {
        ("poly", ("power", "2")): (1 - n / 2147483000) ** 2,
        ("sigmoid", ("gamma", "1e-6")): 1 / (1 + np.exp(np.minimum(1e-6 * (n - 2**24), 80))),
        ("exp", ("gamma", "0.99999999")): np.exp(n * np.log(0.99999999)),
    }.items():
        recipe = darknet.recipe({**net, "policy": more[0], "step": str(2**24), more[1][0]: more[1][1]})
        np.testing.assert_allclose(js.curves(recipe, at)["weight"]["lr"], exact, rtol=1e-6, atol=1e-20)
