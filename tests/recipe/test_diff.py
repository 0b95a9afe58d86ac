"""What differs between two recipes: worked by hand."""

import pytest

import jaxsched as js

HYP = dict(
    lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1
)


def sgd(lr=0.5, **rest):
    return js.Recipe("sgd", {"lr": lr}, **{"steps": 10, **rest})


def names(found):
    return [d.name if d.group is None else f"{d.group}.{d.name}" for d in found]


def test_no_difference_is_empty_and_false():
    recipe = js.ports.yolov5.recipe(HYP, epochs=3, steps_per_epoch=50, batch_size=16)
    again = js.Recipe.from_json(recipe.to_json())
    assert not js.diff(recipe, again)
    assert str(js.diff(recipe, again)) == "no difference"


def test_schedules_are_compared_by_their_values():
    assert not js.diff(sgd(js.constant(0.5)), sgd(0.5))
    assert not js.diff(sgd(js.linear(1.0, 0.0, 10)), sgd(js.polynomial(1.0, 0.0, 10)))


def test_ranges_and_the_largest_difference():
    a = sgd(js.piecewise([1.0, 0.5, 0.25], at=[3, 6]))
    b = sgd(js.piecewise([1.0, 0.5, 0.1, 0.25], at=[2, 7, 9]))
    weight = js.diff(a, b)[-1]
    # a: 1 1 1 .5 .5 .5 .25 .25 .25 .25
    # b: 1 1 .5 .5 .5 .5 .5  .1  .1  .25
    assert (weight.name, weight.group, weight.steps) == ("lr", "weight", ((2, 2), (6, 8)))
    assert (weight.at, weight.a, weight.b) == (2, 1.0, 0.5)
    assert str(weight) == "lr (weight): 1.0 -> 0.5 at step 2; differs at 2, 6-8"


def test_only_the_common_length_is_compared():
    lr = js.piecewise([1.0, 0.5], at=[10])
    assert names(js.diff(sgd(1.0), sgd(lr, steps=20))) == ["steps"]
    assert "weight.lr" in names(js.diff(sgd(1.0, steps=None), sgd(lr, steps=20)))


def test_groups():
    frozen = js.diff(sgd(), sgd(groups={"norm": None}))
    assert [str(d) for d in frozen] == ["group (norm): 'trained' -> 'frozen'"]
    other = js.diff(sgd(), sgd(rules=[("**", "weight")]))
    assert names(other) == ["rules", "bias.group", "norm.group"]
    assert str(other[1]) == "group (bias): 'there' -> absent"


def test_another_optimizer_has_other_hyperparameters():
    found = js.diff(sgd(), js.Recipe("adam", {"lr": 0.5}, steps=10))
    assert names(found) == ["optimizer"]
    assert str(found) == "optimizer: 'sgd' -> 'adam'"


def test_groups_that_differ_alike_share_a_line():
    found = js.diff(sgd(1.0), sgd(0.5, groups={"norm": {"lr": 0.25}}))
    assert str(found) == "lr (bias, weight): 1.0 -> 0.5\nlr (norm): 1.0 -> 0.25"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (dict(clip_norm=1.0), "clip_norm"),
        (dict(clip_norm=3.0), "clip_norm"),
        (dict(ema=js.constant(0.9)), "ema"),
        (dict(accumulate=js.Accumulation(2)), "accumulate.every"),
        (dict(batch_size=3), "batch_size"),
        (dict(steps_per_epoch=3), "steps_per_epoch"),
    ],
)
def test_fields(change, name):
    assert name in names(js.diff(sgd(), sgd(**change)))
    assert not js.diff(sgd(**change), sgd(**change))


def test_betas_one_by_one():
    a, b = (js.Recipe("adam", {"betas": (0.9, second)}, steps=3) for second in (0.999, js.linear(0.999, 0.99, 3)))
    assert set(names(js.diff(a, b))) == {"bias.betas[1]", "norm.betas[1]", "weight.betas[1]"}


def test_what_a_metric_will_do():
    found = js.diff(sgd(js.plateau(0.5, patience=3)), sgd(js.plateau(0.5, patience=4)))
    assert names(found) == [f"{group}.lr, by metric" for group in ("bias", "norm", "weight")]
    assert "patience=4" in str(found)


def test_the_tolerance():
    assert not js.diff(sgd(1.0), sgd(1.0 + 1e-7))
    assert js.diff(sgd(1.0), sgd(1.0 + 1e-7), rtol=1e-8)
    assert not js.diff(sgd(1.0), sgd(1.1), rtol=0.1)
