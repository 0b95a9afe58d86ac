"""Explain, lint, plot and curves take what people have: a schedule alone, or a chain of parts."""

import jax
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


def test_what_stands_on_the_wrong_side_of_the_optimizer_is_said():
    with pytest.raises(ValueError, match=r"ema stands before the optimizer.*make it the last"):
        js.lint(optax.chain(js.ema(0.9), js.sgd(lr=LR)))
    late = as_recipe(optax.chain(js.sgd(lr=LR), js.clip_norm(1.0)))
    assert any("clip_norm stands after the optimizer" in note for note in late.notes)
    assert not any("clip_norm stands" in note for note in as_recipe(chain()).notes)


def test_what_a_recipe_builds_is_read_as_the_recipe():
    groups = {"bias": dict(lr=0.5 * LR), "norm": None}
    recipe = js.Recipe("sgd", dict(lr=LR, momentum=0.9), groups, clip_norm=1.0, ema=0.9, accumulate=js.Accumulation(2))
    for flatten in (False, True):
        found = as_recipe(recipe.build(flatten=flatten))
        assert found == recipe.replace(notes=found.notes)
        assert "sgd" not in found.notes[-1]


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
    with pytest.raises(
        TypeError, match=r"got 'hyp\.yaml'; the port of a file's source reads it, such as js\.ports\.yolov5\.recipe"
    ):
        js.explain("hyp.yaml")


grouped, scale_by = js.optimizers.grouped, js.optimizers.scale_by
PARAMS = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "norm": {"scale": jnp.ones(2)}}


def test_pieces_are_the_recipe_of_the_optimizer_that_they_are():
    lr = js.linear(0.1, 0.0, 100)
    rate = optax.scale_by_learning_rate(lr)
    adam = scale_by(js.adam, betas=(0.8, 0.9))
    given = dict(lr=lr, betas=(0.8, 0.9), weight_decay=0.1)
    pairs = (
        (optax.chain(optax.add_decayed_weights(0.1), adam, optax.clip(1.0), rate), js.adam(**given)),
        (
            optax.chain(optax.chain(adam, optax.add_decayed_weights(0.1)), rate),
            js.adam(**given, decoupled_weight_decay=True),
        ),
        (optax.chain(scale_by(js.adamw), rate), js.adamw(lr=lr, weight_decay=0.0)),
        (optax.chain(optax.add_decayed_weights(0.1), scale_by(js.adamw), rate), js.adam(lr=lr, weight_decay=0.1)),
        (optax.chain(scale_by(js.lion), optax.scale_by_schedule(lr), optax.scale(-0.5)), js.lion(lr=0.5 * lr)),
        (optax.named_chain(("a", scale_by(js.sgd)), ("b", optax.scale(-0.1))), js.sgd(lr=0.1)),
    )
    for tx, expected in pairs:
        found, of_optimizer = as_recipe(tx), as_recipe(expected)
        assert found.replace(hyperparameters={}) == of_optimizer.replace(hyperparameters={}, notes=found.notes)
        assert not js.diff(found, of_optimizer)
    params = {"kernel": jnp.ones(2)}
    first = jax.jit(lambda p: [[tx.update(p, tx.init(p), p)[0]["kernel"] for tx in pair] for pair in pairs])(params)
    for updates, expected in first:
        np.testing.assert_allclose(updates, expected, rtol=1e-6)


def test_pieces_with_groups():
    own, twice = {"bias": dict(learning_rate=2 * LR)}, {"bias": dict(weight_decay=0.0)}
    tx = optax.chain(
        js.clip_norm(1.0),
        scale_by(js.sgd, momentum=0.9, groups={"weight": dict(momentum=0.5)}),
        grouped(optax.add_decayed_weights, weight_decay=0.1, groups={**twice, "norm": None}),
        grouped(optax.scale_by_learning_rate, learning_rate=LR, groups=own),
        js.ema(0.9),
    )
    found = as_recipe(js.accumulate(tx, 2))
    weight_decays = dict(momentum=0.9, weight_decay=0.1, lr=LR, decoupled_weight_decay=True)
    groups = {"weight": dict(momentum=0.5), "bias": dict(weight_decay=0.0, lr=2 * LR), "norm": None}
    rest = dict(clip_norm=1.0, ema=0.9, accumulate=js.Accumulation(2), notes=found.notes)
    assert found == js.Recipe("sgd", weight_decays, groups, **rest)
    assert [row.step for row in js.explain(tx, PARAMS).rows if "warm-up ends" in row.what] == [100]
    assert {finding.code for finding in js.lint(tx, PARAMS)} == {"no-length"}
    assert {axis.get_label() for axis in js.plot(tx).axes} >= {"lr", "momentum", "weight_decay"}
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(3):
        _, state = tx.update(params, state, params)
    used = js.hyperparams(state)
    assert float(used["bias"]["learning_rate"]) == 2 * float(LR(2))
    assert (float(used["weight"]["momentum"]), float(used["weight"]["weight_decay"])) == (0.5, np.float32(0.1))


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([scale_by(js.adam)], r"scale_by\(adam\): a report needs the learning rate in the same chain"),
        (
            [scale_by(js.adam), optax.scale_by_learning_rate(0.1), optax.add_decayed_weights(0.1)],
            r"after the direction and the weight decay",
        ),
        ([scale_by(js.adam), scale_by(js.lion), optax.scale(-0.1)], r"one direction with one weight decay"),
        (
            [scale_by(js.adam, rules=[("**", "a")]), grouped(optax.scale_by_learning_rate, learning_rate=1, groups={})],
            None,
        ),
        (
            [
                scale_by(js.adam, rules=[("**", "a")]),
                grouped(optax.scale_by_learning_rate, learning_rate=1.0, rules=[("**", "b")]),
            ],
            r"needs the same rules in all pieces",
        ),
        (
            [scale_by(js.adam, groups={"norm": None}), optax.add_decayed_weights(0.1), optax.scale(-1.0)],
            r"'norm' is frozen in scale_by, but not in the weight decay",
        ),
        (
            [scale_by(js.adam), optax.scale_by_learning_rate(js.plateau(0.1))],
            r"a piece of optax follows no metric; put optimizers.grouped around it",
        ),
    ],
)
def test_pieces_that_are_no_optimizer(pieces, message):
    if message is None:
        assert [*as_recipe(optax.chain(*pieces)).by_group()] == ["a"]
        return
    with pytest.raises(ValueError, match=message):
        js.explain(optax.chain(*pieces))


def test_what_is_not_shown_is_named():
    tx = optax.chain(optax.clip(1.0), optax.add_decayed_weights(0.1), js.clip_norm(1.0), js.sgd(lr=LR))
    assert "not shown: clip, add_decayed_weights" in as_recipe(tx).notes
    lion = optax.chain(optax.add_decayed_weights(0.1), scale_by(js.lion), optax.scale(-0.1))
    assert "weight decay is coupled here, and decoupled in lion" in as_recipe(lion).notes
    with pytest.raises(ValueError, match="a report needs the learning rate"):
        js.lint(scale_by(js.adam))


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
