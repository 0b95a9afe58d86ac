"""Configs of scenic: schedules and runs against numbers recorded from the original, and what is read of files."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js
from jaxsched.ports import scenic
from jaxsched.ports.shared import MissingError

RECORDED = json.loads((Path(__file__).parents[2] / "recorded" / "scenic.json").read_text())
HALF_WAVE = 3e-7
"""What 1 + cos is off by in the original's float32, relative to its peak."""
CONFIG = """import ml_collections
from scenic.projects.baselines import helper

_IMAGES = 1_000


def get_config():
  config = ml_collections.ConfigDict()
  config.model = helper.of('B')
  config.optimizer = 'adam'
  config.optimizer_configs = ml_collections.ConfigDict()
  config.optimizer_configs.beta1 = 0.9
  config.optimizer_configs.beta2 = 0.98
  config.optimizer_configs.weight_decay = 0.1
  config.max_grad_norm = 1.0
  config.num_training_epochs = 4
  config.batch_size = 64
  config.rng_seed = 42
  steps_per_epoch = _IMAGES // config.batch_size
  total_steps = config.num_training_epochs * steps_per_epoch
  config.lr_configs = ml_collections.ConfigDict()
  config.lr_configs.learning_rate_schedule = 'compound'
  config.lr_configs.factors = 'constant * linear_warmup * linear_decay'
  config.lr_configs.total_steps = total_steps
  config.lr_configs.end_learning_rate = 1e-5
  config.lr_configs.warmup_steps = 10
  config.lr_configs.base_learning_rate = 3e-3
  return config
"""


@pytest.fixture
def read(tmp_path):
    def read(text=CONFIG, **options):
        path = tmp_path / "config.py"
        path.write_text(text)
        return scenic.recipe(path, **options)

    return read


def test_schedules_are_those_recorded_from_the_original():
    cases = RECORDED["schedules"]
    schedules = [scenic.compound_lr_scheduler(case["lr_configs"], steps=80) for case in cases]
    found = jax.jit(lambda steps: [schedule(steps) for schedule in schedules])(jnp.arange(80))
    for case, values in zip(cases, found, strict=True):
        expected = case["values"]
        atol, text = HALF_WAVE * max(expected), str(case["lr_configs"])
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=atol, err_msg=text)


@pytest.mark.parametrize("name", ["adam", "momentum", "sgd, frozen"])
def test_the_parameters_after_a_run_are_those_recorded_from_the_original(name):
    run = RECORDED["runs"][name]
    recipe = scenic.recipe({"lr_configs": RECORDED["lr_configs"], "num_training_steps": 12, **run["config"]})

    def tree(leaf):
        return {"bone": {"kernel": leaf(0)}, "head": {"kernel": leaf(1), "bias": leaf(2)[0]}}

    params = tree(lambda j: jnp.array([[1.0 + j, -0.5 * j]], jnp.float32))
    tx = recipe.build()
    state, update = tx.init(params), jax.jit(tx.update)
    for i in range(12):
        grads = tree(lambda j, i=i: jnp.array([[np.sin(3 * j + i), 2 * np.cos(j - i)]], jnp.float32))
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        path = "/".join(key.key for key in path)
        np.testing.assert_allclose(np.ravel(leaf), run["params"][path], rtol=0, atol=5e-6, err_msg=path)


def test_worked_by_hand(read):
    recipe = read(images=1000)
    lr = js.curves(recipe, [0, 5, 10, 35, 59])["all"]["lr"]
    half = (3e-3 + 1e-5) / 2
    np.testing.assert_allclose(lr, [0, 1.5e-3, 3e-3, half, 3e-3 + (1e-5 - 3e-3) * 49 / 50], rtol=1e-5)
    group = recipe.by_group()["all"]
    assert (recipe.optimizer, group["betas"], group["weight_decay"]) == ("adamw", (0.9, 0.98), 0.1)
    assert (recipe.steps, recipe.steps_per_epoch, recipe.batch_size, recipe.clip_norm) == (60, 15, 64, 1.0)
    assert recipe.notes == ("not part of a recipe: model, rng_seed",)
    assert js.Recipe.from_json(recipe.to_json()) == recipe
    recipe.build()
    with pytest.raises(MissingError, match="num_training_epochs counts epochs of batches of 64; give images="):
        read()


def config(**values):
    lr = dict(learning_rate_schedule="compound", factors="constant", base_learning_rate=0.1)
    return {"optimizer": "momentum", "lr_configs": lr, "num_training_steps": 9, "batch_size": 8, **values}


def configs(**values):
    return config(lr_configs={**config()["lr_configs"], **values})


def test_what_the_older_names_mean():
    assert scenic.recipe(config()).by_group()["all"]["momentum"] == 0.9
    assert scenic.recipe(config(optimizer="sgd")).by_group()["all"]["momentum"] == 0
    assert scenic.recipe(config(optimizer="adam")).optimizer == "adam"
    recipe = scenic.recipe(config(optimizer="nesterov", optimizer_configs=dict(momentum=0.8)))
    assert recipe.by_group()["all"]["nesterov"]
    constant = scenic.recipe(config(lr_configs=dict(base_learning_rate=0.2)))
    assert js.curves(constant, [0, 8])["all"]["lr"].tolist() == pytest.approx([0.2, 0.2])


def test_scales_and_biases_may_be_left_alone():
    options = dict(skip_scale_and_bias_regularization=True)
    adamw = config(optimizer="adam", optimizer_configs=dict(weight_decay=0.1), **options)
    recipe = scenic.recipe(adamw)
    groups = {name: group["weight_decay"] for name, group in recipe.by_group().items()}
    assert groups == {"no_decay": 0.0, "decay": 0.1}
    params = {"kernel": jnp.ones((2, 2)), "t": jnp.ones(()), "scale": jnp.ones(2)}
    assert js.groups.labels(params, recipe.rules) == {"kernel": "decay", "t": "decay", "scale": "no_decay"}
    assert "loses the mask" in recipe.notes[0]
    sgd = scenic.recipe(config(optimizer_configs=dict(weight_decay=0.1), **options))
    assert not any("loses the mask" in note for note in sgd.notes)
    of_adafactor = config(optimizer="adafactor", optimizer_configs=dict(weight_decay_rate=0.1), **options)
    assert scenic.recipe(of_adafactor).by_group()["all"]["weight_decay_rate"] == 0.1  # as there: it asks weight_decay
    lion = scenic.recipe(config(optimizer="lion", optimizer_configs=dict(weight_decay=0.1), **options))
    assert lion.by_group()["all"]["weight_decay"] == 0.1
    assert "has no effect on 'lion'" in lion.notes[0]


def test_max_grad_norm_clips_before_the_weight_decay_of_sgd():
    recipe = scenic.recipe(config(optimizer="sgd", max_grad_norm=1.0, optimizer_configs=dict(weight_decay=0.5)))
    tx, params = recipe.build(), {"w": jnp.array([2.0, 0.0])}
    step = recipe.steps // 2
    lr = js.curves(recipe, [step])["all"]["lr"][0]
    assert lr > 0
    state = tx.init(params)
    for _ in range(step + 1):
        updates, state = tx.update({"w": jnp.array([3.0, 4.0])}, state, params)
    assert updates["w"].tolist() == pytest.approx([-lr * (0.6 + 0.5 * 2), -lr * 0.8], rel=1e-5)


def test_linear_decay_from_zero_rises_to_its_end():
    values = dict(factors="constant * linear_decay", base_learning_rate=0.0, end_learning_rate=0.5, total_steps=4)
    lr = scenic.compound_lr_scheduler(values)
    assert [float(lr(step)) for step in (0, 2, 4, 5)] == pytest.approx([0, 0.25, 0.5, 0.5])


def test_what_projects_do_their_own_way_is_said():
    notes = scenic.recipe(config(l2_decay_factor=1e-4, frozen_params={"a": 1}, model=dict(x=1))).notes
    assert "l2_decay_factor is left out: it is a part of the loss" in notes[0]
    assert "frozen_params is left out" in notes[1]
    assert notes[2] == "not part of a recipe: model"
    typo = scenic.recipe(configs(warmup_step=3)).notes[0]
    assert "'warmup_step' is not known, and left out; did you mean 'warmup_steps'?" in typo


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (configs(base_learning_rate="fast"), "lr_configs: base_learning_rate must be a number, got the string 'fast'"),
        (configs(factors="constant * cosine"), "factors: 'cosine' is not a factor; did you mean 'cosine_decay'"),
        (configs(factors="constant * cosine_decay"), "lr_configs: 'steps_per_cycle' is missing; add it"),
        (configs(learning_rate_schedule="step"), "learning_rate_schedule must be 'compound', got 'step'"),
        (config(lr_configs=dict(factors="constant")), "lr_configs: 'base_learning_rate' is missing"),
        (configs(factors="linear_decay", total_steps=3, warmup_steps=4), "total_steps must be above warmup_steps"),
        (
            configs(factors="piecewise_constant", decay_events=[3, 2], decay_factors=[1, 1]),
            "decay_events must ascend, with one of decay_factors",
        ),
        (
            configs(factors="cosine_decay", steps_per_cycle=4, t_mul=1.5),
            "cycles need whole lengths, and a whole t_mul >= 1, to restart",
        ),
        (config(optimizer_configs=dict(layerwise_decay=0.7)), "optimizer_configs: 'layerwise_decay' is not known"),
        (config(optimizer="adamm"), "optimizer must be one of .*, got 'optax.adamm'"),
        (config(optimizer=None), "'optimizer' is missing; name one of optax"),
        (config(optimizer=dict(optax_name="scale_by_adam")), "optax_name is of scenic's train_lib.optax"),
        (config(optimizer_configs=dict(optimizer="sgd")), "are both given; keep the latter"),
        (
            config(
                grad_clip_configs=dict(clip_method="clip_by_global_norm", clip_value=1.0),
                optimizer_configs=dict(weight_decay=0.1),
            ),
            "added before the gradients are clipped",
        ),
        (config(max_grad_norm=0), "max_grad_norm must be positive, got 0"),
        (
            configs(factors="piecewise_linear", decay_events=[3], decay_factors=[0.5, 0.1]),
            r"decay_factors must have one factor for each event \(1\)",
        ),
        (
            config(grad_clip_configs=dict(clip_method="adaptive_grad_clip", clip_value=1.0)),
            "clip_method must be one of",
        ),
        (config(num_training_epochs=3), "are both given; keep one"),
        (config(num_training_steps=None), "'num_training_steps' is missing; add it, or num_training_epochs"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises((TypeError, ValueError), match=message):
        scenic.recipe(values)
