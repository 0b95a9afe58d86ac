"""Where the documentation says that optax has the same, it has, and where it says what differs, that does."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js

LR = js.warmup(js.cosine(0.1, 60), 10)
NOISE = np.random.default_rng(0).normal(size=(64, 3, 4))
START = 0.1
SCALES = (1.0, 1e-8)


def follow(tx, scales):
    """The parameters after each step, for each scale; each gradient depends on the steps before."""

    @jax.jit
    def run(noise, scale):
        def step(carry, noise):
            params, state = carry
            updates, state = tx.update(scale * (noise + params), state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        start = jnp.full_like(noise[0], START)
        return jax.lax.scan(step, (start, tx.init(start)), noise)[1]

    return [np.asarray(run(NOISE, scale)) for scale in scales]


def distance(mine, theirs):
    """Of the distance travelled, the larger of two scales: at the smaller epsilon is most of a denominator."""
    with jax.enable_x64(True):
        pairs = zip(follow(mine, SCALES), follow(theirs, SCALES), strict=True)
    return max(np.abs(one - other).max() / np.abs(other - START).max() for one, other in pairs)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (js.sgd(LR, 0.9, nesterov=True), optax.sgd(LR, 0.9, nesterov=True)),
        (js.adam(LR), optax.adam(LR)),
        (js.adamw(LR), optax.adamw(LR, weight_decay=1e-2)),
        (js.adamax(LR), optax.adamax(LR)),
        (js.adadelta(LR), optax.adadelta(LR)),
        (js.rmsprop(LR, centered=True), optax.rmsprop(LR, decay=0.99, eps_in_sqrt=False, centered=True)),
        (js.nadam(LR, momentum_decay=1e9), optax.nadam(LR)),
    ],
)
def test_the_same(mine, theirs):
    assert distance(mine, theirs) < 1e-13


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (js.adam(LR, amsgrad=True), optax.amsgrad(LR)),
        (js.adagrad(LR), optax.adagrad(LR, initial_accumulator_value=0.0, eps=1e-10)),
        (js.rmsprop(LR, momentum=0.9), optax.rmsprop(LR, decay=0.99, eps_in_sqrt=False, momentum=0.9)),
        (js.nadam(LR), optax.nadam(LR)),
        (js.radam(LR, betas=(0.9, 0.9)), optax.radam(LR, b2=0.9)),
        (js.rprop(0.01), optax.rprop(0.01)),
    ],
)
def test_not_the_same(mine, theirs):
    assert distance(mine, theirs) > 1e-3
