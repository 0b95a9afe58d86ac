"""What a recipe takes: every field is checked when it is made, by the checks of what it builds."""

import jax.numpy as jnp
import pytest

import jaxsched as js

LR = dict(lr=0.1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(clip_norm=-1.0), "clip_norm: max_norm must be > 0, got -1.0"),
        (dict(clip_norm=float("nan")), "max_norm must be"),
        (dict(clip_norm="10"), "max_norm must be a number"),
        (dict(clip_each_norm=0.0), "clip_each_norm: max_norm must be > 0, got 0.0"),
        (dict(clip_value=-1.0), "clip_value must be positive, got -1.0"),
        (dict(clip_value=float("inf")), "clip_value must be finite"),
        (dict(ema=1.5), r"ema: decay must be in \[0, 1\], got 1.5"),
        (dict(ema="0.9"), "decay must be a number"),
        (dict(accumulate=js.Accumulation(0)), "every must be >= 1, got 0"),
        (dict(accumulate=js.Accumulation("4")), "every must be a number"),
        (dict(accumulate=js.Accumulation(4, mean="yes")), "mean must be"),
        (dict(accumulate=js.Accumulation(4, drop_at_epoch_end=True)), "needs steps_per_epoch"),
        (dict(accumulate=4), "accumulate must be js.Accumulation"),
    ],
)
def test_what_does_not_build_is_refused_when_it_is_made(fields, message):
    with pytest.raises((TypeError, ValueError), match=message):
        js.Recipe("sgd", LR, **fields)


@pytest.mark.parametrize(
    "text",
    [
        '{"$recipe": 1, "optimizer": "sgd", "clip_value": -1}',
        '{"$recipe": 1, "optimizer": "sgd", "ema": 2}',
        '{"$recipe": 1, "optimizer": "sgd", "accumulate": {"$accumulation": 1, "every": 0}}',
    ],
)
def test_a_file_is_checked_alike(text):
    with pytest.raises(ValueError, match="must be"):
        js.Recipe.from_json(text)


def test_what_is_made_builds():
    recipe = js.Recipe(
        "sgd", LR, clip_norm=js.linear(10.0, 1.0, 5), clip_value=2.0, ema=0.9, steps_per_epoch=4,
        accumulate=js.Accumulation(2, mean=True, drop_at_epoch_end=True),
    )  # fmt: skip
    params = {"w": jnp.ones(2)}
    tx = recipe.build()
    updates, state = tx.update(params, tx.init(params), params)
    assert not js.did_update(state)
    assert not updates["w"].any()
