"""Explain, lint, plot and curves take what people have: a schedule alone, or a chain of parts."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js
from jaxsched.recipe import as_recipe

LR = js.warmup(js.cosine(0.1, 1000), 100)


def chain():
    return optax.chain(
        js.clip_norm(10.0),
        optax.add_decayed_weights(0.1),
        js.sgd(lr=LR, momentum=0.9, groups={"bias": dict(lr=0.1 * LR), "norm": None}),
        js.ema(0.99),
    )


def test_a_chain_is_the_recipe_of_its_parts():
    found = as_recipe(js.accumulate(chain(), 4, mean=True, steps_per_epoch=50))
    assert found == js.Recipe(
        "sgd",
        dict(lr=LR, momentum=0.9),
        {"bias": dict(lr=0.1 * LR), "norm": None},
        clip_norm=10.0,
        ema=0.99,
        accumulate=js.Accumulation(4, mean=True, drop_at_epoch_end=True),
        steps_per_epoch=50,
        notes=found.notes,
    )
    assert "not shown" in found.notes[0]


def test_it_is_found_within_other_transformations():
    tx = optax.masked(optax.apply_if_finite(js.adamw(lr=LR, rules=[("**", "all")]), 3), {"w": True})
    found = as_recipe(tx)
    assert (found.optimizer, dict(found.hyperparameters)) == ("adamw", {"lr": LR})
    assert list(found.by_group()) == ["all"]
    two = optax.partition({"a": js.sgd(lr=0.1), "b": js.adam(lr=0.1)}, {"w": "a"})
    with pytest.raises(ValueError, match="this one has sgd, adam; report on each by itself"):
        js.explain(two)
    with pytest.raises(ValueError, match="this one has none"):
        js.lint(optax.adam(0.1))
    with pytest.raises(TypeError, match=r"a Recipe is needed.*got 0\.1"):
        js.explain(0.1)
    with pytest.raises(TypeError, match=r"a function of the step becomes a schedule with js\.from_function"):
        js.plot(optax.cosine_decay_schedule(0.1, 100))


def test_reports_take_a_chain_and_a_schedule_alone():
    for one in (chain(), LR):
        assert [row.step for row in js.explain(one).rows if row.what == ("warm-up ends",)] == [100]
        assert [finding.code for finding in js.lint(one)] == ["no-length"]
        group = next(iter(js.curves(one, [0, 50, 100]).values()))
        np.testing.assert_allclose(group["lr"][[0, 2]] / group["lr"][1], [0.0, LR(100) / LR(50)], rtol=1e-6)
    assert js.diff(chain(), chain()) == ()
    (axis,) = js.plot(LR).axes
    assert axis.get_label() == "lr"


@pytest.mark.parametrize(
    "around",
    [
        lambda tx: optax.chain(optax.clip_by_global_norm(1.0), tx),
        lambda tx: optax.named_chain(("clip", js.clip_norm(1.0)), ("optimizer", tx)),
        lambda tx: optax.masked(tx, True),
        lambda tx: optax.apply_if_finite(tx, 3),
        lambda tx: optax.partition({"a": tx, "b": optax.set_to_zero()}, "a"),
        js.flatten_groups,
    ],
)
def test_an_optimizer_is_found_inside_transformations_of_optax(around):
    found = as_recipe(around(js.sgd(lr=LR, momentum=0.9)))
    assert (found.optimizer, dict(found.hyperparameters)) == ("sgd", {"lr": LR, "momentum": 0.9})


def test_the_transformation_works_as_before():
    params = {"kernel": jnp.ones(2), "bias": jnp.ones(1), "norm": {"scale": jnp.ones(1)}}
    tx = chain()
    updates, _ = tx.update(params, tx.init(params), params)
    assert set(updates) == set(params)
