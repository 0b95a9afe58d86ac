"""Cosines, by values worked by hand."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

HALF = math.sqrt(0.5)


def values(schedule, steps):
    return np.asarray(schedule(jnp.arange(800)), float)[:steps]  # of one shape: compiled once


def test_cosine():
    # (1 + cos(pi t / 4)) / 2 between 2 and 1
    expected = [2.0, 1.5 + HALF / 2, 1.5, 1.5 - HALF / 2, 1.0, 1.0, 1.0]
    np.testing.assert_allclose(values(js.cosine(2.0, 4, floor=1.0), 7), expected, rtol=3e-7)


def test_cosine_upwards():
    np.testing.assert_allclose(values(js.cosine(0.0, 2, floor=1.0), 4), [0, 0.5, 1, 1], rtol=3e-7)


def test_k_decay_goes_by_the_power_of_time():
    """At step 2 of 4 with k = 2 a quarter of the way is gone, at step 4 all."""
    expected = [1.0, (1 + math.cos(math.pi / 16)) / 2, (1 + HALF) / 2, (1 + math.cos(9 * math.pi / 16)) / 2, 0.0]
    np.testing.assert_allclose(values(js.cosine(1.0, 4, k=2), 5), expected, rtol=1e-6)
    np.testing.assert_allclose(values(js.polynomial(1.0, 0.0, 4, k=2), 5), [1, 15 / 16, 3 / 4, 7 / 16, 0], rtol=1e-6)


def test_periodic_cosine_climbs_again():
    np.testing.assert_allclose(
        values(js.schedules.periodic_cosine(2.0, 2, floor=1.0), 10), [2, 1.5, 1, 1.5, 2, 1.5, 1, 1.5, 2, 1.5], rtol=3e-7
    )
    np.testing.assert_allclose(values(js.schedules.periodic_cosine(1.0, 1), 4), [1, 0, 1, 0], atol=0)
    # Half the period is 2.5 steps: after five steps it is back at the top.
    a, b = ((1 + math.cos(math.pi * t / 2.5)) / 2 for t in (1, 2))
    np.testing.assert_allclose(values(js.schedules.periodic_cosine(1.0, 2.5), 7), [1, a, b, b, a, 1, a], rtol=1e-6)


def test_restarts_of_equal_length():
    np.testing.assert_allclose(values(js.cosine_restarts(1.0, 2), 6), [1, 0.5, 1, 0.5, 1, 0.5], rtol=3e-7)


def test_restarts_stretch_and_decay():
    """Cycles of 1, 2 and 4 steps from 1, 1/2 and 1/4, then the floor."""
    schedule = js.cosine_restarts(1.0, 1, floor=0.125, stretch=2, decay=0.5, cycles=3)
    quarter = [0.1875 + 0.0625 * math.cos(math.pi * t / 4) for t in range(4)]
    np.testing.assert_allclose(values(schedule, 9), [1, 0.5, 0.3125, *quarter, 0.125, 0.125], rtol=3e-7)


def test_restarts_tripled():
    """Cycles begin at 2 * (3**i - 1) / 2: 0, 2, 8, 26, 80, 242, where timm's logarithm misses one (242)."""
    schedule = js.cosine_restarts(1.0, 2, stretch=3)
    begins = [0, 2, 8, 26, 80, 242, 728]
    assert np.flatnonzero(values(schedule, 800) == 1.0).tolist() == begins


def test_flat_then_cosine():
    np.testing.assert_allclose(
        values(js.schedules.flat_then_cosine(2.0, 5, flat=3, floor=1.0), 7), [2, 2, 2, 2, 1.5, 1, 1], rtol=3e-7
    )
    assert js.schedules.flat_then_cosine(2.0, 5, 3, 1.0) == js.schedules.delayed(js.cosine(2.0, 2, 1.0), by=3)
    np.testing.assert_allclose(values(js.schedules.flat_then_cosine(1.0, 2, flat=0), 3), [1, 0.5, 0], rtol=3e-7)


@pytest.mark.parametrize(("lower", "upper"), [(-7.0, 3.0), (-2.0, 2.0)])
def test_tanh(lower, upper):
    expected = [1 + (1 - math.tanh(lower + (upper - lower) * t / 5)) / 2 for t in range(5)]
    np.testing.assert_allclose(
        values(js.schedules.tanh_decay(2.0, 5, 1.0, lower, upper), 7), [*expected, 1.0, 1.0], rtol=5e-7
    )
