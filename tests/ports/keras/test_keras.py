"""Keras' schedules: the stairs that float32 misses, TensorFlow 1's names, bad arguments."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsched.ports import keras


def test_a_boundary_still_has_the_value_before_it():
    values = keras.PiecewiseConstantDecay([2, 4], [1.0, 0.5, 0.25])(jnp.arange(7))
    np.testing.assert_array_equal(values, [1, 1, 1, 0.5, 0.5, 0.25, 0.25])


def test_restarts_of_a_length_that_is_no_whole_number_are_where_they_should_be():
    # cycles of 10, 15, 22.5, 33.75, ... begin at 0, 10, 25, 47.5, 81.25
    values = np.asarray(keras.CosineDecayRestarts(1.0, 10, t_mul=1.5, m_mul=0.5)(jnp.arange(90)))
    rises = np.flatnonzero(np.diff(values) > 0) + 1
    np.testing.assert_array_equal(rises, [10, 25, 48, 82])
    np.testing.assert_allclose(values[[10, 25]], [0.5, 0.25])
    np.testing.assert_allclose(values[48], 0.125 * (1 + np.cos(np.pi * 0.5 / 33.75)) / 2, rtol=1e-6)


def test_restarts_far_out():
    step, begins = 2_000_000_000, [0.0]
    while begins[-1] <= step:
        begins.append(begins[-1] + 1000 * 1.25 ** (len(begins) - 1))
    share = (step - begins[-2]) / (begins[-1] - begins[-2])
    value = keras.CosineDecayRestarts(1.0, 1000, t_mul=1.25)(step)
    np.testing.assert_allclose(value, (1 + np.cos(np.pi * share)) / 2, rtol=1e-6)


def test_tensorflow_1():
    s, d = np.arange(40), 25
    expected = 0.1 * np.exp(-0.5 * s / d)
    np.testing.assert_allclose(keras.natural_exp_decay(0.1, d, 0.5)(s), expected, rtol=1e-6)
    np.testing.assert_allclose(keras.natural_exp_decay(0.1, d, 0.5, True)(s), 0.1 * np.exp(-0.5 * (s // d)), rtol=1e-6)
    np.testing.assert_allclose(keras.inverse_time_decay(0.1, d, 0.5)(s), 0.1 / (1 + 0.5 * s / d), rtol=1e-6)
    t = np.minimum(s, d) / d
    expected = 0.1 * ((0.1 + 1 - t) * 0.5 * (1 + np.cos(np.pi * 2 * 2 * t)) + 0.01)
    np.testing.assert_allclose(
        keras.linear_cosine_decay(0.1, d, num_periods=2, alpha=0.1, beta=0.01)(s), expected, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keras.ExponentialDecay(0.1, 0, 0.9), "every must be a positive number of steps, got 0"),
        (lambda: keras.PiecewiseConstantDecay([1, 2], [1.0, 2.0]), "one entry more"),
        (lambda: keras.PiecewiseConstantDecay([2, 1], [1.0, 2.0, 3.0]), "must ascend"),
        (lambda: keras.CosineDecayRestarts(0.1, 10, t_mul=0.5), "t_mul must be >= 1, got 0.5"),
        (lambda: keras.PolynomialDecay(0.1, -5), "steps must be a positive number of steps, got -5"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
