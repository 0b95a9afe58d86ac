"""The table of parameters."""

import jax.numpy as jnp
import pytest

import jaxsched as js

NET = {
    "backbone": {"conv": {"kernel": jnp.ones((3, 3, 4, 8)), "bias": jnp.ones(8)}, "bn": {"scale": jnp.ones(8)}},
    "head": {"kernel": jnp.ones((8, 10)), "temperature": jnp.ones(())},
}


def test_rows_are_data():
    table = js.parameter_table(NET)
    assert [row.path for row in table] == [p.path for p in js.groups.parameters(NET)]
    row = table[2]
    assert (row.path, row.shape, row.role, row.group, row.rule, row.size) == (
        "backbone/conv/kernel", (3, 3, 4, 8), "weight", "weight", "role weight", 288,
    )  # fmt: skip
    assert table.counts() == {"norm": (1, 8), "bias": (1, 8), "weight": (3, 369)}


def test_hyperparameters_as_they_are_used_or_as_they_are_defined():
    recipe = js.Recipe("sgd", dict(lr=js.cosine(0.1, 100), momentum=0.9), groups={"bias": dict(lr=0.2)}, steps=100)
    state = recipe.build().init(NET)
    used = js.parameter_table(NET, recipe.rules, js.hyperparams(state))
    assert float(used[1].hyperparameters["lr"]) == pytest.approx(0.2)
    defined = js.parameter_table(NET, recipe.rules, recipe.by_group())
    assert defined[2].hyperparameters["lr"] == js.cosine(0.1, 100)
    assert "cosine" in str(defined)


def test_it_prints_well():
    rules = [
        (js.role("norm", "norm_bias"), "norm"),
        (js.role("bias"), "bias"),
        (js.role("weight") & js.groups.glob("backbone/**"), "body"),
        (lambda parameter: len(parameter.shape) == 2, "matrix"),
        ("**", "rest"),
    ]
    hyperparameters = {"norm": {"lr": 0.1}, "bias": {"lr": 1 / 3}, "body": None, "matrix": {"lr": 2}, "rest": {}}
    assert str(js.parameter_table(NET, rules, hyperparameters)) == (
        "path                  shape    role    group   rule                           lr\n"
        "backbone/bn/scale     8        norm    norm    role norm or norm_bias         0.1\n"
        "backbone/conv/bias    8        bias    bias    role bias                      0.333333\n"
        "backbone/conv/kernel  3x3x4x8  weight  body    (role weight and backbone/**)  frozen\n"
        "head/kernel           8x10     weight  matrix  <lambda>                       2\n"
        "head/temperature      ()       weight  rest    **                             -\n"
        "\n"
        "  norm: 1 parameter, 8 numbers\n"
        "  bias: 1 parameter, 8 numbers\n"
        "  body: 1 parameter, 288 numbers\n"
        "  matrix: 1 parameter, 80 numbers\n"
        "  rest: 1 parameter, 1 number"
    )


def test_what_is_not_covered_is_an_error():
    with pytest.raises(ValueError, match="head/kernel"):
        js.parameter_table(NET, [("backbone/**", "body")])


def test_a_recipe_in_the_place_of_rules_gives_its_hyperparameters_too():
    recipe = js.Recipe("sgd", dict(lr=0.1, momentum=0.9), {"rest": None}, rules=[("**/bias", "bias"), ("**", "rest")])
    params = {"conv": {"kernel": jnp.ones((3, 3)), "bias": jnp.ones(3)}}
    bias, kernel = js.parameter_table(params, recipe)
    assert (bias.group, bias.hyperparameters) == ("bias", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0})
    assert (kernel.group, kernel.hyperparameters) == ("rest", None)
