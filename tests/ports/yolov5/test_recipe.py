"""YOLOv5's recipe against every recorded iteration of its own train.py, and against hand-worked facts."""

import json
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js

RECORDED = json.loads((Path(__file__).parents[2] / "recorded" / "yolov5_schedules.json").read_text())
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
        version="7.0",
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
    every = 1 if recipe.accumulate is None else np.asarray(recipe.accumulate.every(np.asarray(series["ni"])))
    np.testing.assert_array_equal(every, series["accumulate"])
    if not run["resumed"]:  # a resumed YOLOv5 steps at once, on one batch; ours goes on as if it had not stopped
        length = run["n_iterations"]
        np.testing.assert_array_equal(np.flatnonzero(js.report.update_steps(recipe, np.arange(length))), run["step_ni"])


def test_the_built_chain_does_what_the_curves_say():
    """In one scan: the values read from the state, the steps applied, and the dropped remainder of an epoch."""
    recipe = js.ports.yolov5.recipe(HYP, epochs=12, steps_per_epoch=12, batch_size=8)
    tx = recipe.build()
    params = {"kernel": jnp.ones(()), "bias": jnp.ones(()), "bn": {"scale": jnp.ones(())}}

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
        moved = jnp.any(jnp.stack(jax.tree.leaves(updates)) != 0)
        return (optax.apply_updates(params, updates), state), (js.hyperparams(state), js.did_update(state), moved)

    start = params, tx.init(params)
    (_, state), (used, applied, moved) = jax.jit(lambda c: jax.lax.scan(step, c, length=recipe.steps))(start)
    steps = np.flatnonzero(js.report.update_steps(recipe))
    np.testing.assert_array_equal(np.flatnonzero(applied), steps)
    np.testing.assert_array_equal(np.flatnonzero(moved), steps)
    curves = js.curves(recipe)
    for group in curves:
        for name in curves[group]:
            np.testing.assert_allclose(used[group][name][steps], curves[group][name][steps], rtol=1e-6)
    assert int(state.inner[-1].count) == len(steps)  # the average moved once for each update
    expected = 0.9999 * (1 - np.exp(-len(steps) / 2000))
    np.testing.assert_allclose(state.inner[-1].shares.old, expected, rtol=1e-6)


def test_the_average_of_other_state_moves_with_the_parameters():
    recipe = js.ports.yolov5.recipe(HYP, epochs=2, steps_per_epoch=60, batch_size=64)
    tx = recipe.build()
    params = {"kernel": jnp.ones(())}
    _, state = tx.update(params, tx.init(params), params)
    decay = 0.9999 * (1 - np.exp(-1 / 2000))
    moved = js.ema_update(
        state, {"mean": jnp.zeros(()), "seen": jnp.int32(0)}, {"mean": jnp.ones(()), "seen": jnp.int32(1)}
    )
    np.testing.assert_allclose(moved["mean"], 1 - decay, rtol=1e-6)
    assert int(moved["seen"]) == 1


@pytest.mark.parametrize(("batch_size", "scale"), [(16, 1.0), (24, 1.125), (10, 0.9375), (40, 1.25), (128, 2.0)])
def test_decay_is_scaled_by_what_is_gathered(batch_size, scale):
    recipe = js.ports.yolov5.recipe(HYP, epochs=300, steps_per_epoch=100, batch_size=batch_size)
    assert recipe.by_group()["weight"]["weight_decay"] == pytest.approx(5e-4 * scale)
    assert recipe.by_group()["norm"]["weight_decay"] == recipe.by_group()["bias"]["weight_decay"] == 0


def test_the_last_epoch_never_sees_the_final_rate():
    recipe = js.ports.yolov5.recipe(HYP, epochs=30, steps_per_epoch=50, batch_size=16)
    np.testing.assert_allclose(js.curves(recipe)["weight"]["lr"][-1], 7.6e-4, rtol=1e-6)  # lr0 * lf(E - 2)


@pytest.mark.parametrize(("optimizer", "warm"), [("Adam", False), ("AdamW", False), ("SGD", True)])
def test_only_sgd_warms_its_momentum(optimizer, warm):
    recipe = js.ports.yolov5.recipe(HYP, epochs=3, steps_per_epoch=100, batch_size=16, optimizer=optimizer)
    assert js.curves(recipe, [0])["weight"]["momentum"][0] == np.float32(0.8 if warm else 0.937)


def test_a_file_reads_as_its_contents(tmp_path):
    path = tmp_path / "hyp.yaml"
    lines = [f"{name}: {value}  # a comment" for name, value in HYP.items()]
    path.write_text("\n".join(lines).replace("0.0005", "5e-4") + "\nbox: 0.05\nmosaic: 1.0\n")
    kwargs = dict(epochs=3, steps_per_epoch=50, batch_size=16)
    recipe = js.ports.yolov5.recipe(path, **kwargs)
    assert recipe.replace(notes=(), origin={}) == js.ports.yolov5.recipe(HYP, **kwargs).replace(notes=(), origin={})
    assert recipe.notes[0] == "not part of a recipe: box, mosaic"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"lr0": None}, TypeError, "hyp: lr0 must be a number, got None"),
        ({"lr0": "fast"}, TypeError, "hyp: lr0 must be a number, got the string 'fast'"),
        ({"lr0": float("nan")}, ValueError, "hyp: lr0 must be finite"),
        ({"lr0": -0.1}, ValueError, r"hyp: lr0 must be in \[0.0, inf\], got -0.1"),
        ({"momentum": 1.0}, ValueError, r"hyp: momentum must be in \[0.0, 1.0\), got 1.0"),
        ({"momentum": True}, TypeError, "hyp: momentum must be a number, got True"),
        ({"warmup_momentum": -0.1}, ValueError, "hyp: warmup_momentum"),
        ({"head_lr": 3}, ValueError, "'head_lr' is not known, and its name says that it changes the schedule"),
    ],
)
def test_bad_hyp(change, error, message):
    with pytest.raises(error, match=message):
        js.ports.yolov5.recipe({**HYP, **change}, epochs=3, steps_per_epoch=50, batch_size=16)


def test_a_missing_key_is_named():
    hyp = {name: value for name, value in HYP.items() if name != "lrf"}
    with pytest.raises(ValueError, match="hyp: 'lrf' is missing; add it"):
        js.ports.yolov5.recipe(hyp, epochs=3, steps_per_epoch=50, batch_size=16)
    with pytest.raises(ValueError, match="hyp: 'lrf' is missing; is 'lfr' meant for it"):
        js.ports.yolov5.recipe({**hyp, "lfr": 0.1}, epochs=3, steps_per_epoch=50, batch_size=16)


@pytest.mark.parametrize("name", ["epochs", "steps_per_epoch", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_bad_lengths(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a whole number >= 1, got {value}"):
        js.ports.yolov5.recipe(HYP, **{"epochs": 3, "steps_per_epoch": 50, "batch_size": 16, name: value})


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="one of SGD, Adam, AdamW, got 'Lion'"):
        js.ports.yolov5.recipe(HYP, epochs=3, steps_per_epoch=50, batch_size=16, optimizer="Lion")


def test_yaml_runs_nothing(tmp_path):
    path = tmp_path / "hyp.yaml"
    path.write_text("lr0: !!python/object/apply:os.system ['exit 1']\n")
    with pytest.raises(TypeError, match=r"lr0 must be a number, got <!!python/object/apply:os\.system>"):
        js.ports.yolov5.recipe(path, epochs=3, steps_per_epoch=50, batch_size=16)


def test_a_recipe_is_a_value():
    recipe = js.ports.yolov5.recipe(HYP, epochs=3, steps_per_epoch=50, batch_size=16)
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    leaves, structure = jax.tree.flatten(recipe)
    assert jax.tree.unflatten(structure, leaves) == recipe
    traces = 0

    @jax.jit
    def first_lr(recipe):
        nonlocal traces
        traces += 1
        params = {"kernel": jnp.ones(()), "bias": jnp.ones(())}
        return js.hyperparams(recipe.build().init(params))["bias"]["lr"]

    for lr in (0.1, 0.2):
        changed = {**HYP, "warmup_bias_lr": lr, "weight_decay": lr}
        other = js.ports.yolov5.recipe(changed, epochs=3, steps_per_epoch=50, batch_size=16)
        np.testing.assert_allclose(first_lr(other), lr, rtol=1e-7)
    assert traces == 1
