"""The forms of momentum that torch has not, under a learning rate and a momentum that change."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js

STEPS = 64
TIME = np.arange(STEPS)
LR = np.where(TIME < 20, 0.1, np.where(TIME < 45, 0.03, 0.07)) * (1 - TIME / 100)
MOMENTUM = 0.95 - 0.35 * np.abs(np.sin(TIME / 10))
NOISE = np.random.default_rng(0).normal(size=(STEPS, 5))
DECAY = 0.05


def follow(tx):
    """The parameters after each step, from 0, in float64; each gradient depends on the steps before."""

    @jax.jit
    def run(noise):
        def step(carry, noise):
            params, state = carry
            updates, state = tx.update(noise + params, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        start = jnp.zeros_like(noise[0])
        return jax.lax.scan(step, (start, tx.init(start)), noise)[1]

    return np.asarray(run(jnp.asarray(NOISE)))


def ours(lr=LR, momentum=MOMENTUM, **kwargs):
    return js.sgd(lr=js.table(lr), momentum=js.table(momentum), **kwargs)


def by_hand(form, nesterov):
    p, buffer, seen = np.zeros(5), np.zeros(5), []
    for t, (noise, lr, momentum) in enumerate(zip(NOISE, LR, MOMENTUM, strict=True), start=1):
        g = noise + p + DECAY * p
        gain = lr if form == "classic" else 1 - momentum
        buffer = momentum * buffer + gain * g
        direction = gain * g + momentum * buffer if nesterov else buffer
        rate = {"classic": 1, "average": lr, "corrected": lr / (1 - momentum**t)}[form]
        p = p - rate * direction
        seen.append(p)
    return np.stack(seen)


def assert_same(mine, expected, tolerance=1e-12):
    """Off by no more than ``tolerance`` of the distance travelled."""
    assert np.abs(mine - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("form", ["classic", "average", "corrected"])
def test_by_the_equations(form, nesterov):
    kwargs = dict(form="average", bias_correction=True) if form == "corrected" else dict(form=form)
    with jax.enable_x64(True):
        assert_same(follow(ours(weight_decay=DECAY, nesterov=nesterov, **kwargs)), by_hand(form, nesterov))


@pytest.mark.parametrize("corrected", [False, True])
def test_the_average_is_that_of_optax(corrected):
    with jax.enable_x64(True):
        average = optax.inject_hyperparams(optax.ema, static_args=("debias", "accumulator_dtype"))
        theirs = optax.chain(
            average(decay=js.table(MOMENTUM), debias=corrected), optax.scale_by_learning_rate(js.table(LR))
        )
        mine = ours(form="average", bias_correction=corrected)
        assert_same(follow(mine), follow(theirs))


@pytest.mark.parametrize("nesterov", [False, True])
def test_when_the_forms_are_one_trajectory(nesterov):
    def run(lr=LR, momentum=MOMENTUM, form="torch"):
        return follow(ours(lr, momentum, nesterov=nesterov, form=form))

    constant_lr, constant_momentum = np.full(STEPS, 0.1), np.full(STEPS, 0.9)
    with jax.enable_x64(True):
        assert_same(run(lr=constant_lr, form="classic"), run(lr=constant_lr))
        assert_same(run(lr=10 * LR, momentum=constant_momentum, form="average"), run(momentum=constant_momentum))
        # and when not
        assert not np.allclose(run(momentum=constant_momentum, form="classic"), run(momentum=constant_momentum), 1e-2)
        assert not np.allclose(run(lr=10 * constant_lr, form="average"), run(lr=constant_lr), 1e-2)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(form="heavy"), "form must be one of 'torch', 'classic', 'average', got 'heavy'"),
        (dict(form="classic", momentum=0.9, dampening=0.1), "dampening needs form='torch'"),
        (dict(bias_correction=True), "bias_correction needs form='average'"),
    ],
)
def test_forms_that_contradict(kwargs, message):
    with pytest.raises(ValueError, match=message):
        js.sgd(**kwargs)


@pytest.mark.parametrize("nesterov", [False, True])
def test_decoupled_decay_is_not_in_the_buffer(nesterov):
    rate = 0.05
    mine = follow(js.sgd(lr=rate, momentum=0.9, nesterov=nesterov, weight_decay=DECAY, decoupled_weight_decay=True))
    pieces = [optax.trace(0.9, nesterov=nesterov), optax.add_decayed_weights(DECAY), optax.scale(-rate)]
    np.testing.assert_allclose(mine, follow(optax.chain(*pieces)), rtol=1e-4, atol=1e-5)
    coupled = follow(js.sgd(lr=rate, momentum=0.9, nesterov=nesterov, weight_decay=DECAY))
    assert np.abs(mine - coupled).max() > 1e-3
