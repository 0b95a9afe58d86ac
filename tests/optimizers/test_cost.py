"""Groups and schedules are free: evaluated together, traced once for each shape, no kernels beyond the bare ones."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js
from jaxsched.checks._numbers import Number
from jaxsched.schedules import schedule

CALLS = []


@schedule
def counted(step, peak: Number):
    CALLS.append(step)
    return peak * (step + 1.0)


def many(n):
    params = {f"layer{i}": jnp.ones((4, 3)) for i in range(n)}
    rules = [(f"layer{i}", f"{i}") for i in range(n)]
    return params, rules


def test_schedules_of_one_kind_are_evaluated_once_for_all_groups():
    params, rules = many(60)
    tx = js.sgd(rules=rules, groups={f"{i}": dict(lr=counted(0.01 * i)) for i in range(60)})
    state = jax.eval_shape(tx.init, params)
    CALLS.clear()
    jax.jit(tx.update).trace(params, state, params)
    assert len(CALLS) == 1


def test_each_group_gets_its_own_of_whatever_kinds():
    lr = js.cosine(0.5, 10)
    kinds = [
        0.25,
        lr,
        0.5 * lr,
        2 * lr,
        js.multi_step(0.3, at=(1, 2)),
        js.multi_step(0.4, at=(2, 3)),
        js.multi_step(0.4, at=(2, 3, 4)),
        js.table([0.1, 0.2, 0.3]),
        js.table([0.1, 0.2]),
        js.cosine(0.5, 10.5),
        js.cosine(0.25, 9),
        optax.linear_schedule(1.0, 0.0, 4),
        jnp.float32(0.125),
        np.float64(0.75),
        lr,
    ]
    params, rules = many(len(kinds))
    tx = js.adam(rules=rules, groups={f"{i}": dict(lr=kind) for i, kind in enumerate(kinds)})
    state = tx.init(params)
    for step in range(4):
        _, state = jax.jit(tx.update)(params, state, params)
        read = js.hyperparams(state)
        for i, kind in enumerate(kinds):
            expected = float(kind(step)) if callable(kind) else float(kind)
            np.testing.assert_allclose(read[f"{i}"]["lr"], expected, rtol=5e-7, err_msg=repr(kind))
    assert {float(group["betas"][1]) for group in read.values()} == {float(np.float32(0.999))}


def test_the_equation_is_traced_once_for_each_shape_and_the_options_of_its_group():
    params, rules = many(30)
    groups = {f"{i}": dict(lr=0.01 * i, weight_decay=0.0 if i % 2 else 0.1) for i in range(30)}
    tx = js.adamw(rules=rules, groups=groups)
    jaxpr = jax.make_jaxpr(tx.update)(params, tx.init(params), params)
    bodies = {id(e.params["jaxpr"]) for e in jaxpr.eqns if e.params.get("name") == "update_array"}
    assert len(bodies) == 2  # with weight decay and without


def test_as_many_kernels_over_arrays_as_the_bare_update_and_every_buffer_reused():
    params = {f"conv{i}": {"kernel": jnp.ones((32, 48)), "bias": jnp.ones(512)} for i in range(4)}
    lr = js.warmup(js.cosine(0.1, 1000), 100)
    tx = js.sgd(lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4, groups={"bias": dict(lr=2 * lr, weight_decay=0)})

    def bare(params, state, gradients):
        count, buffers = state
        rate = lr(count)

        def one(path, p, b, g):
            is_bias = path[-1].key == "bias"
            g = g if is_bias else g + 5e-4 * p
            b = 0.9 * b + g
            return p - (2 * rate if is_bias else rate) * (g + 0.9 * b), b

        both = jax.tree.map_with_path(one, params, buffers, gradients)
        is_pair = lambda x: isinstance(x, tuple)  # noqa: E731
        first, second = (jax.tree.map(lambda x, i=i: x[i], both, is_leaf=is_pair) for i in (0, 1))
        return first, (count + 1, second)

    def ours(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    def compiled(step, state):
        return jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile()

    def kernels(program):
        entry = program.as_text().split("ENTRY", 1)[1]
        return len(re.findall(r"f32\[(?:32,48|512)\].*? (?:fusion|copy|custom-call)\(", entry))

    mine = compiled(ours, tx.init(params))
    theirs = compiled(bare, (jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params)))
    assert kernels(mine) == kernels(theirs) > 0
    arrays = sum(leaf.size * 4 for leaf in jax.tree.leaves(params))
    assert mine.memory_analysis().alias_size_in_bytes >= 2 * arrays  # parameters and momentum, in place


def test_norms_of_many_small_arrays_are_summed_as_one():
    small = {f"layer{i}": {"bias": jnp.full(16, float(i))} for i in range(40)}
    program = jax.jit(js.group_norms).lower(small).compile().as_text()
    assert len(re.findall(r"\breduce\(", program)) < 10
    expected = np.sqrt(16 * sum(i * i for i in range(40)))
    np.testing.assert_allclose(js.group_norms(small)["bias"]["param_norm"], expected, rtol=1e-6)


def test_norms_of_large_small_half_complex_and_empty_arrays():
    random = np.random.default_rng(0)
    kernels = {
        "a": random.normal(size=(128, 64)),
        "b": random.normal(size=(3, 5)).astype(np.float16),
        "c": random.normal(size=(7, 2)) + 1j * random.normal(size=(7, 2)),
        "d": np.zeros((0, 3)),
    }
    params = {name: {"kernel": jnp.asarray(kernel)} for name, kernel in kernels.items()}
    norms = js.group_norms(params)["weight"]["param_norm"]
    expected = np.sqrt(sum(np.sum(np.abs(kernel.astype(np.complex128)) ** 2) for kernel in kernels.values()))
    assert norms.dtype == jnp.float32
    np.testing.assert_allclose(norms, expected, rtol=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_donated_state_is_changed_in_place(nesterov):
    """What two kernels read, and one of them writes, would be copied first."""
    params = {"kernel": jnp.ones((30, 20)), "bias": jnp.ones(500)}
    sgd = js.sgd(lr=js.cosine(0.1, 9), momentum=js.linear(0.8, 0.9, 9), nesterov=nesterov, weight_decay=0.1)
    tx = optax.chain(sgd, js.ema(js.transforms.ratio_ramp(0.999)))

    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    program = jax.jit(step, donate_argnums=(0, 1)).lower(params, tx.init(params), params).compile().as_text()
    assert "f32[30,20]{1,0} parameter" in program
    assert not re.findall(r"= f32\[(?:30,20|500)\]\S* copy\(", program)


@pytest.mark.parametrize(
    ("optimizer", "groups"), [(js.lion, {}), (js.adamw, {"bias": dict(lr=js.cosine(0.2, 1000))})], ids=["lion", "adamw"]
)
def test_a_schedule_is_computed_once_and_not_for_each_array(optimizer, groups):
    """XLA repeats cheap operations in each kernel: 200 arrays had 400 sines, and compiled 2.5 times as long."""
    params = {f"layer{i}": {"kernel": jnp.ones(8 + i), "bias": jnp.ones(30 + i)} for i in range(4)}
    tx = optimizer(lr=js.cosine(0.1, 1000), groups=groups)
    program = jax.jit(tx.update).lower(params, tx.init(params), params).compile().as_text()
    assert 0 < len(re.findall(r" sine\(", program)) <= 6
