"""Keras' schedules, live in float64, against ours in float32 and float64."""

import inspect
import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # on jax its cosine is float32 whatever is asked for

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxsched as js

keras = pytest.importorskip("keras")
theirs = keras.optimizers.schedules
ours = js.ports.keras
STEPS = np.arange(301)


@pytest.fixture(autouse=True, scope="module")
def in_float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def values(schedule, steps):
    found = [keras.ops.convert_to_numpy(schedule(int(step))) for step in steps]
    assert found[0].dtype == np.float64
    return np.asarray(found)


def check(name, kwargs, steps=STEPS):
    with jax.enable_x64(True):
        # in their own float64: 1 + cos cancels to 1e-16 of the peak
        expected = values(getattr(theirs, name)(**kwargs), steps)
        atol = 1e-15 * np.abs(expected).max()
        np.testing.assert_allclose(getattr(ours, name)(**kwargs)(steps), expected, rtol=1e-12, atol=atol, err_msg=name)
    np.testing.assert_allclose(getattr(ours, name)(**kwargs)(steps), expected, rtol=1e-6, atol=atol, err_msg=name)


CASES = [
    ("ExponentialDecay", dict(initial_learning_rate=0.1, decay_steps=100, decay_rate=0.96)),
    ("ExponentialDecay", dict(initial_learning_rate=0.1, decay_steps=7, decay_rate=0.5, staircase=True, name="x")),
    ("ExponentialDecay", dict(initial_learning_rate=0.1, decay_steps=2.5, decay_rate=0.9, staircase=True)),
    ("InverseTimeDecay", dict(initial_learning_rate=0.1, decay_steps=10, decay_rate=0.5)),
    ("InverseTimeDecay", dict(initial_learning_rate=0.1, decay_steps=10, decay_rate=2.0, staircase=True)),
    ("PiecewiseConstantDecay", dict(boundaries=[100, 200], values=[1.0, 0.5, 0.1])),
    ("PiecewiseConstantDecay", dict(boundaries=[0, 50], values=[1.0, 0.5, 0.1])),
    ("PolynomialDecay", dict(initial_learning_rate=0.1, decay_steps=200)),
    ("PolynomialDecay", dict(initial_learning_rate=0.1, decay_steps=200, end_learning_rate=0.01, power=0.5)),
    ("PolynomialDecay", dict(initial_learning_rate=0.1, decay_steps=40, power=2.0, cycle=True)),
    ("CosineDecay", dict(initial_learning_rate=0.1, decay_steps=200)),
    ("CosineDecay", dict(initial_learning_rate=0.1, decay_steps=200, alpha=0.1)),
    ("CosineDecay", dict(initial_learning_rate=0.0, decay_steps=200, warmup_target=0.1, warmup_steps=50)),
    ("CosineDecay", dict(initial_learning_rate=0.3, decay_steps=99, alpha=0.01, warmup_target=0.1, warmup_steps=50)),
    ("CosineDecay", dict(initial_learning_rate=0.3, decay_steps=99, warmup_target=0.1)),
    ("CosineDecayRestarts", dict(initial_learning_rate=0.1, first_decay_steps=17)),
    ("CosineDecayRestarts", dict(initial_learning_rate=0.1, first_decay_steps=40, t_mul=1.0, m_mul=0.9, alpha=0.05)),
    ("CosineDecayRestarts", dict(initial_learning_rate=0.1, first_decay_steps=10, t_mul=1.5, m_mul=0.8)),
    ("CosineDecayRestarts", dict(initial_learning_rate=0.1, first_decay_steps=33, t_mul=1.1, alpha=0.2)),
]


@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=lambda value: str(value)[:60])
def test_every_schedule(name, kwargs):
    check(name, kwargs)


rates, counts = st.floats(0.01, 1.0), st.integers(1, 400)
DRAWN = {
    "ExponentialDecay": dict(
        initial_learning_rate=rates, decay_steps=counts, decay_rate=rates, staircase=st.booleans()
    ),
    "InverseTimeDecay": dict(
        initial_learning_rate=rates, decay_steps=counts, decay_rate=rates, staircase=st.booleans()
    ),
    "PolynomialDecay": dict(
        initial_learning_rate=rates,
        decay_steps=counts,
        end_learning_rate=st.floats(0.001, 0.1),
        power=st.floats(0.2, 3.0),
        cycle=st.booleans(),
    ),
    "CosineDecay": dict(
        initial_learning_rate=rates,
        decay_steps=counts,
        alpha=st.floats(0.01, 1.0),
        warmup_target=st.one_of(st.none(), rates),
        warmup_steps=st.integers(0, 100),
    ),
    "CosineDecayRestarts": dict(
        initial_learning_rate=rates, first_decay_steps=counts, t_mul=st.just(1.0), m_mul=rates, alpha=rates
    ),
}


@settings(max_examples=40, deadline=None)
@given(
    case=st.sampled_from(list(DRAWN)).flatmap(lambda name: st.tuples(st.just(name), st.fixed_dictionaries(DRAWN[name])))
)
def test_every_schedule_drawn(case):
    check(*case)


def test_every_class_of_keras_is_here_with_its_keywords():
    names = {n for n in dir(theirs) if inspect.isclass(getattr(theirs, n))} - {"LearningRateSchedule"}
    assert len(names) == 6
    for name in names:
        mine = inspect.signature(getattr(ours, name)).parameters
        for key, parameter in inspect.signature(getattr(theirs, name)).parameters.items():
            assert mine[key].default == parameter.default, (name, key)
        assert list(mine) == list(inspect.signature(getattr(theirs, name)).parameters)


def test_a_saved_configuration_reads():
    config = theirs.CosineDecay(0.1, 100, alpha=0.1).get_config()
    assert ours.CosineDecay(**config) == ours.CosineDecay(0.1, 100, alpha=0.1)
