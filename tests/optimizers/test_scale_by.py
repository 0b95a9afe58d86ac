"""The direction of an optimizer, with weight decay and learning rate as pieces around it, is the optimizer."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js
from jaxsched.optimizers.internal import definition_of

PARAMS = {"kernel": jnp.array([[-1.0, 1.0], [0.5, 2.0]]), "other": jnp.array([[0.3, -0.2], [0.1, 0.7]])}
LR, DECAY = js.cosine(0.1, 6), 0.05
RULES = [("kernel", "first"), ("**", "rest")]
COUPLED, DECOUPLED = "coupled", "decoupled"
# (optimizer, its arguments, where weight decay stands)
SEPARABLE = [
    ("adadelta", dict(eps=1e-2), COUPLED),
    ("adagrad", dict(lr_decay=0.1, initial_accumulator_value=0.1), COUPLED),
    ("adam", dict(amsgrad=True), COUPLED),
    ("adamax", {}, COUPLED),
    ("adamw", dict(betas=(js.linear(0.8, 0.9, 5), 0.99)), DECOUPLED),
    ("lion", {}, DECOUPLED),
    ("muon", dict(ns_dtype="float64", ns_steps=2), DECOUPLED),
    ("nadam", {}, COUPLED),
    ("radam", dict(betas=(0.9, 0.8)), COUPLED),
    ("rmsprop", dict(momentum=0.9, centered=True), COUPLED),
    ("sgd", dict(momentum=js.linear(0.8, 0.9, 5), nesterov=True), COUPLED),
    ("sgd", dict(momentum=0.9, form="average", bias_correction=True), COUPLED),
    ("sparse_adam", {}, None),
]
INSEPARABLE = ["adafactor", "asgd", "lamb", "lars", "musgd", "rprop"]


def follow(tx, params, steps=4):
    def step(carry, number):
        params, state = carry
        gradients = jax.tree.map(lambda p: 0.1 * p + 0.05 * (number + 1), params)
        updates, state = tx.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(steps))[0]


def test_every_optimizer_is_here():
    separable = {name for name, _, _ in SEPARABLE}
    assert separable | set(INSEPARABLE) == {n for n in dir(js.optimizers) if definition_of(getattr(js.optimizers, n))}


@pytest.mark.parametrize(("name", "arguments", "decay"), SEPARABLE)
def test_the_pieces_are_the_optimizer(name, arguments, decay):
    optimizer = getattr(js.optimizers, name)
    groups = {"first": dict(weight_decay=0.0, lr=0.5 * LR)} if decay else {"first": dict(lr=0.5 * LR)}
    whole = optimizer(LR, **arguments, **(dict(weight_decay=DECAY) if decay else {}), groups=groups, rules=RULES)
    direction = js.optimizers.scale_by(optimizer, **arguments, rules=RULES)
    of_decay = js.optimizers.grouped(
        optax.add_decayed_weights, weight_decay=DECAY, groups={"first": dict(weight_decay=0.0)}, rules=RULES
    )
    rate = js.optimizers.grouped(
        optax.scale_by_learning_rate, learning_rate=LR, groups={"first": dict(learning_rate=0.5 * LR)}, rules=RULES
    )
    pieces = {COUPLED: [of_decay, direction], DECOUPLED: [direction, of_decay], None: [direction]}[decay]
    start = jax.tree.map(lambda p: np.asarray(p, np.float64), PARAMS)
    with jax.enable_x64(True):
        both = jax.jit(lambda p: (follow(optax.chain(*pieces, rate), p)[0], follow(whole, p)[0]))
        mine, expected = jax.device_get(both(start))
    chex.assert_trees_all_close(mine, expected, rtol=1e-13, atol=1e-14)  # some 20 roundings of numbers up to 2
    assert all(np.abs(expected[key] - start[key]).max() > 1e-3 for key in start)


@pytest.mark.parametrize("name", INSEPARABLE)
def test_what_has_its_learning_rate_inside_is_refused(name):
    with pytest.raises(ValueError, match=rf"scale_by\({name}\): .*; use {name} as a whole"):
        js.optimizers.scale_by(getattr(js.optimizers, name))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: js.optimizers.scale_by(js.sgd, form="classic"), r"scale_by\(sgd\): the buffer of its classic form"),
        (
            lambda: js.optimizers.scale_by(js.sgd, lr=0.1),
            r"lr is not part of the direction; put optax.scale_by_learning",
        ),
        (
            lambda: js.optimizers.scale_by(js.adam, groups={"bias": dict(weight_decay=0.1)}),
            r"scale_by\(adam\): weight_decay is not part of the direction; put optax.add_decayed_weights",
        ),
        (
            lambda: js.optimizers.scale_by(js.adam, stacked=(1.0, 0.5)),
            r"stacked gives each layer a factor on lr.*adam as",
        ),
        (lambda: js.optimizers.scale_by(js.adam, beta=0.9), r"scale_by\(adam\): 'beta' is not known.*'betas'"),
        (lambda: js.optimizers.scale_by(js.adam, betas=(0.9, 1.0)), r"scale_by\(adam\): betas\[1\] must be in"),
        (lambda: js.optimizers.scale_by(js.sgd, nesterov=True), r"nesterov needs a momentum"),
        (lambda: js.optimizers.scale_by(js.lbfgs), r"scale_by: a function such as js.adamw"),
        (lambda: js.optimizers.scale_by(js.adam()), r"scale_by: a function such as js.adamw"),
        (lambda: js.optimizers.scale_by(optax.adam), r"scale_by: a function such as js.adamw"),
    ],
)
def test_errors(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_what_stands_between_acts_and_all_is_read():
    tx = optax.chain(
        js.optimizers.scale_by(
            js.adam, betas=(0.5, 0.5), groups={"bias": None}, rules=[("other", "bias"), ("**", "w")]
        ),
        optax.scale(3.0),
        js.optimizers.grouped(optax.scale_by_learning_rate, learning_rate=0.5, rules=[("**", "w")]),
    )
    updates, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["kernel"], -1.5 * np.sign(PARAMS["kernel"]), rtol=1e-5)
    assert not updates["other"].any()
    read = js.hyperparams(state)["w"]
    assert (float(read["learning_rate"]), float(read["betas"][0])) == (0.5, 0.5)
