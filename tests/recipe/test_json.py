"""A recipe survives JSON to the last digit; what is not a recipe is refused, whatever it tries."""

import importlib
import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import jaxsched as js
from jaxsched.numerics._log_rate import LogRate

HYP = dict(
    lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1
)


def back(recipe):
    return js.Recipe.from_json(recipe.to_json())


def with_lr(lr, **rest):
    return js.Recipe("sgd", {"lr": lr}, **rest)


RECIPES = {
    "the least": js.Recipe("adam"),
    "yolov5": js.ports.yolov5.recipe(HYP, epochs=10, steps_per_epoch=70, batch_size=16),
    "betas and options": js.Recipe("adamw", dict(lr=1e-3, betas=[js.linear(0.8, 0.9, 7), 0.999], amsgrad=True)),
    "rate near 1": with_lr(js.exponential(0.1, rate=1 - 1e-12)),
    "rate 0": with_lr(js.multi_step(0.1, at=(1, 1, 2**31 - 1), factor=0)),
    "table": with_lr(js.table([0.1, 0.2, 1 / 3])),
    "arithmetic": with_lr(0.5 * js.constant(0.1) / 3 + js.schedules.maximum(js.linear(1.0, 0.0, 3), 0.25) - 1e-9),
    "metric": with_lr(js.warmup(js.plateau(0.1, patience=3, maximize=True), 10)),
    "metric, up too": with_lr(js.metric.greedy(0.1, patience=3, window=5)),
    "frozen": with_lr(0.1, groups={"norm": None, "bias": {"lr": 0.2}}),
    "limits": with_lr(0.1, clip_norm=1e30, clip_value=2.0, clip_each_norm=js.linear(2.0, 1.0, 5)),
    "accumulate": with_lr(0.1, accumulate=js.Accumulation(js.piecewise([1, 2], at=[5]), mean=True), ema=0.99),
    "rules": with_lr(
        0.1,
        rules=[
            ("head/**", "head"),
            js.groups.Rule(
                ~(js.role("bias", "norm") & js.groups.contains("é\n$") & js.groups.regex("a.b")) | js.groups.ndim(0, 1),
                "some",
                optional=True,
            ),
            ("**", "rest"),
        ],
        groups={"head": {"lr": js.cosine(1.0, 10)}},
    ),
    "words": with_lr(0.1, notes=("a", "ü"), origin={"lr": "x: y", "": ""}, steps=3, steps_per_epoch=1, batch_size=2),
}


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_is_lost(name):
    recipe = RECIPES[name]
    assert back(recipe) == recipe
    assert back(recipe).to_json() == recipe.to_json()
    assert back(recipe).notes == recipe.notes


def test_a_rate_keeps_its_own_digits():
    rate = back(RECIPES["rate near 1"]).hyperparameters["lr"].arguments["rate"]
    assert rate.value == 1 - 1e-12
    np.testing.assert_array_equal(*(r.hyperparameters["lr"](10**9) for r in map(back, [RECIPES["rate near 1"]] * 2)))


def test_a_recipe_from_inside_jit_or_a_sweep():
    recipe = RECIPES["yolov5"].replace(hyperparameters={"lr": js.exponential(0.1, rate=0.999)})
    through = jax.jit(lambda r: r)(recipe)
    assert isinstance(through.hyperparameters["lr"].arguments["rate"], LogRate)
    assert back(through) == through
    empty = with_lr(np.zeros((0, 2)))
    assert back(empty).hyperparameters["lr"].shape == (0, 2)
    sweep = with_lr(js.stack([js.cosine(peak, 100) for peak in (0.1, 0.2)]))
    assert back(sweep) == sweep


def every_schedule():
    """One of each public maker whose arguments are numbers, so that a new one is covered by itself."""
    guesses = {"steps": 10, "every": 3, "at": (2, 5), "schedules": (0.5, js.linear(1.0, 0.0, 4), 0.1), "values": [1.0]}
    rooms = ((js.schedules, name) for name in sorted(dir(js.schedules)))
    for room, name in (*rooms, (js.transforms, "power_ramp"), (js.transforms, "ratio_ramp")):
        maker = getattr(room, name)
        if not hasattr(maker, "__wrapped__") or name == "from_function":
            continue
        for start in (guesses, {**guesses, "values": (0.1, 0.2, 0.3), "schedule": js.constant(1.0)}):
            names = importlib.import_module("inspect").signature(maker).parameters
            arguments = {n: start.get(n, 0.5) for n, p in names.items() if p.default is p.empty}
            star = arguments.pop("schedules", ()) if "*" in str(names.get("schedules")) else ()
            try:
                yield maker(*star, **arguments)
                break
            except (TypeError, ValueError):
                continue


def test_every_public_schedule():
    made = list(every_schedule())
    assert {s.name for s in made} >= {"cosine", "warmup", "product", "sequential", "piecewise", "table", "step_decay"}
    for schedule in made:
        assert back(with_lr(schedule)) == with_lr(schedule), schedule.name


number = st.floats(0, 1e30, exclude_min=True, allow_subnormal=False) | st.integers(1, 2**31 - 1)
schedule = st.recursive(
    st.builds(js.cosine, number, st.integers(1, 2**31 - 1), number)
    | st.builds(js.exponential, number, rate=st.floats(0, 2))
    | st.builds(js.table, st.lists(number, min_size=1, max_size=5)),
    lambda inner: (
        st.builds(js.warmup, inner, st.integers(1, 100), inner | number)
        | st.builds(lambda a, b: a * b, inner, inner)
        | st.builds(lambda a, b, at: js.sequential([a, b], at=[at]), inner, inner, st.integers(0, 100))
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(lr=schedule, momentum=st.floats(0, 1) | schedule)
def test_any_recipe_comes_back(lr, momentum):
    recipe = js.Recipe("sgd", {"lr": lr, "momentum": momentum})
    assert back(recipe) == recipe


def mine(step):
    return step


@js.schedule
def own(step, peak: float):
    return peak


@pytest.mark.parametrize(
    "recipe",
    [
        with_lr(js.from_function(mine)),
        with_lr(mine),
        with_lr(own(1.0)),
        with_lr(0.1, rules=[(lambda p: True, "all")]),
        with_lr(0.1, rules=[js.groups.Rule(js.role("bias") | (lambda p: True), "all")]),
    ],
)
def test_code_is_refused(recipe):
    with pytest.raises(TypeError, match="is code"):
        recipe.to_json()


def test_traced_numbers_are_refused():
    with pytest.raises(TypeError, match=r"recipe.hyperparameters.lr.value is traced"):
        jax.jit(lambda x: with_lr(js.constant(x)).to_json() and x)(1.0)


def changed(path, value, recipe=RECIPES["rules"]):
    content = json.loads(recipe.to_json())
    node = content
    *outer, last = path
    for key in outer:
        node = node[key]
    node[last] = value
    return json.dumps(content)


LR = ("hyperparameters", "lr")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a recipe"),
        ("[1]", "not a recipe"),
        ("{}", "not a recipe"),
        (b"\xff\xfe", "not a recipe"),
        ('{"$recipe": 1}', "'optimizer' is missing"),
        ('{"$recipe": 2, "optimizer": "sgd"}', "version 2"),
        ('{"$recipe": true, "optimizer": "sgd"}', "got True"),
        ('{"$recipe": 1, "optimizer": "sgd", "optimizer": "adam"}', "given twice"),
        (changed(["stepz"], 3), "stepz is not known"),
        (changed(["optimizer"], "_driver"), "optimizer must be"),
        (changed(["optimizer"], "hyperparams"), "optimizer must be"),
        (changed(["optimizer"], ["sgd"]), "optimizer must be"),
        (changed(["steps"], 1.5), "steps must be a whole number"),
        (changed(["steps"], -1), "steps must be a whole number"),
        (changed(["notes"], 3), "recipe"),
        (changed(["groups"], {"nobody": {}}), "nobody"),
        (changed(["groups"], {"head": [1]}), "head"),
        (changed(["hyperparameters"], {"learning_rate": 1}), "learning_rate"),
        (changed(["rules"], [["**", "all"], 5]), r"rules\[1\]"),
        (changed(["rules"], [{"$rule": 5, "group": "x"}]), r"rules\[0\]"),
        (changed(["rules"], [{"$rule": {"$condition": "eval", "of": ["1"]}, "group": "x"}]), "not a condition"),
        (changed(["rules"], [{"$rule": {"$condition": "glob", "of": [1]}, "group": "x"}]), "glob takes 1 of str"),
        (changed(["rules"], [{"$rule": {"$condition": "all", "of": ["**"]}, "group": "x"}]), "takes a list"),
        (changed(["accumulate"], 3), "accumulate must be"),
        (changed(LR, True), "lr must be a number"),
        (changed(LR, "0.1"), "lr"),
        (changed(LR, -1), "lr must be >= 0"),
        (changed(LR, {"$array": ["a"], "dtype": "float32"}), "holds numbers"),
        (changed(LR, {"$array": [[1], [1, 2]], "dtype": "float32"}), "hyperparameters.lr"),
        (changed(LR, {"$array": [1e300], "dtype": "float32"}), "too large"),
        (changed(LR, {"$array": [1], "dtype": "object"}), "dtype must be"),
        (changed(LR, {"$array": [], "dtype": "int32", "shape": [0, -5, "a"]}), "hyperparameters.lr"),
        (changed(LR, {"$number": "1"}), "is for 'inf'"),
        (changed(LR, {"$code": "1"}), "is not known"),
        (changed(LR, 10**400), "lr"),
        (changed(LR, 7).replace("7", "1e999"), "too large"),
        (changed(LR, 7).replace("7", "NaN"), "not a JSON number"),
        (changed(LR, 7).replace("7", "9" * 10_000), "not a recipe"),
        (changed(LR, {"$schedule": "cosine", "peak": 1}), "steps"),
        (changed(LR, {"$schedule": "cosine", "peak": 1, "steps": 0}), "lr: cosine: steps must be a positive"),
        (changed(LR, {"$schedule": "cosine", "peak": 1, "steps": 3, "make": 1}), "make"),
        (changed(LR, {"$schedule": "product", "schedules": 3}), "schedules must be a list"),
        (changed(LR, {"$schedule": "from_function", "function": "os.system"}), "must be a function"),
        *[
            (changed(LR, {"$schedule": name}), "is not a schedule of jaxsched")
            for name in (
                "os.system",
                "os:system",
                "builtins:eval",
                "jaxsched.cli:main",
                "jaxsched.ports.shared._settings:extra",
                "jaxsched.ports.shared._settings:json",
                "jaxsched.ports.no_such:thing",
                "jaxsched.ports..yolov5:recipe",
                "schedule",
                "Schedule",
                "stack",
                "ports",
                "__class__",
                ["cosine"],
                3,
                None,
            )
        ],
    ],
)
def test_what_is_no_recipe_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        js.Recipe.from_json(text)


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"$schedule":"warmup","schedule":'])
@pytest.mark.parametrize("depth", [70, 100_000])
def test_a_nesting_bomb_is_refused_at_once(opening, depth):
    closing = "]" if opening == "[" else "}"
    text = changed(LR, 7).replace("7", opening * depth + "1" + closing * depth)
    began = time.process_time()
    with pytest.raises(ValueError, match="nested"):
        js.Recipe.from_json(text)
    assert time.process_time() - began < 5


def test_long_names_cost_no_more_than_their_length():
    text = json.dumps({"$recipe": 1, "optimizer": "sgd", "hyperparameters": {"x" * 10**6: [0] * 10**5}})
    began = time.process_time()
    with pytest.raises(ValueError, match="is not known"):
        js.Recipe.from_json(text)
    assert time.process_time() - began < 5


def test_too_many_items_are_refused_at_once_but_a_long_table_is_read(monkeypatch):
    text = '{"$recipe": 1, "optimizer": "sgd", "hyperparameters": {"lr": [' + "0," * 2**20 + "0]}}"
    began = time.process_time()
    with pytest.raises(ValueError, match="more than"):
        js.Recipe.from_json(text)
    assert time.process_time() - began < 5
    monkeypatch.setattr("jaxsched.recipe._json.MOST_ITEMS", 50)
    table = with_lr(js.table(np.arange(100.0)))
    assert back(table) == table


def test_a_text_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="at most"):
        js.Recipe.from_json(" " * (2**27 + 1))
    with pytest.raises(TypeError, match="read_text"):
        js.Recipe.from_json(open)


def test_nothing_is_imported():
    before = set(sys.modules)
    for name in ("antigravity:fly", "jaxsched.ports.antigravity:fly", "this:s"):
        with pytest.raises(ValueError):
            js.Recipe.from_json(changed(LR, {"$schedule": name}))
    assert set(sys.modules) == before


names = st.sampled_from(
    ["$recipe", "$schedule", "$condition", "$rule", "$array", "$rate", "$log_rate", "$number", "$accumulate", "of"]
    + ["optimizer", "hyperparameters", "groups", "rules", "lr", "steps", "group", "dtype", "peak", "at", "values"]
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(["cosine", "sgd"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)
SAMPLE = RECIPES["rules"].to_json()
PLACES = [m.start() for m in __import__("re").finditer(r'[-\w."]+', SAMPLE)]


@settings(max_examples=150, deadline=None)
@given(value=junk, kind=st.sampled_from(["lr", "rules", "groups", "ema", "accumulate", "clip_norm", "whole", "steps"]))
@example(value={"$schedule": "table", "values": []}, kind="lr")
@example(value={"$schedule": "multi_step", "start": 1, "at": {"$array": [[1.5]], "dtype": "float64"}}, kind="lr")
@example(value={"$log_rate": [None, {"a": 1}]}, kind="lr")
def test_junk_is_an_error_or_a_recipe(value, kind):
    if kind == "whole":
        text = json.dumps(value)
    else:
        text = changed(LR if kind == "lr" else [kind], value)
    try:
        recipe = js.Recipe.from_json(text)
    except ValueError:
        return
    assert back(recipe) == recipe


@settings(max_examples=150, deadline=None)
@given(at=st.sampled_from(PLACES), cut=st.integers(0, 12), put=st.text('"[]{},:$0123456789.e-nul', max_size=6))
def test_a_damaged_text_is_an_error_or_a_recipe(at, cut, put):
    try:
        recipe = js.Recipe.from_json(SAMPLE[:at] + put + SAMPLE[at + cut :])
    except ValueError:
        return
    assert back(recipe) == recipe


def test_recipes_are_equal_by_their_numbers_and_words():
    recipe = RECIPES["yolov5"]
    assert recipe == js.ports.yolov5.recipe(HYP, epochs=10, steps_per_epoch=70, batch_size=16)
    assert recipe != recipe.replace(notes=("other",))
    assert recipe != recipe.replace(steps=1)
    assert recipe != recipe.replace(hyperparameters={**recipe.hyperparameters, "weight_decay": 1e-9})
    assert with_lr(jnp.float32(0.5)) == with_lr(0.5)
    assert recipe != "recipe"
