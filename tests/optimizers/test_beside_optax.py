"""The table of docs/choose.md: which of torch's optimizers are optax's, with which arguments, and which are not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js

pytestmark = pytest.mark.slow  # two compilations a row

EQUAL = {
    "sgd": (js.sgd(lr=0.01, momentum=0.9, nesterov=True), optax.sgd(0.01, momentum=0.9, nesterov=True)),
    "sgd with decay": (
        js.sgd(lr=0.01, momentum=0.9, weight_decay=0.1),
        optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.01, momentum=0.9)),
    ),
    "adam": (js.adam(lr=0.01), optax.adam(0.01)),
    "adamw": (js.adamw(lr=0.01), optax.adamw(0.01, weight_decay=0.01)),
    "adamax": (js.adamax(lr=0.01), optax.adamax(0.01)),
    "radam": (js.radam(lr=0.01), optax.radam(0.01)),
    "rmsprop": (
        js.rmsprop(lr=0.01, centered=True, momentum=0.9),
        optax.rmsprop(0.01, decay=0.99, eps_in_sqrt=False, centered=True, momentum=0.9),
    ),
    "adagrad": (js.adagrad(lr=0.01), optax.adagrad(0.01, initial_accumulator_value=0.0, eps=1e-10)),
    "adadelta": (js.adadelta(lr=1.0), optax.adadelta(1.0, rho=0.9, eps=1e-6)),
    "adafactor": (
        js.adafactor(lr=0.01, relative_step=False),
        optax.adafactor(0.01, min_dim_size_to_factor=1, decay_rate=0.8),
    ),
    "lion": (js.lion(lr=0.01, weight_decay=0.01), optax.lion(0.01, weight_decay=0.01)),
    "lamb": (js.lamb(lr=0.01, weight_decay=0.01, max_grad_norm=None), optax.lamb(0.01, weight_decay=0.01)),
}
DIFFERENT = {
    "adagrad": (js.adagrad(lr=0.01), optax.adagrad(0.01)),
    "amsgrad": (js.adam(lr=0.01, amsgrad=True), optax.amsgrad(0.01)),
    "nadam": (js.nadam(lr=0.01), optax.nadam(0.01)),
    "rprop": (js.rprop(lr=0.01), optax.rprop(0.01)),
    "lamb": (js.lamb(lr=0.01, weight_decay=0.01), optax.lamb(0.01, weight_decay=0.01)),
}


def trained(tx):
    """How far a matrix moves in some steps along given gradients, all far from 0."""
    draw = np.random.default_rng(0)
    start = jnp.asarray(draw.normal(size=(4, 6)), jnp.float32)
    params, state, update = {"w": start}, tx.init({"w": start}), jax.jit(tx.update)
    for _ in range(6):
        gradient = draw.choice([-1.0, 1.0], (4, 6)) * draw.uniform(0.5, 2.0, (4, 6))
        updates, state = update({"w": jnp.asarray(gradient, jnp.float32)}, state, params)
        params = optax.apply_updates(params, updates)
    return np.asarray(params["w"] - start)


@pytest.mark.parametrize("name", EQUAL)
def test_what_the_table_calls_equal(name):
    ours, theirs = map(trained, EQUAL[name])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * np.abs(ours).max())  # some 100 roundings of float32


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_the_table_calls_different(name):
    ours, theirs = map(trained, DIFFERENT[name])
    assert np.abs(ours - theirs).max() > 1e-3 * np.abs(ours).max()
