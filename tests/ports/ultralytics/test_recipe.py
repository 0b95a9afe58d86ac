"""Ultralytics' arguments as a recipe: worked by hand, and what it refuses. The loop itself is run in tests/parity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import ultralytics

SGD = dict(optimizer="SGD", epochs=10, batch=16)
TREE = {
    "conv": {"kernel": jnp.ones((1, 1, 2, 2)), "bias": jnp.zeros(2)},
    "bn": {"scale": jnp.ones(2), "bias": jnp.zeros(2)},
    "head": {"cv3": {"kernel": jnp.ones((2, 2)), "bias": jnp.zeros(2)}, "logit_scale": jnp.ones(())},
    "biased": {"weight": jnp.ones(2)},
}


def groups_of(recipe):
    labels = jax.tree.leaves(js.groups.labels(TREE, recipe.rules))
    return dict(zip((p.path for p in js.groups.parameters(TREE)), labels, strict=True))


def test_no_lag_no_floor():
    recipe = ultralytics.recipe(SGD, steps_per_epoch=4)
    lr = js.curves(recipe)["weight"]["lr"]
    lf = [1 - 0.99 * e / 10 for e in range(10)]
    np.testing.assert_allclose(lr[12:], 0.01 * np.repeat(lf[3:], 4), rtol=1e-6)
    np.testing.assert_allclose(lr[:12], [0.01 * lf[i // 4] * i / 12 for i in range(12)], rtol=1e-6)
    assert recipe.ema(0) == pytest.approx(0.9999 * (1 - np.exp(-1 / 2000)))


def test_accumulation_is_carried_over_epochs():
    recipe = ultralytics.recipe({**SGD, "warmup_epochs": 0}, steps_per_epoch=6)
    assert not recipe.accumulate.drop_at_epoch_end
    assert np.flatnonzero(js.report.update_steps(recipe, np.arange(12))).tolist() == [3, 7, 11]


def test_groups_by_substring():
    assert groups_of(ultralytics.recipe(SGD, steps_per_epoch=4)) == {
        "bn/bias": "bias",
        "bn/scale": "bn",
        "biased/weight": "bias",
        "conv/bias": "bias",
        "conv/kernel": "weight",
        "head/cv3/bias": "bias",
        "head/cv3/kernel": "weight",
        "head/logit_scale": "bn",
    }


def test_groups_of_musgd():
    args = {**SGD, "optimizer": "MuSGD"}
    recipe = ultralytics.recipe(args, steps_per_epoch=4, boosted="head/cv3/**", outputs="last")
    found = groups_of(recipe)
    assert (found["conv/kernel"], found["head/cv3/kernel"], found["head/cv3/bias"]) == (
        "muon",
        "muon_boosted",
        "bias_boosted",
    )
    curves = js.curves(recipe, [39])
    assert curves["muon_boosted"]["lr"] == pytest.approx(3 * curves["muon"]["lr"])
    state = recipe.build().init(TREE)
    assert float(js.hyperparams(state)["bias_boosted"]["lr"]) == pytest.approx(0.1)
    assert "boosted" in str(ultralytics.recipe(args, steps_per_epoch=4, outputs="last").notes)


def test_auto_is_a_decision_that_is_told():
    short = ultralytics.recipe(dict(epochs=100), steps_per_epoch=10, images=160, classes=80)
    assert short.optimizer == "adamw"
    assert short.hyperparameters["betas"] == (0.9, 0.999)
    assert "AdamW with lr 0.01 / (4 + 80) = 0.000119" in short.notes[0]
    assert js.curves(short, [0])["bias"]["lr"] == 0
    long = ultralytics.recipe(dict(epochs=300), steps_per_epoch=7330, images=117266, outputs="last")
    assert (long.optimizer, "MuSGD" in long.notes[0]) == ("musgd", True)
    assert js.curves(long, [0, 40_000])["weight"]["momentum"] == pytest.approx([0.8, 0.937])


def test_from_a_file(tmp_path):
    path = tmp_path / "args.yaml"
    path.write_text("task: detect\noptimizer: SGD\nepochs: 10\nbatch: 16\nweight_decay: 5e-4\nsave_dir: runs/x\n")
    recipe = ultralytics.recipe(str(path), steps_per_epoch=4)
    assert "not part of a recipe: task, save_dir" in recipe.notes
    assert not js.diff(recipe, ultralytics.recipe(SGD, steps_per_epoch=4))
    assert js.Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("args", "more", "message"),
    [
        (dict(head_lr=1), {}, "'head_lr' is not known, and its name says that it changes the schedule"),
        (dict(epochs=0), {}, "epochs must be a whole number >= 1"),
        (dict(batch=-1), {}, "leaves it to Ultralytics"),
        (dict(batch=0.7), {}, "leaves it to Ultralytics"),
        (dict(time=1.5), {}, "set epochs and no time"),
        (dict(optimizer="Lion"), {}, "MuSGD, auto, got 'Lion'"),
        (dict(optimizer="MuSGD"), {}, "outputs='last'"),
        (dict(optimizer="auto", epochs=7000, batch=48), dict(steps_per_epoch=2), "give images"),
        (dict(optimizer="auto"), {}, "give classes"),
        (dict(optimizer="auto"), dict(images=10), "give classes"),
        (dict(momentum=1.0), {}, r"in \[0.0, 1.0\)"),
        (dict(lr0="fast"), {}, "lr0 must be a number"),
        (dict(cos_lr="yes"), {}, "true or false"),
        (dict(nbs=10**9, batch=1), dict(steps_per_epoch=10**8), "at most 4096"),
        ({}, dict(steps_per_epoch=0), "steps_per_epoch"),
    ],
)
def test_what_is_refused(args, more, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ultralytics.recipe({**SGD, **args}, **{"steps_per_epoch": 4, **more})


def test_a_long_warm_up_costs_no_memory():
    recipe = ultralytics.recipe({**SGD, "warmup_epochs": 5, "epochs": 10}, steps_per_epoch=100_000_000)
    assert recipe.accumulate.every(500_000_000) == 4
