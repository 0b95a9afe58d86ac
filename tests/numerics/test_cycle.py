"""Which stair, which cycle, how many milestones: as exact integers have it."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsched.numerics import Fractional, floor_log, passed, repeats, stair

LAST = 2**31 - 1
SOME = np.random.default_rng(5)


def some_steps(*others):
    found = np.concatenate([np.arange(300), SOME.integers(0, LAST, 300), *others, [LAST - 1, LAST]])
    return np.unique(found[found <= LAST])


@pytest.mark.parametrize("every", [2.4, 1.1, 0.7, 33.3, 1.00001, 1e-6, 7 / 3, 1234.5, 98765.4321])
def test_a_length_that_is_a_ratio_fits_as_often_as_python_says(every):
    """To the last step: a ratio of integers below 2**29 and 2**22 is counted without any rounding."""
    at = np.floor(SOME.integers(0, 1000, 200) * every).astype(np.int64)
    steps = some_steps(at, at + 1)
    steps = steps[steps // every < LAST]  # as many stairs as int32 counts
    found = np.asarray(jax.jit(stair)(jnp.asarray(steps, jnp.int32), Fractional(every)))
    np.testing.assert_array_equal(found, [int(step) // Fraction(every) for step in steps])


@pytest.mark.parametrize("every", [np.pi, np.pi * 1000, 1e8 + 0.3, 2.0**30 + 0.5])
def test_a_length_that_is_no_ratio_is_off_by_a_step_at_most(every):
    steps = some_steps(np.arange(1, 6) * int(every), np.arange(1, 6) * int(every) + 1)
    found = np.asarray(stair(jnp.asarray(steps, jnp.int32), Fractional(every)))
    early, late = (np.asarray([int(step) // Fraction(every) for step in steps + shift]) for shift in (-1, 1))
    assert ((early <= found) & (found <= late)).all()


@pytest.mark.parametrize("every", [1, 7, 46341, 2**30, LAST])
def test_repeats_of_a_whole_length(every):
    steps = some_steps()
    times, over, whole = repeats(jnp.asarray(steps, jnp.int32), every)
    np.testing.assert_array_equal(times, steps // every)
    np.testing.assert_array_equal(over, steps % every)
    assert int(whole) == every


@pytest.mark.parametrize("base", [2, 3, 10, 46340, 46341, LAST])
def test_floor_log(base):
    powers = [base**n for n in range(40) if base**n <= LAST]
    numbers = np.unique(np.clip([p + d for p in powers for d in (-1, 0, 1)], 1, LAST))
    log, power = floor_log(jnp.asarray(numbers, jnp.int32), jnp.int32(base))
    expected = [max(n for n, p in enumerate(powers) if p <= number) for number in numbers]
    np.testing.assert_array_equal(log, expected)
    np.testing.assert_array_equal(power, [powers[n] for n in expected])


@pytest.mark.parametrize("number", [0, 1, 5, 9, 64, 5000])
def test_milestones_passed(number):
    at = np.sort(SOME.integers(0, 2000, number))
    steps = some_steps(at, at + 1)
    expected = np.searchsorted(at, steps, side="right")
    for kind in (tuple(at.tolist()), at.astype(np.int32)):
        np.testing.assert_array_equal(passed(jnp.asarray(steps, jnp.int32), kind), expected)
