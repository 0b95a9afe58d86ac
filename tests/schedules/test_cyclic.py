"""Cycles, by values worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

STEPS = jnp.arange(10)
EXACT = {
    "triangular": (js.cyclic(0.0, 1.0, 2), [0, 0.5, 1, 0.5, 0, 0.5, 1]),
    "slow up, fast down": (js.cyclic(1.0, 2.0, 2, 1), [1, 1.5, 2, 1, 1.5, 2, 1]),
    "slow down": (js.cyclic(1.0, 2.0, 1, 2), [1, 2, 1.5, 1, 2, 1.5]),
    "triangular2": (
        js.cyclic(1.0, 2.0, 1, amplitude=js.step_decay(1.0, 2, 0.5)),
        [1, 2, 1, 1.5, 1, 1.25, 1],
    ),
    "exponential range": (js.cyclic(1.0, 2.0, 1, amplitude=js.exponential(1.0, 0.5)), [1, 1.5, 1, 1.125, 1]),
    "downwards": (js.cyclic(0.95, 0.85, 2), [0.95, 0.9, 0.85, 0.9, 0.95]),
    "one cycle": (js.one_cycle(1.0, 6, 2, 0.5, 0.0, "linear"), [0.5, 0.75, 1, 0.75, 0.5, 0.25, 0, 0]),
    "one cycle, cosine": (js.one_cycle(1.0, 4, 2, 0.5, 0.0), [0.5, 0.75, 1, 0.5, 0, 0]),
    "three phases": (js.one_cycle(1.0, 6, 2, 0.5, 0.0, "linear", True), [0.5, 0.75, 1, 0.75, 0.5, 0.25, 0, 0]),
    "three phases, long end": (
        js.one_cycle(2.0, 6, 1, 1.0, 0.0, "linear", True),
        [1, 2, 1, 0.75, 0.5, 0.25, 0],
    ),
    "momentum": (js.schedules.one_cycle_momentum(6, 2, 0.5, 1.0, "linear"), [1, 0.75, 0.5, 0.625, 0.75, 0.875, 1, 1]),
    "momentum, three phases": (
        js.schedules.one_cycle_momentum(6, 2, 0.5, 1.0, "linear", True),
        [1, 0.75, 0.5, 0.75, 1, 1, 1, 1],
    ),
}


@pytest.mark.parametrize(("schedule", "expected"), EXACT.values(), ids=EXACT)
def test_by_hand(schedule, expected):
    np.testing.assert_allclose(np.asarray(schedule(STEPS))[: len(expected)], expected, rtol=5e-7, atol=1e-9)


def test_one_cycle_by_default_rises_for_three_tenths_from_a_25th_and_ends_at_a_10000th_of_that():
    one = js.one_cycle(1.0, 1000)
    assert [float(one(step)) for step in (0, 300, 1000)] == pytest.approx([0.04, 1.0, 4e-6], rel=1e-6)
    assert one == js.one_cycle(1.0, 1000, 300, 0.04, 0.04 / 1e4)


def test_one_cycle_of_traced_lengths():
    """Three tenths are taken in integers: 0.3 * 1e9 in float32 is 12 steps off."""
    import jax

    made = jax.jit(lambda peak, steps, step: js.one_cycle(peak, steps)(step))
    steps = 1_000_000_007
    for step in (0, 3 * steps // 10, steps):
        assert float(made(0.5, steps, step)) == float(js.one_cycle(0.5, steps)(step))
    assert float(made(0.5, steps, 3 * steps // 10)) == 0.5
