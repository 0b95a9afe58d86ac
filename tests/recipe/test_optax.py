"""Recipes that name an optimizer of optax: everything that a recipe of ours does, and nothing else is named."""

import importlib
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js
from jaxsched.optimizers.internal import definition_of_factory, optax_factory, optax_name

PARAMS = {"kernel": jnp.array([[-1.0, 1.0], [0.5, 2.0]]), "bias": jnp.array([0.3, -0.2])}
LR = js.warmup(js.cosine(0.1, 100), 10)
LION = js.Recipe(
    "optax.lion",
    dict(learning_rate=LR, b1=js.linear(0.8, 0.9, 50), weight_decay=0.1, mu_dtype=jnp.bfloat16),
    groups={"bias": dict(learning_rate=0.5 * LR, weight_decay=0.0), "norm": None},
    steps=100,
    steps_per_epoch=10,
)
NAMES = [
    f"{package}.{name}"
    for package, module in (("optax", optax), ("optax.contrib", optax.contrib))
    for name in sorted(vars(module))
    if optax_factory(f"{package}.{name}")
]
NEEDED = {
    "optax.polyak_sgd": dict(max_learning_rate=0.1),
    "optax.contrib.dpsgd": dict(l2_norm_clip=1.0, noise_multiplier=0.1, seed=0),
    "optax.contrib.schedule_free": dict(base_optimizer=optax.sgd(0.1)),
}


def follow(tx, steps=3):
    @jax.jit
    def run(params):
        state = tx.init(params)
        for step in range(steps):
            gradients = jax.tree.map(lambda p, step=step: 0.1 * p + 0.05 * (step + 1), params)
            updates, state = tx.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
        return params, state

    return run(PARAMS)


def test_it_is_built_as_grouped_builds_it():
    grouped = js.optimizers.grouped(optax.lion, **LION.hyperparameters, groups=LION.groups, rules=LION.rules)
    mine, state = follow(LION.build())
    chex.assert_trees_all_equal(mine, follow(grouped)[0])
    assert float(js.hyperparams(state)["bias"]["b1"]) == pytest.approx(0.804)
    assert state[1].slots["weight"][0].mu["kernel"].dtype == jnp.bfloat16


def test_it_is_accumulated_clipped_and_averaged():
    recipe = LION.replace(clip_norm=1.0, ema=0.9, accumulate=js.Accumulation(2))
    params, state = follow(recipe.build(), steps=4)
    assert not np.array_equal(js.ema_params(state)["kernel"], params["kernel"])
    assert int(state.count) == 4


def test_it_is_a_value():
    assert js.Recipe.from_json(LION.to_json()) == LION
    assert json.loads(LION.to_json())["optimizer"] == "optax.lion"
    assert js.Recipe.from_json(LION.to_json()).hyperparameters["mu_dtype"] == "bfloat16"

    def first(recipe):
        tx = recipe.build()
        return tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0]

    expected = jax.jit(lambda: first(LION))()
    chex.assert_trees_all_close(jax.jit(first)(LION), expected, rtol=1e-5)
    stacked = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * 2), LION)
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[1], jax.jit(jax.vmap(first))(stacked)), expected, rtol=1e-5)


def test_reports_call_its_learning_rate_lr():
    curves = js.curves(LION)
    np.testing.assert_allclose(curves["bias"]["lr"], 0.5 * np.asarray(LR(np.arange(100))), rtol=1e-6)
    assert curves["weight"]["momentum"][0] == np.float32(0.8)
    assert "warm-up ends" in {text for row in js.explain(LION, PARAMS).rows for text in row.what}
    assert js.report.progress_fields(jax.jit(LION.build().init)(PARAMS)) == {"lr": "0", "momentum": "0.8"}
    short = LION.replace(steps=8)
    assert "warmup-too-long" in {finding.code for finding in js.lint(short, PARAMS)}
    bad = LION.replace(hyperparameters={"learning_rate": js.linear(0.1, -0.1, 100)}, groups={})
    assert {"negative-lr"} <= {finding.code for finding in js.lint(bad)}


def test_it_is_plotted():
    figure = js.plot(LION)
    assert {axis.get_label() for axis in figure.axes} >= {"lr", "momentum", "weight_decay"}


def test_it_is_shown_by_the_command(tmp_path):
    testing = pytest.importorskip("typer.testing", reason="the command needs the extra cli")
    app = importlib.import_module("jaxsched.cli._app").app
    path = tmp_path / "lion.json"
    path.write_text(LION.to_json())
    shown = testing.CliRunner().invoke(app, ["show", str(path)])
    assert shown.exit_code == 0, shown.output
    assert "optax.lion for 100 steps = 10 epochs of 10" in shown.output
    assert "lr of weight" in shown.output


def test_it_is_compared_with_ours():
    own = js.Recipe("adamw", dict(lr=2 * LR, weight_decay=0.1), steps=100, steps_per_epoch=10)
    found = {(d.name, d.group) for d in js.diff(LION, own)}
    of_groups = {("lr", "weight"), ("lr", "bias"), ("weight_decay", "bias"), ("group", "norm")}
    assert found == {("optimizer", None)} | of_groups
    assert not js.diff(LION, js.Recipe.from_json(LION.to_json()))


def test_a_transformation_is_reported_on():
    tx = optax.chain(js.clip_norm(1.0), js.optimizers.grouped(optax.lion, **LION.hyperparameters, groups=LION.groups))
    expected = LION.replace(clip_norm=1.0, steps=None, steps_per_epoch=None)
    assert not js.diff(tx, expected)
    with pytest.raises(ValueError, match="is not an optimizer of optax: a recipe cannot name it"):
        js.explain(js.optimizers.grouped(lambda learning_rate: optax.sgd(learning_rate), learning_rate=0.1))


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_of_optax_is_a_recipe(name):
    rate = {} if name in ("optax.polyak_sgd",) else {"learning_rate": LR}
    recipe = js.Recipe(name, rate | NEEDED.get(name, {}), steps=100)
    assert optax_name(optax_factory(name)) == name
    assert name in str(js.explain(recipe))
    if "base_optimizer" in recipe.hyperparameters:
        with pytest.raises(TypeError, match=r"recipe.hyperparameters.base_optimizer.* is the function"):
            recipe.to_json()
    else:
        assert js.Recipe.from_json(recipe.to_json()) == recipe


def test_the_kinds_of_arguments():
    kinds = {
        name: argument.is_option
        for factory in (optax.adamw, optax.contrib.muon, optax.contrib.prodigy, optax.adafactor)
        for name, argument in definition_of_factory(factory).arguments.items()
    }
    kinds |= {n: a.is_option for n, a in definition_of_factory(lambda own=True, own_rate=0.1: None).arguments.items()}
    options = [
        "mask",
        "nesterov",
        "mu_dtype",
        "ns_coeffs",
        "ns_steps",
        "factored",
        "decay_offset",
        "multiply_by_parameter_scale",  # in optax 0.2.5 a float by its annotation
        "own",
        "dtype_momentum",
    ]
    numbers = [
        "learning_rate",
        "b1",
        "eps",
        "weight_decay",
        "betas",
        "beta3",
        "adam_b1",
        "momentum",
        "own_rate",
    ]
    assert all(kinds[name] for name in options)
    assert not any(kinds[name] for name in numbers)


def test_a_tuple_may_hold_a_schedule():
    rate = dict(learning_rate=1.0, betas=(js.linear(0.8, 0.9, 10), 0.999))
    _, state = follow(js.optimizers.grouped(optax.contrib.prodigy, **rate))
    assert [float(x) for x in js.hyperparams(state)["weight"]["betas"]] == pytest.approx([0.82, 0.999])


@pytest.mark.parametrize(
    "name",
    [
        "optax",
        "optax.",
        "optax.scale_by_adam",
        "optax.scale_by_learning_rate",
        "optax.cosine_decay_schedule",
        "optax.contrib",
        "optax.contrib.lion",
        "optax.contrib.reduce_on_plateau",
        "optax.Schedule",
        "optax._src.alias.lion",
        "optax.chex",
        "optax.lion.__call__",
        "optax.lion\n",
        "os.system",
        "jaxsched.sgd",
        "grouped",
    ],
)
def test_nothing_else_is_named(name):
    text = LION.to_json().replace('"optax.lion"', json.dumps(name))
    with pytest.raises(ValueError, match=r"recipe: Recipe: optimizer must be one of .*such as 'optax.lion', got"):
        js.Recipe.from_json(text)


@pytest.mark.parametrize(
    ("optimizer", "hyperparameters", "groups", "message"),
    [
        ("optax.lion", {}, {}, "optax.lion: 'learning_rate' is needed"),
        ("optax.lion", {"lr": 0.1}, {}, "optax.lion: 'lr' is not known.*did you mean 'learning_rate'"),
        ("optax.adam", {"learning_rate": 1, "betas": (0.9, 0.9)}, {}, "optax.adam: 'betas' .*did you mean 'b1'"),
        ("optax.lion", {"learning_rate": "1e-3"}, {}, "optax.lion: learning_rate must be a number, got the string"),
        ("optax.lion", {"learning_rate": 1, "b1": None}, {}, "optax.lion: b1 must be a number, got None"),
        ("optax.adam", {"learning_rate": 1, "nesterov": 1}, {}, "optax.adam: nesterov must be a bool, got 1"),
        ("optax.adamw", {"learning_rate": 1, "mask": {}}, {}, "the option mask cannot be a dict.*own weight_decay"),
        ("optax.lion", {"learning_rate": 1}, {"bias": {"b1": "0"}}, r"optax.lion: groups\['bias'\]: b1 must be"),
        ("optax.lion", {"learning_rate": 1}, {"bia": {}}, "optax.lion: groups has 'bia'.*did you mean 'bias'"),
        ("optax.contrib.prodigy", {"betas": (0.9,)}, {}, "optax.contrib.prodigy: betas must be a tuple of 2 numbers"),
        ("optax.lionn", {}, {}, "optimizer must be one of .*got 'optax.lionn'"),
    ],
)
def test_errors_name_the_factory_and_the_field(optimizer, hyperparameters, groups, message):
    with pytest.raises((TypeError, ValueError), match=message):
        js.Recipe(optimizer, hyperparameters, groups=groups)


def test_what_the_factory_refuses_is_said_with_its_name():
    tx = js.Recipe("optax.adam", dict(learning_rate=0.1, mu_dtype="bfloat17")).build()
    with pytest.raises(TypeError, match=r"optax.adam: .*bfloat17"):
        tx.init(PARAMS)
