"""After a reset a group goes on as under a fresh optimizer, at the step of the schedules; the others as before."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxsched as js
from jaxsched.optimizers.internal import definition_of

PARAMS = {"kernel": jnp.array([[-1.0, 1.0], [0.5, 2.0]]), "other": jnp.array([[0.3, -0.2], [0.1, 0.7]])}
RULES = [("kernel", "first"), ("**", "rest")]
LR = js.linear(0.1, 0.0, 10)
AT, STEPS = 2, 4
NAMES = [name for name in dir(js.optimizers) if definition_of(getattr(js.optimizers, name))]
ARGUMENTS = {
    "lars": dict(momentum=0.9, eta=1.0),
    "muon": dict(ns_dtype="float32", ns_steps=1),
    "musgd": dict(momentum=0.9, use_muon=True, ns_dtype="float32"),
    "radam": dict(betas=(0.9, 0.5)),
    "rmsprop": dict(momentum=0.9, centered=True),
    "sgd": dict(momentum=0.9, dampening=0.5),
}
MADE = {
    **{name: functools.partial(getattr(js.optimizers, name), LR, **ARGUMENTS.get(name, {})) for name in NAMES},
    "optax.adan": functools.partial(js.optimizers.grouped, optax.adan, learning_rate=LR),
    "flattened": lambda **rules: js.flatten_groups(js.adam(LR, **rules), RULES),
    "accumulated": lambda **rules: js.accumulate(optax.chain(js.clip_norm(9.0), js.nadam(LR, **rules)), 1),
}


def advance(tx, params, state, steps, **extra):
    def step(carry, at):
        (params, state), (number, push) = carry, at
        gradients = jax.tree.map(lambda p: 0.1 * p + push, params)
        updates, state = tx.update(gradients, state, params, **{name: value + number for name, value in extra.items()})
        return (optax.apply_updates(params, updates), state), None

    numbers = np.array(steps)
    return jax.lax.scan(step, (params, state), (numbers, np.float32(0.05 * (-1.5) ** numbers)))[0]


@pytest.mark.parametrize("name", MADE)
def test_it_is_a_fresh_optimizer_for_its_group_alone(name):
    tx = MADE[name](rules=RULES)

    @jax.jit
    def run(params):
        there, state = advance(tx, params, tx.init(params), range(AT))
        again, after = advance(tx, there, js.optimizers.reset(state, "first"), range(AT, STEPS))
        if name == "accumulated":  # whose clock takes no step; at its count
            fresh, _ = advance(tx, there, optax.tree.set(tx.init(there), count=state.count), range(AT, STEPS))
        else:
            fresh, _ = advance(tx, there, tx.init(there), range(AT, STEPS), step=0)
        straight, _ = advance(tx, there, state, range(AT, STEPS))
        return again, fresh, straight, after

    again, fresh, straight, state = run(PARAMS)
    # A value near 0 is a difference of values up to 2, each rounded to 2**-24 of itself.
    np.testing.assert_allclose(again["kernel"], fresh["kernel"], rtol=1e-6, atol=2**-23)
    np.testing.assert_allclose(again["other"], straight["other"], rtol=1e-6, atol=2**-23)
    if name != "lion":  # whose steps are signs, here the same ones
        assert np.abs(again["kernel"] - straight["kernel"]).max() > 1e-5
    counts = [value for _, value in optax.tree_utils.tree_get_all_with_path(state, "count")]
    assert STEPS in map(int, counts)


def test_a_second_reset_and_a_changed_optimizer_keep_the_first():
    tx = js.adam(LR, rules=RULES)
    params, state = advance(tx, PARAMS, tx.init(PARAMS), range(2))
    params, state = advance(tx, params, js.optimizers.reset(state, "first"), range(2, 3))
    assert state.bias_offset.tolist() == [-2, 0]
    state = js.optimizers.reset(state, ["rest"])
    assert state.bias_offset.tolist() == [-2, -3]
    assert js.optimizers.reset(state).bias_offset.tolist() == [-3, -3]
    swapped = js.adam(LR, rules=[("kernel", "z"), ("**", "rest")])
    with pytest.raises(ValueError, match=r"carry_over: the groups 'z' are new.* differ in bias_offset"):
        js.carry_over(state, swapped.init(PARAMS))
    kept = js.carry_over(state, tx.init(PARAMS))
    chex.assert_trees_all_equal(advance(tx, params, kept, [3])[0], advance(tx, params, state, [3])[0])


@pytest.mark.parametrize("name", ["adam", "optax.adan"])
def test_a_reset_where_the_count_is_saturated_happens_once(name):
    tx = MADE[name](rules=RULES)
    last = optax.tree.set(tx.init(PARAMS), count=jnp.int32(2**31 - 1))
    again, state = advance(tx, PARAMS, js.optimizers.reset(last, "first"), range(3), step=0)
    fresh, _ = advance(tx, PARAMS, tx.init(PARAMS), range(3), step=0)
    np.testing.assert_allclose(again["kernel"], fresh["kernel"], rtol=1e-6)
    assert (int(state.count), state.bias_offset.tolist()) == (2**31 - 1, [3 - (2**31 - 1), 0])


def test_lbfgs_forgets_its_pairs():
    tx = js.lbfgs(max_iter=2, history_size=3)

    def value_fn(p):
        return jnp.sum(jnp.arange(1.0, 4.0) * (p - 1) ** 4)

    def step(params, state):
        value, grad = jax.value_and_grad(value_fn)(params)
        updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=value_fn)
        return params + updates, state

    params, state = step(jnp.zeros(3), tx.init(jnp.zeros(3)))
    expected, fresh = step(params, tx.init(params))
    found, after = step(params, js.optimizers.reset(state))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (int(after.count), int(after.slots["iterations"])) == (2, int(fresh.slots["iterations"]))


def test_an_nnx_optimizer_is_reset_in_place():
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, js.adam(0.1), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        gradients = nnx.grad(lambda m: m.kernel[...].sum() + m.bias[...].sum())(model)
        optimizer.update(model, gradients)

    step(model, optimizer)
    js.optimizers.reset(optimizer.opt_state, "bias")
    step(model, optimizer)
    moments = optimizer.opt_state.slots["exp_avg"]
    np.testing.assert_allclose(moments["bias"][...], 0.1, rtol=1e-6)
    np.testing.assert_allclose(moments["kernel"][...], 0.19, rtol=1e-6)


def test_a_frozen_group_and_overrides_stay():
    tx = js.adam(LR, rules=RULES, groups={"first": None})
    state = js.optimizers.override(tx.init(PARAMS), lr=0.5)
    updates, state = tx.update(PARAMS, js.optimizers.reset(state), PARAMS)
    assert not updates["kernel"].any()
    assert float(js.hyperparams(state)["rest"]["lr"]) == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda state: js.optimizers.reset(state, "bia"), r"reset: there is no group 'bia'.*did you mean 'bias'"),
        (lambda state: js.optimizers.reset({}), r"reset: there is no optimizer state of jaxsched in dict"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(js.adam().init(PARAMS))
