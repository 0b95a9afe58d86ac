"""Serialized schedules, optimizers and compiled models of Keras as recipes: worked by hand, and what is refused."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import keras

CASES = Path(__file__).parents[2] / "recorded" / "cases"
VALUES = {
    "CosineDecay": {0: 0.0, 250: 0.01, 500: 0.02, 3000: 0.01, 5500: 0.0},
    "CosineDecayRestarts": {0: 0.1, 500: 0.1 * (0.99 * 0.8 + 0.01), 1250: 0.1 * (0.99 * 0.64 + 0.01)},
    "ExponentialDecay": {0: 0.1, 999: 0.1, 1000: 0.096, 2000: 0.09216},
    "InverseTimeDecay": {0: 0.1, 100: 0.1 / 1.5, 200: 0.05},
    "PiecewiseConstantDecay": {1000: 1.0, 1001: 0.5, 2001: 0.1},
    "PolynomialDecay": {0: 0.1, 350: 0.05005, 700: 0.0001, 701: 0.0001 + 0.0999 * (1 - 701 / 1400)},
}


@pytest.mark.parametrize("name", VALUES)
def test_a_schedule_in_a_file(name):
    recipe = keras.recipe(CASES / f"keras_{name}.json", epochs=10, steps_per_epoch=600)
    assert (recipe.optimizer, recipe.steps) == ("sgd", 6000)
    lr = js.curves(recipe, list(VALUES[name]))["all"]["lr"]
    np.testing.assert_allclose(lr, list(VALUES[name].values()), rtol=2e-6, atol=1e-9)


def test_a_compiled_model():
    recipe = keras.recipe(CASES / "keras_compile.json", steps=5000)
    assert (recipe.optimizer, recipe.clip_norm, recipe.clip_each_norm) == ("adamw", None, 1.0)
    curves = js.curves(recipe, [0, 2500, 4999])["all"]
    np.testing.assert_allclose(curves["lr"][:2], [0.01, 0.005], rtol=1e-6)
    np.testing.assert_allclose(curves["weight_decay"], 0.01, rtol=1e-6)
    assert recipe.by_group()["all"]["betas"] == (0.9, 0.999)
    assert [float(recipe.ema(update)) for update in (0, 1, 2)] == pytest.approx([0.0, 0.99, 0.99])
    recipe.build().init({"w": jnp.ones(2)})
    assert js.Recipe.from_json(recipe.to_json()) == recipe


def test_updates_are_counted_where_gradients_are_gathered():
    decay = dict(class_name="ExponentialDecay", config=dict(initial_learning_rate=1.0, decay_steps=1, decay_rate=0.5))
    config = dict(learning_rate=decay, momentum=0.9, gradient_accumulation_steps=3, global_clipnorm=2.0)
    recipe = keras.recipe(dict(class_name="SGD", config=config), steps=9)
    due = np.flatnonzero(js.report.update_steps(recipe))
    assert due.tolist() == [2, 5, 8]
    np.testing.assert_allclose(js.curves(recipe, due)["all"]["lr"], [1.0, 0.5, 0.25])
    assert recipe.clip_norm == 2.0
    unclipped = keras.recipe(dict(class_name="SGD", config={**config, "global_clipnorm": 0.0}), steps=9)
    assert unclipped.clip_norm is None  # 0 is none in Keras


def adam(**config):
    return dict(class_name="Adam", config=config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(class_name="Lion"), "class_name must be one of SGD, Adam, AdamW"),
        (dict(class_name=[1]), "class_name must be one of"),
        (dict(class_name="CosineDecay", config=dict(decay_step=3)), "did you mean 'decay_steps'"),
        (dict(class_name="CosineDecay", config=dict(decay_steps=3)), "'initial_learning_rate' missing"),
        (dict(class_name="CosineDecay", config=dict(decay_steps=-3, initial_learning_rate=1)), "config: cosine: steps"),
        (adam(learning_rate="fast"), "must be a number"),
        (adam(learning_rate=dict(class_name="Mine")), "class_name must be one of CosineDecay"),
        (adam(amsgrad=True), "amsgrad"),
        (adam(beta_1=1.0), r"beta_1 must be in \[0.0, 1.0\)"),
        (adam(head_lr=1.0), "changes the schedule"),
        (dict(lr=1), "class_name must be one of"),
    ],
)
def test_what_is_refused(config, message):
    with pytest.raises((TypeError, ValueError), match=message):
        keras.recipe(config)
