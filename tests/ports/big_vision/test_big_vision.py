"""Configs of big_vision: schedules and runs against numbers recorded from the original, and what is read of files."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js
from jaxsched.ports import big_vision
from jaxsched.ports.shared import MissingError

RECORDED = json.loads((Path(__file__).parents[2] / "recorded" / "big_vision.json").read_text())
HALF_WAVE = 3e-7
"""What 1 + cos is off by in the original's float32, relative to its peak."""
HEAD = """import os
import big_vision.configs.common as bvcc
import ml_collections as mlc

LENGTHS = {'short': 300, 'long': 90}


"""
CONFIG = f"""{HEAD}def _optimizer(config, runlocal):
  config.optax_name = 'scale_by_adam'
  config.optax = dict(mu_dtype='bfloat16')
  config.lr = 0.001
  config.wd = 1e-4
  warmup = 10 if not runlocal else 1
  config.schedule = [
      ('img/.*', None),
      ('.*', dict(decay_type='cosine', warmup_steps=warmup)),
  ]


def get_config(arg=None):
  arg = bvcc.parse_arg(arg, variant='short', runlocal=False, res=(224, int))
  config = mlc.ConfigDict()
  config.total_steps = LENGTHS[arg.variant]
  config.input = {{}}
  config.input.batch_size = 8 * 16
  if arg.runlocal:
    config.input.batch_size = 8
  config.input.data = dict(data_dir=os.environ.get('DATA'))
  config.grad_clip_norm = 1.0
  _optimizer(config, arg.runlocal)
  config.model = dict(res=arg.res)
  config.mixup = dict(p=0.2)

  def get_eval(split):
    return dict(type='classification', split=split)
  config.evals = {{}}
  config.evals.val = get_eval('validation')
  return config
"""


@pytest.fixture
def read(tmp_path):
    def read(text=CONFIG, **options):
        path = tmp_path / "config.py"
        path.write_text(text)
        return big_vision.recipe(path, **options)

    return read


def test_schedules_are_those_recorded_from_the_original():
    cases = RECORDED["schedules"]
    schedules = [big_vision.create_learning_rate_schedule(**case["arguments"]) for case in cases]
    found = jax.jit(lambda steps: [schedule(steps) for schedule in schedules])(jnp.arange(100))
    for case, values in zip(cases, found, strict=True):
        expected = case["values"]
        atol, text = HALF_WAVE * max(expected), str(case["arguments"])
        np.testing.assert_allclose(values[: len(expected)], expected, rtol=1e-6, atol=atol, err_msg=text)


@pytest.mark.parametrize("name", RECORDED["runs"])
def test_the_parameters_after_a_run_are_those_recorded_from_the_original(name):
    paths = ["encoder/a/kernel", "encoder/a/bias", "head/kernel", "head/bias", "img/kernel", "t"]
    options = {
        "scale_by_adam": dict(b2=0.95),
        "big_vision.scale_by_adafactor": dict(beta2_cap=0.95, dtype_momentum="float32"),
        "big_vision.momentum_hp": dict(nesterov=True, dtype="float32"),
    }
    recipe = big_vision.recipe({**RECORDED["config"], "optax_name": name, "optax": options[name]})
    params = {path: jnp.array([1.0 + j, -0.5 * j], jnp.float32) for j, path in enumerate(paths)}
    tx = recipe.build()
    state, update = tx.init(params), jax.jit(tx.update)
    for i in range(20):
        grads = {path: jnp.array([np.sin(3 * j + i), 2 * np.cos(j - i)], jnp.float32) for j, path in enumerate(paths)}
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    for path, expected in RECORDED["runs"][name].items():
        np.testing.assert_allclose(params[path], expected, rtol=0, atol=5e-6, err_msg=path)


def test_worked_by_hand(read):
    recipe = read()
    lr = js.curves(recipe, [0, 5, 10, 155, 299])["decay"]["lr"]
    last = 0.001 * np.sin(np.pi / 2 / 290) ** 2
    np.testing.assert_allclose(lr, [0, 0.0005, 0.001, 0.0005, last], rtol=1e-6, atol=1e-9)
    assert recipe.groups["frozen"] is None
    assert recipe.by_group()["decay"]["weight_decay"] == pytest.approx(0.1)
    assert recipe.by_group()["no_decay"]["weight_decay"] == 0
    assert (recipe.steps, recipe.batch_size, recipe.clip_norm, recipe.optimizer) == (300, 128, 1.0, "adamw")
    params = {"img": {"kernel": 1.0}, "txt": {"kernel": 1.0, "bias": 1.0}, "kernel": 1.0, "kernel_x": 1.0}
    assert js.groups.labels(params, recipe.rules) == {
        "img": {"kernel": "frozen"},
        "txt": {"kernel": "decay", "bias": "no_decay"},
        "kernel": "no_decay",  # .*/kernel$ must match the whole path
        "kernel_x": "no_decay",
    }
    assert js.Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.notes[1:] == ("not part of a recipe: model, mixup, evals",)
    assert "0.8984 in bfloat16" in recipe.notes[0]
    recipe.build()


def test_the_argument_overrides_and_a_runs_json_say_the_same(read, tmp_path):
    recipe = read(arg="variant=long,runlocal")
    assert (recipe.steps, recipe.batch_size) == (90, 8)
    assert read(arg="long").steps == 90  # one word is the value of the first option
    assert read(arg="runlocal").batch_size == 8  # or a flag of this name
    changed = read(overrides={"lr": 0.03, "optax.mu_dtype": None})
    assert changed.by_group()["decay"]["weight_decay"] == pytest.approx(1e-4 / 0.03)
    assert "state_dtype" not in changed.hyperparameters
    values = dict(
        total_steps=300,
        input=dict(batch_size=128),
        optax_name="scale_by_adam",
        optax=dict(mu_dtype="bfloat16"),
        lr=0.001,
        wd=1e-4,
        grad_clip_norm=1.0,
        schedule=[["img/.*", None], [".*", dict(decay_type="cosine", warmup_steps=10)]],
    )
    (tmp_path / "config.json").write_text(json.dumps(values))
    for other in (values, tmp_path / "config.json"):
        found = big_vision.recipe(other)
        assert found.replace(notes=(), origin={}) == read().replace(notes=(), origin={})


def test_groups_of_several_patterns(read):
    text = CONFIG.replace(
        "  config.wd = 1e-4\n",
        "  config.wd = 1e-4\n  config.lr_mults = (('txt/.*', 0.1), ('.*', 1.0))\n"
        "  config.wd_mults = [('.*head/kernel', 100.0), ('.*/kernel', 1.0)]\n",
    )
    recipe = read(text.replace("('img/.*', None)", "('img/.*', dict(mult=2.0, steps=[100], mults=[0.5]))"))
    params = {"img": {"head": {"kernel": 1.0}}, "txt": {"kernel": 1.0}, "t": 1.0}
    assert js.groups.labels(params, recipe.rules) == {
        "img": {"head": {"kernel": "schedule_decay_x100"}},
        "txt": {"kernel": "schedule1_lr_x0.1_decay"},
        "t": "schedule1_no_decay",
    }
    groups = recipe.by_group()
    assert [float(groups["schedule_decay_x100"]["lr"](step)) for step in (99, 100)] == pytest.approx([0.002, 0.001])
    assert groups["schedule_decay_x100"]["weight_decay"] == pytest.approx(10.0)
    assert groups["schedule1_lr_x0.1_decay"]["weight_decay"] == pytest.approx(1.0)
    assert float(groups["schedule1_lr_x0.1_decay"]["lr"](10)) == pytest.approx(1e-4)


def test_epochs_and_examples_round_as_there():
    base = dict(lr=1.0, optax_name="big_vision.sgd", input=dict(batch_size=64))
    assert big_vision.recipe({**base, "total_epochs": 2.5}, images=1000).steps == 39
    assert big_vision.recipe({**base, "total_epochs": 1e-9}, images=1000).steps == 1
    assert big_vision.recipe({**base, "total_examples": 6432}).steps == 100  # 100.5, to the even one
    assert big_vision.recipe({**base, "num_epochs": 2.5}, images=1000).steps == 39
    assert big_vision.recipe({**base, "total_epochs": 3}, images=640).steps_per_epoch == 10
    with pytest.raises(MissingError, match="total_epochs counts epochs; give images="):
        big_vision.recipe({**base, "total_epochs": 3})


def test_other_optimizers():
    def of(name, **optax_options):
        recipe = big_vision.recipe(dict(lr=1.0, optax_name=name, optax=optax_options, total_steps=4))
        return recipe.optimizer, {**recipe.by_group()["all"], "lr": None}

    name, values = of("big_vision.scale_by_adafactor", beta2_cap=0.95)
    assert (name, values["beta2_cap"], values["momentum"], values["d"]) == ("adafactor", 0.95, 0.9, None)
    assert values["state_dtype"] == {"exp_avg": "bfloat16"}
    name, values = of("trace", decay=0.8, nesterov=True, accumulator_dtype="float32")
    assert (name, values["momentum"], values["nesterov"], values["state_dtype"]) == ("sgd", 0.8, True, None)
    name, values = of("scale_by_lion", b2=0.95, mu_dtype="bfloat16")
    assert (name, values["betas"]) == ("lion", (0.9, 0.95))
    assert of("identity")[0] == "sgd"


def config(**values):
    return {"lr": 0.1, "optax_name": "scale_by_adam", "schedule": {"decay_type": "cosine"}, "total_steps": 9, **values}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(lr="fast"), "config: lr must be a number, got the string 'fast'"),
        (dict(optax_name="scale_by_adm"), "did you mean 'scale_by_adam'"),
        (dict(optax=dict(b3=0.9)), "config: optax: 'b3' is not known"),
        (dict(optax=dict(mu_dtype="int8")), "config: optax: mu_dtype must be bfloat16, float16 or float32"),
        (dict(schedule=dict(decay_typ="cosine")), "schedule: 'decay_typ' is not known; did you mean 'decay_type'"),
        (dict(schedule=dict(decay_type="cos")), "decay_type must be one of 'stair', .*, got 'cos'"),
        (dict(schedule=dict(warmup_steps=9)), "the warm-up of 9 steps must be shorter than the run of 9"),
        (dict(schedule=dict(warmup_steps=2, warmup_percent=0.1)), "warmup_steps and warmup_percent are both given"),
        (dict(schedule=dict(warmup_percent=10)), r"warmup_percent must be in \[0.0, 1.0\], got 10"),
        (dict(schedule=dict(decay_type="rsqrt", warmup_steps=0.5)), "a part of the run is warmup_percent"),
        (dict(schedule=dict(steps=[1, 2], mults=[0.1])), "steps must ascend, with a number in mults for each"),
        (dict(schedule=dict(base=2.0)), "base is not an argument of big_vision; it is mult"),
        (dict(schedule=[(".*", None)]), "schedule freezes all parameters"),
        (dict(schedule=[("/a", {})]), "no path begins with a slash"),
        (dict(schedule=[".*"]), r"schedule\[0\] must be a pair \(pattern, value\), got '.\*'"),
        (dict(lr_mults=[("(", 2.0)]), "'\\(' is not a regular expression"),
        (dict(lr_mults=[("a.*", 0.0)]), "freeze by a schedule None instead"),
        (dict(lr=0.0, wd=0.1), "lr is 0, and wd is multiplied by the schedule alone"),
        (dict(weight_decay=0.1), "weight_decay is not read by big_vision: it is wd now"),
        (dict(weight_decay_decouple=False), "weight_decay_decouple must be true"),
        (dict(grad_accum_steps=4), "grad_accum_steps: big_vision does not accumulate"),
        (dict(total_steps=0), "the run has no steps: it only evaluates"),
        (dict(total_steps=None), "'total_steps' is missing; add it, or total_epochs"),
        (dict(grad_clip_norm=1.0, grad_clip_per_example=True), "grad_clip_per_example clips .* not ported"),
        (dict(wd_mult=[]), None),
    ],
)
def test_bad_values_are_named(values, message):
    if message is None:
        values = {**values, "wd_mult": [("a", 1.0)]}
        notes = big_vision.recipe(config(**values)).notes
        assert any("'wd_mult' is not known, and left out; did you mean 'wd_mults'?" in note for note in notes)
        return
    with pytest.raises((TypeError, ValueError), match=message):
        big_vision.recipe(config(**values))


@pytest.mark.parametrize(
    ("old", "new", "options", "message"),
    [
        (
            "config.lr = 0.001",
            "config.lr = float(os.environ['LR'])",
            {},
            r"config.py:11: lr needs `os.environ\[.*overrides=",
        ),
        ("config.lr = 0.001", "helpers.fill(config)", {}, r"config.py:11: batch_size needs `helpers.fill\(config\)`"),
        ("def get_config(arg=None)", "def make(arg=None)", {}, "config.py: it has no function get_config"),
        ("  return config\n", "  return other(config)\n", {}, "config.py:.*`other\\(config\\)` is not known"),
        ("", "", {"arg": "variant=tiny"}, "LENGTHS"),
        ("", "", {"arg": "varient=long"}, "'varient' is not an option; did you mean 'variant'"),
        ("", "", {"arg": "res=big"}, "arg: res must be of the type int, got 'big'"),
        ("", "", {"overrides": {"schedul": 1}}, "overrides has 'schedul', which the config does not have"),
        ("return config\n", "return config +\n", {}, "it is not Python"),
    ],
)
def test_what_a_file_does_not_say_is_named(read, old, new, options, message):
    with pytest.raises(ValueError, match=message):
        read(CONFIG.replace(old, new) if old else CONFIG, **options)


def test_a_value_that_is_not_known_can_be_given(read):
    text = CONFIG.replace("config.lr = 0.001", "config.lr = float(os.environ['LR'])")
    assert not js.diff(read(text, overrides={"lr": 0.001}), read())
