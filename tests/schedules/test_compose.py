"""Schedules made of schedules, by values worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js

DOWN, UP = js.linear(1.0, 0.0, 4), js.linear(0.0, 1.0, 4)
EXACT = {
    "sum": (DOWN + UP, [1, 1, 1, 1, 1]),
    "difference": (DOWN - 0.5, [0.5, 0.25, 0, -0.25, -0.5]),
    "difference from a number": (1 - DOWN, [0, 0.25, 0.5, 0.75, 1]),
    "negative": (-DOWN, [-1, -0.75, -0.5, -0.25, 0]),
    "product": (DOWN * UP, [0, 0.1875, 0.25, 0.1875, 0]),
    "by a number": (np.float32(2) * DOWN, [2, 1.5, 1, 0.5, 0]),
    "quotient": (DOWN / 4, [0.25, 0.1875, 0.125, 0.0625, 0]),
    "of a number": (1 / (UP + 1), [1, 0.8, 1 / 1.5, 1 / 1.75, 0.5]),
    "maximum": (js.schedules.maximum(DOWN, UP, 0.75), [1, 0.75, 0.75, 0.75, 1]),
    "minimum": (js.schedules.minimum(DOWN, UP), [0, 0.25, 0.5, 0.25, 0]),
    "clamp": (js.schedules.clamp(UP, 0.25, 0.5), [0.25, 0.25, 0.5, 0.5, 0.5]),
    "sequential restarts clocks": (js.sequential([DOWN, DOWN], [2]), [1, 0.75, 1, 0.75, 0.5]),
    "piecewise does not": (js.piecewise([DOWN, UP], [3]), [1, 0.75, 0.5, 0.75, 1]),
    "two milestones at once": (js.sequential([1.0, 2.0, DOWN], [2, 2]), [1, 1, 1, 0.75, 0.5]),
    "a milestone at 0": (js.piecewise([1.0, DOWN], [0]), [1, 0.75, 0.5, 0.25, 0]),
    "per epoch": (js.per_epoch(DOWN, 2), [1, 1, 0.75, 0.75, 0.5]),
    "delayed": (js.schedules.delayed(DOWN, 2), [1, 1, 1, 0.75, 0.5]),
    "an optax schedule inside": (js.product(0.5, optax.linear_schedule(1.0, 0.0, 4)), [0.5, 0.375, 0.25, 0.125, 0]),
}


@pytest.mark.parametrize(("schedule", "expected"), EXACT.values(), ids=EXACT)
def test_by_hand(schedule, expected):
    np.testing.assert_allclose(np.asarray(schedule(jnp.arange(10)))[:5], expected, rtol=3e-7, atol=0)


def test_it_is_an_optax_schedule():
    schedule = 0.5 * DOWN
    joined = optax.join_schedules([optax.constant_schedule(1.0), schedule], [2])
    np.testing.assert_allclose([joined(step) for step in range(4)], [1, 1, 0.5, 0.375], rtol=3e-7)
    tx = optax.sgd(schedule)
    state = tx.init(jnp.ones(2))
    for expected in (-0.5, -0.375):
        updates, state = jax.jit(tx.update)(jnp.ones(2), state)
        np.testing.assert_allclose(updates, expected, rtol=3e-7)


def test_jit_takes_a_schedule_itself():
    assert float(jax.jit(DOWN)(1)) == 0.75
    assert float(jax.jit(js.table([3.0, 1.0]))(1)) == 1.0


@pytest.mark.parametrize("number", [10, 5000])
def test_a_step_of_thousands_of_milestones_is_a_search(number):
    """The operations grow as the logarithm of their number, and the leaves of the pytree not at all."""
    at = np.arange(number) * 7 + 3
    values = np.random.default_rng(0).uniform(size=number + 1)
    steps = jnp.arange(number * 7 + 10)
    k = np.searchsorted(at, steps, side="right")
    for schedule, expected in (
        (js.piecewise(values.tolist(), at=at.tolist()), values[k]),
        (js.piecewise(values, at=at), values[k]),
        (js.multi_step(0.5, at, 1 - 1e-5), 0.5 * (1 - 1e-5) ** k),
        (js.multi_step(0.5, jnp.asarray(at), 1 - 1e-5), 0.5 * (1 - 1e-5) ** k),
    ):
        np.testing.assert_allclose(jax.jit(lambda s, t: s(t))(schedule, steps), expected, rtol=1e-6)
        if number > 64:
            assert len(jax.tree.leaves(schedule)) <= 4
            assert str(jax.make_jaxpr(lambda s, t: s(t))(schedule, 0)).count("\n") < 250
        assert schedule == schedule.replace()
        assert len(repr(schedule)) < 400
