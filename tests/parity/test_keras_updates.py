"""Keras' updates, live in float64: momentum with the learning rate inside, both changing at each step, and Adam."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js

keras = pytest.importorskip("keras")

STEPS = 64
TIME = np.arange(STEPS)
LR = np.where(TIME < 20, 0.1, np.where(TIME < 45, 0.03, 0.07)) * (1 - TIME / 100)
MOMENTUM = 0.95 - 0.35 * np.abs(np.sin(TIME / 10))
NOISE = np.random.default_rng(0).normal(size=(STEPS, 5))


@pytest.fixture(autouse=True, scope="module")
def in_float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def follow_theirs(nesterov, decay=None):
    variable = keras.Variable(np.zeros(5), dtype="float64")
    optimizer = keras.optimizers.SGD(float(LR[0]), float(MOMENTUM[0]), nesterov, decay)
    seen = []
    for noise, lr, momentum in zip(NOISE, LR, MOMENTUM, strict=True):
        optimizer.learning_rate, optimizer.momentum = float(lr), float(momentum)
        gradient = keras.ops.convert_to_tensor(noise) + variable.value
        optimizer.apply([gradient], [variable])
        seen.append(keras.ops.convert_to_numpy(variable.value).copy())
    assert seen[0].dtype == np.float64
    return np.stack(seen)


def classic(nesterov, **decay):
    return js.sgd(lr=js.table(LR), momentum=js.table(MOMENTUM), nesterov=nesterov, form="classic", **decay)


def follow_ours(tx, start=0.0):
    @jax.jit
    def run(noise):
        def step(carry, noise):
            params, state = carry
            updates, state = tx.update(noise + params, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        params = jnp.full_like(noise[0], start)
        return jax.lax.scan(step, (params, tx.init(params)), noise)[1]

    with jax.enable_x64(True):
        return np.asarray(run(jnp.asarray(NOISE)))


@pytest.mark.parametrize("nesterov", [False, True])
def test_classic_momentum(nesterov):
    expected = follow_theirs(nesterov)
    worst = np.abs(follow_ours(classic(nesterov)) - expected).max() / np.abs(expected).max()
    assert worst < 1e-12, f"off by {worst:.1e} of the distance travelled"


def test_weight_decay_is_decoupled_there():
    config = dict(class_name="SGD", config=dict(learning_rate=0.1, momentum=0.9, weight_decay=0.05))
    values = js.ports.keras.recipe(config).by_group()["all"]
    decay = {name: values[name] for name in ("weight_decay", "decoupled_weight_decay")}
    expected = follow_theirs(False, decay=0.05)
    worst = np.abs(follow_ours(classic(False, **decay)) - expected).max() / np.abs(expected).max()
    assert worst < 1e-7, f"off by {worst:.1e} of the distance travelled"  # Keras keeps its lr in float32


@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.Adam(0.05, beta_2=0.99, epsilon=0.1),
        keras.optimizers.Adam(0.05, epsilon=0.1, gradient_accumulation_steps=2),
        keras.optimizers.AdamW(0.05, weight_decay=0.5, epsilon=0.1),
    ],
    ids=["Adam", "Adam of two batches", "AdamW"],
)
def test_adam_adds_epsilon_before_the_bias_correction(optimizer):
    recipe = js.ports.keras.recipe(keras.optimizers.serialize(optimizer), steps=STEPS)
    variable, expected = keras.Variable(np.ones(5), dtype="float64"), []
    for noise in NOISE:
        optimizer.apply([keras.ops.convert_to_tensor(noise) + variable.value], [variable])
        expected.append(keras.ops.convert_to_numpy(variable.value).copy())
    # the schedule of epsilon has float32's precision of its logarithm
    worst = np.abs(follow_ours(recipe.build(), 1.0) - np.stack(expected)).max()
    assert worst < 1e-6, f"off by {worst:.1e}"
