"""pipeline.config of TensorFlow's Object Detection API: its own rates and updates, recorded, and what is refused."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import tfod
from jaxsched.ports.shared import File, MissingError
from jaxsched.ports.tfod._text import parse

RECORDED = json.loads((Path(__file__).parents[2] / "recorded" / "tfod.json").read_text())
RUNS = [(program, name) for program in ("model_main", "model_main_tf2") for name in RECORDED[program]]
START = jnp.asarray([1.0, -0.5, 0.25, 2.0])
SSD = """
model {
  ssd {
    feature_extractor {
      type: 'ssd_mobilenet_v2_keras' conv_hyperparams { regularizer { l2_regularizer { weight: %s } } }
      override_base_feature_extractor_hyperparams: true }
    box_predictor { convolutional_box_predictor { conv_hyperparams {
      regularizer { l2_regularizer { weight: %s } } activation: RELU_6 } } }
  }
}
train_config: {
  batch_size: 8  # images
  num_steps: 100
  optimizer { momentum_optimizer: { learning_rate: { constant_learning_rate { learning_rate: .01 } } } }
  %s
}
"""


def read(text, **options):
    return tfod.recipe(File(Path("pipeline.config"), text), **options)


def config(optimizer=None, rate=None, name="constant_learning_rate", **fields):
    rate = {name: rate or {}}
    inner = {"momentum_optimizer": {"learning_rate": rate}} if optimizer is None else optimizer
    return {"train_config": {"num_steps": 40, "optimizer": inner, **fields}}


@pytest.mark.parametrize("name", RECORDED["rates"])
def test_each_rate_is_that_of_the_original(name):
    text, expected = RECORDED["rates"][name].values()
    recipe = read("train_config { num_steps: 36 optimizer { momentum_optimizer { learning_rate {" + text + "} } } }")
    assert recipe.steps == len(expected)
    # TensorFlow's cosine is 1 + cos(x) in float32, whose rounding of 6e-8 is 2e-6 of what is left a step before the end
    np.testing.assert_allclose(js.curves(recipe)["weight"]["lr"], expected, rtol=4e-6, atol=1e-9)
    assert js.Recipe.from_json(recipe.to_json()) == recipe


def gradient(step):
    """That with which the run was recorded."""
    return jnp.asarray(((step * 31 + np.arange(4) * 17) % 13 / 13 - 0.4).astype(np.float32))


@pytest.mark.parametrize(("program", "name"), RUNS)
def test_updates_are_those_of_the_original(program, name):
    recorded = RECORDED[program][name]
    tx = read(recorded["text"], trainer=program).build()
    params, update = {"w": START}, jax.jit(tx.update)
    state = tx.init(params)
    for step, expected in enumerate(recorded["parameters"]):
        # 16 updates of float32 numbers of about 1; torch's clipping divides by the norm + 1e-6
        np.testing.assert_allclose(params["w"], expected, rtol=0, atol=3e-6)
        updates, state = update({"w": gradient(step)}, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        if "averages" in recorded:
            # the original's average begins at 0, of which 10! / ((t + 2) ... (t + 10)) is left after t updates
            left = np.prod([(t + 1) / (t + 10) for t in range(1, step + 2)]) * np.abs(START).max()
            np.testing.assert_allclose(
                js.ema_params(state)["w"], recorded["averages"][step], rtol=0, atol=left * 1.001 + 1e-6
            )


def test_a_file_is_read_as_protobuf_reads_it():
    text = """# a comment
    name: "a" 'b\\n'  ; size: [1, 0x10, -2] , ratio: 1e-3f half: .5
    inner { deep < flag: true kind: SAME > } inner: { flag: False }
    empty {}
    """
    # the tokens are protobuf's own; what they make is written here
    assert parse(File(Path("a.config"), text)) == {
        "name": "ab\n",
        "size": [1, 16, -2],
        "ratio": 0.001,
        "half": 0.5,
        "inner": [{"deep": {"flag": True, "kind": "SAME"}}, {"flag": False}],
        "empty": {},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train_config {\n optimizer {", r"a.config:2: not in protobuf's text format: .*not closed with }"),
        ("train_config {\n num_steps: {{ n }}\n}", "a.config:2: not in protobuf's text format"),
        ("a: 'b", "a.config:1: not in protobuf's text format"),
        ("a: 1x", "a.config:1: not in protobuf's text format"),
        ("a: [1 2]", 'a.config:1: .*Expected ","'),
        ("a {" * 5000, "nested too deeply"),
        ("model {}", "'train_config' is missing; add it"),
        ("train_config { optimizer: [] }", "optimizer appears 0 times; keep one"),
    ],
)
def test_files_that_are_refused(text, message):
    with pytest.raises(ValueError, match=message) as error:
        tfod.recipe(File(Path("a.config"), text))
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


def decays(recipe):
    return {name: None if values is None else values["weight_decay"] for name, values in recipe.by_group().items()}


def test_regularizers_are_the_decay_of_weights():
    recipe = read(SSD % ("0.00004", "4e-5", "gradient_clipping_by_norm: 10"))
    assert (recipe.batch_size, recipe.steps, recipe.clip_norm) == (8, 100, 10.0)
    assert decays(recipe) == {"bias": 0.0, "norm": 0.0, "weight": 4e-5}
    assert any("clips" in note for note in recipe.notes)
    assert not any("clips" in note for note in read(SSD % ("0", "0", "gradient_clipping_by_norm: 10")).notes)
    assert decays(read(SSD % ("1", "1", "add_regularization_loss: false")))["weight"] == 0.0
    assert decays(tfod.recipe(config()))["weight"] == 0.0


def test_parts_with_different_regularizers_have_groups_of_their_own():
    text = SSD % ("4e-5", "1e-3", "")
    with pytest.raises(MissingError, match=r"conv_hyperparams 4e-05, .*conv_hyperparams 0.001\); give paths="):
        read(text)
    recipe = read(text, paths={"box_predictor": "head/**"})
    assert decays(recipe) == {"box_predictor": 1e-3, "bias": 0.0, "norm": 0.0, "weight": 4e-5}
    params = {"head": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "body": {"kernel": jnp.ones((2, 2))}}
    labels = js.groups.labels(params, recipe.rules)
    assert labels == {"head": {"kernel": "box_predictor", "bias": "bias"}, "body": {"kernel": "weight"}}
    with pytest.raises(ValueError, match="paths: 'head' has no hyperparams in pipeline"):
        read(text, paths={"head": "head/**"})
    with pytest.raises(ValueError, match="the parts of 'ssd' have different regularizers"):
        read(text, paths={"ssd": "**"})


def test_the_extractors_own_decay_is_a_caution():
    text = (SSD % ("1e-3", "1e-3", "")).replace("override_base_feature_extractor_hyperparams: true", "")
    assert "ssd_mobilenet_v2_keras itself have the decay of their code" in " ".join(read(text).notes)
    assert "of their code" not in " ".join(read(text.replace("1e-3", "0.00004")).notes)


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("", "model_main_tf2"),
        ("fine_tune_checkpoint_version: V2", "model_main_tf2"),
        ("fine_tune_checkpoint_version: V1", "model_main"),
    ],
)
def test_which_program_trains(text, program):
    text = SSD % ("0", "0", text)
    recipe = read(text.replace("_keras", "") if "version" in text else text)
    assert f"taken to be trained by {program}" in recipe.notes[0]
    assert recipe.hyperparameters["form"] == ("classic" if program == "model_main_tf2" else "torch")
    assert not any("taken" in note for note in read(text, trainer=program).notes)


PARAMS = {
    "FeatureExtractor": {"conv": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "norm": {"scale": jnp.ones(2)}},
    "Head": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
}


def frozen(trainer, **fields):
    recipe = tfod.recipe(config(**fields), trainer=trainer)
    labels = js.groups.labels(PARAMS, recipe.rules)
    return {"/".join(key.key for key in path) for path, label in jax.tree.leaves_with_path(labels) if label == "frozen"}


def test_patterns_freeze_variables():
    extractor = {"FeatureExtractor/conv/kernel", "FeatureExtractor/conv/bias", "FeatureExtractor/norm/scale"}
    assert frozen("model_main", freeze_variables="Extractor") == extractor
    with pytest.raises(ValueError, match="matches no parameter"):
        frozen("train", freeze_variables="Extractor")  # which matches from the start
    assert frozen("train", freeze_variables=["FeatureExtractor/conv", "Head", ""]) == {
        "FeatureExtractor/conv/kernel",
        "FeatureExtractor/conv/bias",
        "Head/kernel",
        "Head/bias",
    }
    assert frozen("model_main", update_trainable_variables=["Head", "norm"]) == {
        "FeatureExtractor/conv/kernel",
        "FeatureExtractor/conv/bias",
    }
    assert frozen("model_main", update_trainable_variables="Extractor", freeze_variables="norm") == {
        "FeatureExtractor/norm/scale",
        "Head/kernel",
        "Head/bias",
    }
    assert frozen("model_main_tf2", freeze_variables="Extractor") == set()
    note = tfod.recipe(config(freeze_variables="Extractor"), trainer="model_main_tf2").notes[0]
    assert note == "config: train_config: freeze_variables has no effect: model_main_tf2 does not read it"


def test_the_legacy_program_multiplies_gradients_of_biases_and_clips_each():
    recipe = tfod.recipe(config(rate={"learning_rate": 0.5}, bias_grad_multiplier=2.0), trainer="train")
    assert {name: float(values["lr"](0)) for name, values in recipe.by_group().items()} == {
        "bias": 1.0,
        "norm": 0.5,
        "weight": 0.5,
    }
    labels = js.groups.labels({"bn": {"scale": jnp.ones(2), "bias": jnp.ones(2)}, "c": PARAMS["Head"]}, recipe.rules)
    assert labels == {"bn": {"scale": "norm", "bias": "norm"}, "c": {"kernel": "weight", "bias": "bias"}}
    clipped = tfod.recipe(config(gradient_clipping_by_norm=10.0), trainer="train")
    assert (clipped.clip_norm, clipped.clip_each_norm) == (None, 10.0)
    with pytest.raises(ValueError, match="bias_grad_multiplier is ported for momentum_optimizer without clipping only"):
        tfod.recipe(config(bias_grad_multiplier=2.0, gradient_clipping_by_norm=10.0), trainer="train")
    assert "has no effect" in tfod.recipe(config(bias_grad_multiplier=2.0), trainer="model_main").notes[0]


def test_the_average():
    assert tfod.recipe(config(), trainer="model_main").ema == 0.9999
    decay = tfod.recipe(config(), trainer="model_main_tf2").ema
    np.testing.assert_allclose(decay(jnp.asarray([0, 8, 10**6])), [2 / 11, 10 / 19, 0.9999], rtol=1e-6)
    off = {"momentum_optimizer": {"learning_rate": {"constant_learning_rate": {}}}, "use_moving_average": False}
    assert tfod.recipe(config(optimizer=off)).ema is None


def test_a_run_without_an_end():
    recipe = tfod.recipe(config(num_steps=0))
    assert recipe.steps is None
    assert "num_steps is 0: the run has no end; give steps=" in " ".join(recipe.notes)
    assert tfod.recipe(config(num_steps=0), steps=7).steps == 7


def model(regularizer):
    return {"model": {"ssd": {"conv_hyperparams": {"regularizer": regularizer}}}}


COSINE = "cosine_decay_learning_rate"
MANUAL = "manual_step_learning_rate"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (config(momentum=3), "'momentum' is not known, and its name says that it changes the schedule"),
        (config(num_steps=[3, 4]), "num_steps appears 2 times; keep one"),
        (config(batch_size="8x"), "batch_size must be a number, got the string '8x'"),
        (config(optimizer={}), "optimizer must have one of rms_prop_optimizer, .*, got none"),
        (
            config(optimizer={"adam_optimizer": {}, "momentum_optimizer": {}}),
            "momentum_optimizer and adam_optimizer",
        ),
        (
            config(optimizer={"adam_optimizer": {}}),
            "learning_rate must have one of .*, got none",
        ),
        (config(optimizer={"adam_optimizer": 3}), "adam_optimizer must hold names and values, got 3"),
        (config(rate={"lr": 3}), "'lr' is not known; known are learning_rate"),
        (config(rate={"learning_rate": -1}), "constant_learning_rate: learning_rate must be in"),
        (config(rate={"learning_rate": "nan"}), "learning_rate must be finite, got nan"),
        (config(rate={"total_steps": 5}, name=COSINE), "total_steps must be at least warmup_steps .10000., got 5"),
        (config(rate={"total_steps": 5, "warmup_steps": 5}, name=COSINE), "total_steps must be above warmup_steps"),
        (config(rate={"warmup_learning_rate": 1}, name=COSINE), "warmup_learning_rate must be in"),
        (config(rate={}, name=MANUAL), "schedule is empty; add a step"),
        (config(rate={"schedule": [{"step": 9}, {"step": 9}]}, name=MANUAL), "schedule: its steps must ascend, got"),
        (config(rate={"schedule": {"step": 9, "lr": 1}}, name=MANUAL), r"schedule\[0\]: 'lr' is not known"),
        (config(rate={"schedule": 9}, name=MANUAL), r"schedule\[0\] must hold names and values, got 9"),
        (config(freeze_variables="(a*)*"), "freeze_variables: regex: .* may take too long"),
        (config(freeze_variables=3), "freeze_variables must be strings, got"),
        (
            {**config(), **model({"l1_regularizer": {}})},
            "not a weight decay",
        ),
        ({**config(), **model({"l2_regularizer": {"weigth": 0.1}})}, "'weigth' is not known; did you mean 'weight'"),
        ({**config(), **model(3)}, "must hold names and values, got 3"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises((ValueError, TypeError), match=message) as error:
        tfod.recipe(given, trainer="model_main")
    assert "\n" not in str(error.value)


def test_other_inputs():
    with pytest.raises(TypeError, match="expected the path to a pipeline"):
        tfod.recipe(3)
    with pytest.raises(ValueError, match="trainer must be one of model_main_tf2, model_main, train, got 'tf3'"):
        tfod.recipe(config(), trainer="tf3")
    misspelt = tfod.recipe(config(num_step=3), trainer="model_main").notes[-1]
    assert misspelt.endswith("'num_step' is not known, and left out; did you mean 'num_steps'?")
    step_0 = {"schedule": [{"step": 0, "learning_rate": 0.5}, {"step": 9, "learning_rate": 0.25}]}
    recipe = tfod.recipe(config(rate=step_0, name=MANUAL))
    assert js.curves(recipe, [0, 8, 9])["weight"]["lr"].tolist() == [0.5, 0.5, 0.25]
    assert any("releases since 2018 refuse it" in note for note in recipe.notes)
