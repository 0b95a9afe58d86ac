"""Model Garden's configs: the rates and updates of its OptimizerFactory, recorded, and what is refused."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import modelgarden
from jaxsched.ports.shared import File, MissingError

RECORDED = json.loads((Path(__file__).parents[2] / "recorded" / "modelgarden.json").read_text())
START = [1.0, -0.5, 0.25, 2.0]


def read(text, **options):
    text = "trainer:\n  train_steps: 36\n  optimizer_config:\n    " + text.replace("\n", "\n    ")
    return modelgarden.recipe(File(Path("params.yaml"), text), **options)


def config(optimizer=None, learning_rate=None, task=None, **settings):
    settings["optimizer"] = optimizer or {"type": "sgd", "sgd": {"momentum": 0.9}}
    settings["learning_rate"] = learning_rate or {"type": "constant", "constant": {"learning_rate": 0.1}}
    return {"trainer": {"train_steps": 10, "optimizer_config": settings}, **({"task": task} if task else {})}


@pytest.mark.parametrize("name", RECORDED["rates"])
def test_each_rate_is_that_of_the_original(name):
    text, expected = RECORDED["rates"][name].values()
    recipe = read("optimizer: {type: sgd}\n" + text)
    # TensorFlow's cosine is 1 + cos(x) in float32, whose rounding of 6e-8 is 4e-6 of what is left a step before the end
    np.testing.assert_allclose(js.curves(recipe)["weight"]["lr"], expected, rtol=6e-6, atol=1e-9)
    assert js.Recipe.from_json(recipe.to_json()) == recipe


def gradient(step):
    """That with which the run was recorded."""
    return jnp.asarray(((step * 31 + np.arange(4) * 17) % 13 / 13 - 0.4).astype(np.float32))


@pytest.mark.parametrize("name", RECORDED["runs"])
def test_updates_are_those_of_the_original(name):
    recorded = RECORDED["runs"][name]
    tx = read(recorded["text"]).build()
    params, update = {"w": jnp.asarray(START)}, jax.jit(tx.update)
    state = tx.init(params)
    for step, expected in enumerate(recorded["parameters"]):
        # 16 updates of float32 numbers of about 1; torch's clipping divides by the norm + 1e-6
        np.testing.assert_allclose(params["w"], expected, rtol=0, atol=4e-6)
        updates, state = update({"w": gradient(step)}, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        if "averages" in recorded:
            np.testing.assert_allclose(js.ema_params(state)["w"], recorded["averages"][step], rtol=0, atol=1e-6)


def decays(recipe):
    return {name: values["weight_decay"] for name, values in recipe.by_group().items()}


def test_the_decay_in_the_loss_is_that_of_weights():
    task = {"losses": {"l2_weight_decay": 1e-4}, "train_data": {"global_batch_size": 64}}
    recipe = modelgarden.recipe(config(task=task))
    assert decays(recipe) == {"bias": 0.0, "norm": 0.0, "weight": 1e-4}
    assert (recipe.steps, recipe.batch_size) == (10, 64)
    clipped = config({"type": "sgd", "sgd": {"global_clipnorm": 1.0}}, task=task)
    assert "the decay is added after clipping" in " ".join(modelgarden.recipe(clipped).notes)
    assert "l2_weight_decay is not in the file" in " ".join(modelgarden.recipe(config(task={"model": {}})).notes)


def test_what_adamw_excludes_does_not_decay():
    own = {"weight_decay_rate": 0.1, "exclude_from_weight_decay": ["norm", "bias"], "include_in_weight_decay": ["head"]}
    recipe = modelgarden.recipe(config({"type": "adamw", "adamw": own}))
    params = {"norm": jnp.ones(2), "conv": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}, "head": {"bias": jnp.ones(2)}}
    assert js.groups.labels(params, recipe.rules) == {
        "norm": "no_decay",
        "conv": {"kernel": "all", "bias": "no_decay"},
        "head": {"bias": "all"},
    }
    assert decays(recipe) == {"all": 0.1, "no_decay": 0.0}
    assert recipe.clip_norm == 1.0


def test_what_the_file_leaves_to_its_experiment_is_said():
    notes = modelgarden.recipe(config(warmup={"linear": {"warmup_steps": 3}})).notes
    assert notes[0].endswith("unless the experiment sets them: linear.warmup_learning_rate")
    assert notes[1].endswith("unless the experiment sets them: sgd.nesterov, sgd.decay")
    assert modelgarden.recipe(config(of("adamw"))).notes[0].startswith("caution left-out: config: trainer")
    with pytest.raises(ValueError, match="type is not in the file, but in its experiment; add it, or give the params"):
        modelgarden.recipe(config({"type": None}))
    with pytest.raises(MissingError, match="does not say how long the run is"):
        modelgarden.recipe({"trainer": {"optimizer_config": config()["trainer"]["optimizer_config"]}})
    assert modelgarden.recipe(config(), steps=7).steps == 7


def test_what_freezes_parameters_is_said():
    task = {"freeze_backbone": True, "model": {"freeze": "", "backbone": {"frozen_stages": 2}}}
    codes = dict(js.recipe.cautions(modelgarden.recipe(config(task=task)).notes))
    assert codes["freeze"].startswith("config: task.model.backbone.frozen_stages: 2 freezes parameters there")
    assert any("task.freeze_backbone: True freezes" in note for note in modelgarden.recipe(config(task=task)).notes)
    assert "freeze" not in dict(js.recipe.cautions(modelgarden.recipe(config()).notes))


def of(name, **own):
    return {"type": name, name: own}


COSINE = of("cosine", initial_learning_rate=0.1, decay_steps=10)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (config(of("sdg")), "type must be one of sgd, .*, got 'sdg'; did you mean 'sgd'"),
        (config(of("lars", momentum=0.9)), "type must be one of sgd, .*, got 'lars'"),
        (config(of("sgd", momentun=0.9)), "sgd: 'momentun' is not known; did you mean 'momentum'"),
        (config(of("sgd", momentum=2)), "sgd: momentum must be in"),
        (config(learning_rate={"type": ["cosine"]}), r"type must be one of constant, .*, got \['cosine'\]"),
        (config(of("sgd", clipnorm=0)), "sgd: clipnorm must be positive, or null for none, got 0"),
        (config(of("adam", amsgrad=True)), "amsgrad: Keras' takes its maximum before the bias correction"),
        (config(of("adamw", clipnorm=1.0)), "gradient_clip_norm clips too; set it to 0"),
        (config(of("adamw", weight_decay_rate=1, exclude_from_weight_decay="x")), "must be a list of regular"),
        (config(of("adamw", weight_decay_rate=1, exclude_from_weight_decay=["(a*)*"])), "regex: .* may take too"),
        (config(learning_rate=of("power", power=2)), "learning_rate: type must be one of constant, .*, got 'power'"),
        (config(learning_rate=of("cosine", decay_steps=9)), "cosine: 'initial_learning_rate' is missing; add it"),
        (config(learning_rate=of("cosine", initial_learning_rate="x", decay_steps=9)), "must be a number, got the str"),
        (config(learning_rate=of("stepwise", boundaries=[3, 2], values=[1, 1, 1])), "boundaries must ascend"),
        (config(learning_rate=of("stepwise", boundaries=[3], values=[1])), "values must be one more than boundaries"),
        (
            config(learning_rate=of("polynomial", initial_learning_rate=1, decay_steps=9, cycle=True)),
            "cycle is not",
        ),
        (config(learning_rate={"type": "cosine", "cosine": {**COSINE["cosine"], "offset": 3}}), "offset must be at mo"),
        (config(learning_rate=COSINE, warmup=of("linear")), "linear: 'warmup_steps' is missing"),
        (config(warm_up=3), "optimizer_config: 'warm_up' is not known; did you mean 'warmup'"),
        (config(ema={"decay": 0.9}), "ema: 'decay' is not known"),
        ({"trainer": 3}, "trainer must hold names and values, got 3"),
        ({"trainer": {}}, "'optimizer_config' is missing; add it"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises((ValueError, TypeError), match=message) as error:
        modelgarden.recipe(given)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
