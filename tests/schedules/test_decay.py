"""Decays, by values worked by hand."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

STEPS = jnp.arange(10)
EXACT = {
    "constant": (js.constant(0.5), [0.5, 0.5, 0.5]),
    "linear": (js.linear(1.0, 0.0, 4), [1, 0.75, 0.5, 0.25, 0, 0]),
    "linear up": (js.linear(0.5, 1.0, 2), [0.5, 0.75, 1, 1]),
    "a line of one step": (js.linear(1.0, 0.5, 1), [1, 0.5, 0.5]),
    "a line that is not whole": (js.linear(1.0, 0.0, 2.5), [1, 0.6, 0.2, 0]),
    "polynomial, 2": (js.polynomial(1.0, 0.0, 4, 2), [1, 0.5625, 0.25, 0.0625, 0, 0]),
    "polynomial, 1/2": (js.polynomial(1.0, 0.0, 4, 0.5), [1, math.sqrt(0.75), math.sqrt(0.5), 0.5, 0, 0]),
    "polynomial with an end": (js.polynomial(2.0, 1.0, 2, 2), [2, 1.25, 1, 1]),
    "exponential": (js.exponential(1.0, 0.25, 2), [1, 0.5, 0.25, 0.125]),
    "exponential, staircase": (js.exponential(1.0, 0.25, 2, True), [1, 1, 0.25, 0.25, 0.0625]),
    "exponential, growing": (js.exponential(1.0, 4.0, 2), [1, 2, 4, 8]),
    "exponential ramp": (js.schedules.exponential_ramp(2.0, 1), [2 - 2 / math.e, 2 - 2 / math.e**2]),
    "inverse time": (js.inverse_time(1.0, 1.0), [1, 1 / 2, 1 / 3, 1 / 4]),
    "inverse time every 2": (js.inverse_time(1.0, 1.0, 2), [1, 1 / 1.5, 1 / 2, 1 / 2.5]),
    "inverse time, staircase": (js.inverse_time(1.0, 1.0, 2, True), [1, 1, 1 / 2, 1 / 2, 1 / 3]),
    "inverse square root": (js.inverse_sqrt(1.0, 1), [1, 2**-0.5, 3**-0.5, 0.5]),
    "inverse power": (js.schedules.inverse_power(1.0, 1.0, 2), [1, 1 / 4, 1 / 9, 1 / 16]),
    "step decay": (js.step_decay(1.0, 2, 0.5), [1, 1, 0.5, 0.5, 0.25]),
    "step decay every 2.4": (js.step_decay(1.0, 2.4, 0.5), [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]),
    "multi-step": (js.multi_step(1.0, (2, 3), 0.5), [1, 1, 0.5, 0.25, 0.25]),
    "multi-step, twice and at 0": (js.multi_step(1.0, (0, 2, 2), 0.5), [0.5, 0.5, 0.125]),
    "multi-step to 0": (js.multi_step(1.0, (1,), 0.0), [1, 0, 0]),
}


@pytest.mark.parametrize(("schedule", "expected"), EXACT.values(), ids=EXACT)
def test_by_hand(schedule, expected):
    np.testing.assert_allclose(np.asarray(schedule(STEPS))[: len(expected)], expected, rtol=3e-7, atol=0)


def test_many_milestones():
    """Past 64 they are searched, not compared one by one."""
    many = js.multi_step(1.0, tuple(range(10, 810, 10)), 0.5)
    steps = jnp.asarray([9, 10, 399, 400, 800, 2**31 - 1])
    np.testing.assert_allclose(many(steps), 0.5 ** np.asarray([0, 1, 39, 40, 80, 80]), rtol=1e-6)
