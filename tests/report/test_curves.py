"""Curves and updates against what each schedule says by itself, and against a plain loop."""

import jax
import numpy as np
import pytest

import jaxsched as js
from jaxsched.report._curves import values_at

STEPS = np.asarray([0, 1, 7, 50, 99, 100, 5000, 2**31 - 1])


@pytest.mark.parametrize(
    "values",
    [
        [0.1, js.cosine(0.1, 100), js.cosine(0.3, 77, floor=0.01), js.constant(0.5)],
        [js.multi_step(0.1, at=(5, 50)), js.multi_step(0.1, at=(5,)), lambda step: 1 / (1.0 + step)],
        [js.warmup(js.exponential(0.1, 1 - 1e-8), 30), js.table([1.0, 2.0]), js.cosine(0.1, 33.3)],
    ],
)
def test_evaluated_together_is_as_each_by_itself(values):
    for value, found in zip(values, values_at(values, STEPS), strict=True):
        expected = np.asarray(value(STEPS)) if callable(value) else np.full(STEPS.shape, value, np.float32)
        # compiled together, numbers are no constants: a few float32 ulp (6e-8) may differ
        np.testing.assert_allclose(found, expected, rtol=5e-7, atol=1e-12)


def test_one_compilation_for_many_groups_and_for_other_numbers():
    from jaxsched.report._curves import _evaluated

    _evaluated.clear_cache()
    for scale in (1.0, 2.0):
        js.curves(
            js.Recipe(
                "sgd",
                dict(lr=0.1),
                groups={f"g{i}": dict(lr=js.cosine(scale / (i + 1), 100 + i)) for i in range(20)},
                rules=[(f"g{i}", f"g{i}") for i in range(20)],
                steps=50,
            )
        )
    assert _evaluated._cache_size() == 1


@pytest.mark.parametrize("every", [1, 3, 2.5, js.piecewise([1, 2, 3, 5], at=[4, 10, 31]), js.linear(1.0, 9.0, 50)])
def test_updates_are_those_of_a_plain_loop(every):
    recipe = js.Recipe("sgd", dict(lr=0.1), accumulate=js.Accumulation(every), steps=100)
    needed = np.broadcast_to(np.asarray(every(np.arange(100)) if callable(every) else every), (100,))
    last, expected = -1, []
    for step in range(100):
        expected.append(bool(step - last >= needed[step]))
        last = step if expected[-1] else last
    assert js.report.update_steps(recipe).tolist() == expected
    assert js.report.update_steps(recipe, [99, 3]).tolist() == [expected[99], expected[3]]


def test_updates_are_those_of_the_built_chain():
    recipe = js.Recipe(
        "sgd", dict(lr=0.1), accumulate=js.Accumulation(js.piecewise([1, 3], at=[5]), drop_at_epoch_end=True),
        steps=40, steps_per_epoch=8,
    )  # fmt: skip
    tx, params = recipe.build(), {"w": np.float32(1.0)}

    def step(state, _):
        _, state = tx.update(params, state, params)
        return state, js.did_update(state)

    _, applied = jax.lax.scan(step, tx.init(params), None, length=40)
    np.testing.assert_array_equal(applied, js.report.update_steps(recipe))


@pytest.mark.parametrize(
    "report", [js.explain, js.lint, js.plot, js.curves, js.report.update_steps, lambda x: js.diff(x, js.Recipe("sgd"))]
)
@pytest.mark.parametrize("value", [0.1, "sgd"])
def test_what_is_no_recipe_is_said_so(report, value):
    with pytest.raises(TypeError, match=r"a Recipe is needed, such as js.Recipe\(.*got "):
        report(value)
