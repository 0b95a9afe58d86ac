"""What was used in the last step, for loggers and progress bars."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

PARAMS = {"kernel": jnp.ones(2), "bias": jnp.ones(2), "bn": {"scale": jnp.ones(2)}}


def after_one_step(tx):
    return tx.update(PARAMS, tx.init(PARAMS), PARAMS)[1]


def test_flat_is_what_hyperparams_says():
    state = after_one_step(js.adamw(lr=js.linear(1.0, 0.0, 4), groups={"bias": dict(lr=0.5)}))
    flat = js.flatten_dict(js.hyperparams(state), prefix="train/")
    assert flat["train/bias/lr"] == 0.5
    assert flat["train/weight/lr"] == js.hyperparams(state)["weight"]["lr"] == 1.0
    assert float(flat["train/norm/betas/1"]) == pytest.approx(0.999)


def test_fields_are_short_texts():
    fields = js.report.progress_fields(after_one_step(js.sgd(lr=1 / 3, momentum=0.937, groups={"bias": dict(lr=0.1)})))
    assert fields == {"lr": "0.333", "lr bias": "0.1", "momentum": "0.937"}


def test_many_groups_are_a_range():
    rules = [(name, name) for name in ("kernel", "bias")] + [("bn/**", "bn")]
    tx = js.adamw(lr=1e-3, rules=rules, groups={"bias": dict(lr=1e-5), "bn": dict(lr=0.5)})
    assert js.report.progress_fields(after_one_step(tx), most=2) == {"lr": "1e-05..0.5", "momentum": "0.9"}


def test_inside_accumulation_and_a_recipe():
    recipe = js.Recipe("sgd", dict(lr=js.linear(1.0, 0.0, 4)), rules=[("**", "all")], accumulate=js.Accumulation(2))
    tx = recipe.build()
    state = tx.init(PARAMS)
    for _ in range(2):
        _, state = tx.update(PARAMS, state, PARAMS)
    assert js.report.progress_fields(state) == {"lr": "0.75"}
    assert np.isclose(js.hyperparams(state)["all"]["lr"], 0.75)
