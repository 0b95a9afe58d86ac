"""flatten_groups: the run is that of the arrays by themselves, in few vectors."""

import os
import pickle
import re
import subprocess
import sys

import chex
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import jaxsched as js
from jaxsched.optimizers.internal import definition_of

ELEMENTWISE = {
    "adadelta": dict(lr=0.5, weight_decay=0.01),
    "adagrad": dict(lr=0.1, lr_decay=0.01, initial_accumulator_value=0.1),
    "adam": dict(lr=0.01, amsgrad=True),
    "adamax": dict(lr=0.01),
    "adamw": dict(lr=js.cosine(0.1, 10)),
    "asgd": dict(lr=0.01),
    "lion": dict(lr=0.01, weight_decay=0.1),
    "nadam": dict(lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": dict(lr=0.01),
    "rmsprop": dict(lr=0.01, centered=True, momentum=0.9),
    "rprop": dict(lr=0.01),
    "sgd": dict(lr=js.warmup(js.cosine(0.1, 10), 3), momentum=0.9, nesterov=True, weight_decay=0.1),
}
ULPS = 1e-6
"""Eight roundings of float32, or one of the numbers about 1 whose difference is left."""
WHOLE_ARRAYS = ("adafactor", "lamb", "lars", "muon", "musgd", "sparse_adam")


def tree(seed=0, dtype=np.float32):
    random = np.random.default_rng(seed)

    def array(*shape):
        return jnp.asarray(random.normal(size=shape), dtype)

    return {
        "stem": {"kernel": array(3, 3, 2, 4), "bias": array(4)},
        "bn": {"scale": array(4), "bias": array(4)},
        "head": [{"kernel": array(4, 5)}, {"kernel": array(5, 1), "bias": array(1)}],
        "temperature": array(),
        "nothing": array(0, 3),
    }


def ran(tx, params, steps=6):
    """After some steps: parameters and state."""

    @jax.jit
    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for i in range(steps):
        params, state = step(params, state, jax.tree.map(lambda g: g.astype(jnp.float32), tree(i + 1)))
    return params, state


SAME = 0.0 if jax.__version_info__ >= (0, 8) else 2.0**-20
"""The XLA of older ones fuses a product and a sum in one program and not in the other: some ulp after six steps."""


def assert_same(flattened, plain, rtol=SAME):
    """Bit for bit, but where a norm is summed in another order, or another program rounds a product before its sum."""
    chex.assert_trees_all_equal_structs(flattened, plain)
    chex.assert_trees_all_close(flattened, plain, rtol=rtol, atol=rtol / 8)


def test_every_optimizer_of_a_recipe_is_in_one_of_the_lists():
    assert {name for name, maker in vars(js.optimizers).items() if definition_of(maker)} == {
        *ELEMENTWISE,
        *WHOLE_ARRAYS,
    }


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_run_and_its_state_are_those_of_the_arrays_by_themselves(name):
    tx = getattr(js.optimizers, name)(**ELEMENTWISE[name], groups={"bias": dict(lr=0.05), "norm": dict(lr=0.02)})
    flattened, plain = ran(js.flatten_groups(tx), tree()), ran(tx, tree())
    assert_same(js.transforms.unflatten_groups(flattened), plain)
    assert js.hyperparams(flattened[1]).keys() == {"bias", "norm", "weight"}


@pytest.mark.parametrize("name", [*WHOLE_ARRAYS, "lbfgs"])
def test_what_looks_at_whole_arrays_says_so(name):
    rules = {} if name == "lbfgs" else {"rules": [("**", "all")]}
    with pytest.raises(ValueError, match=f"{name}: .*flatten"):
        js.flatten_groups(getattr(js.optimizers, name)(**rules), **rules).init({"kernel": jnp.ones((2, 2))})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_every_dtype(dtype):
    params = {"a": {"kernel": jnp.arange(6.0).reshape(2, 3).astype(dtype)}, "b": {"kernel": jnp.ones(4)}}
    tx = js.sgd(lr=0.1, momentum=0.9)

    def run(tx):
        state, now = tx.init(params), params
        for _ in range(3):
            updates, state = jax.jit(tx.update)(now, state, now)
            now = optax.apply_updates(now, updates)
        return now, state

    flattened, plain = run(js.flatten_groups(tx)), run(tx)
    chex.assert_trees_all_equal_dtypes(js.transforms.unflatten_groups(flattened), plain)
    # XLA rounds between a product and a sum in some kernels and not in others
    assert_same(js.transforms.unflatten_groups(flattened), plain, ULPS)
    names = {"weight"} if dtype == "float32" else {f"weight/{dtype}", "weight/float32"}
    assert set(flattened[1].slots["momentum"].layout.names) == names


RULES = (js.groups.Rule("stem/**", "frozen"), js.groups.Rule("head/**", "head"), *js.groups.BY_ROLE)
RECIPE = js.Recipe(
    "adamw",
    dict(lr=js.cosine(0.1, 40)),
    groups={"head": dict(lr=js.cosine(0.2, 40)), "frozen": None, "bias": dict(weight_decay=0.0)},
    rules=RULES,
    clip_norm=1.0,
    clip_value=2.0,
    accumulate=js.Accumulation(js.piecewise([1, 3], at=[4]), mean=True),
    ema=js.schedules.exponential_ramp(0.99, 10.0),
)


def test_a_whole_recipe():
    flattened, plain = ran(RECIPE.build(flatten=True), tree(), 12), ran(RECIPE.build(), tree(), 12)
    assert_same(js.transforms.unflatten_groups(flattened), plain, ULPS)
    assert_same(js.ema_params(flattened[1]), js.ema_params(plain[1]), ULPS)
    assert_same(js.hyperparams(flattened[1]), js.hyperparams(plain[1]))
    assert bool(js.did_update(flattened[1])) == bool(js.did_update(plain[1]))
    chex.assert_trees_all_equal(flattened[0]["stem"], tree()["stem"])
    stats = {"mean": jnp.ones(3)}, {"mean": jnp.full(3, 2.0)}
    chex.assert_trees_all_equal(js.ema_update(flattened[1], *stats), js.ema_update(plain[1], *stats))
    assert max(leaf.ndim for leaf in jax.tree.leaves(flattened[1])) == 1
    assert len(jax.tree.leaves(flattened[1])) < len(jax.tree.leaves(plain[1]))


def test_around_an_accumulation_too():
    inner = RECIPE.replace(accumulate=None, rules=js.groups.BY_ROLE, groups={}).build()
    tx = js.accumulate(inner, 3)
    assert_same(js.transforms.unflatten_groups(ran(js.flatten_groups(tx), tree())), ran(tx, tree()), ULPS)
    inside = ran(js.accumulate(js.flatten_groups(inner), 3), tree())
    assert isinstance(inside[1].gradients, js.transforms.FlatGroups)
    assert_same(js.transforms.unflatten_groups(inside), ran(tx, tree()), ULPS)


def test_while_batches_gather_the_parameters_are_not_flattened():
    tx = RECIPE.replace(ema=None).build(flatten=True)
    params = tree()
    jaxpr = jax.make_jaxpr(tx.update)(params, tx.init(params), params)
    concatenations = [e for e in jaxpr.eqns if e.primitive.name == "concatenate"]
    assert len(concatenations) == len(tx.init(params).gradients.vectors)  # the gradients


def test_the_average_of_asgd_is_a_tree():
    _, state = ran(js.flatten_groups(js.asgd(lr=0.01)), tree())
    chex.assert_trees_all_equal_structs(js.ema_params(state), tree())


@pytest.mark.parametrize("flatten", [False, True])
def test_a_run_goes_on_in_the_other_form(flatten):
    first, second = RECIPE.build(flatten=flatten), RECIPE.build(flatten=not flatten)
    params, state = ran(first, tree(), 9)  # two batches wait, and the next makes an update
    carried = js.carry_over(state, second.init(params))
    chex.assert_trees_all_equal_structs(carried, second.init(params))
    gradients = tree(99)
    there, here = (tx.update(gradients, own, params) for tx, own in ((second, carried), (first, state)))
    assert bool(js.did_update(here[1]))
    assert_same(js.transforms.unflatten_groups(there), js.transforms.unflatten_groups(here))


def test_a_torch_run_goes_on_in_vectors():
    params = {"fc": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}}
    buffers = np.arange(6.0).reshape(2, 3), np.arange(2.0)
    theirs = {
        "state": {i: {"momentum_buffer": buffer} for i, buffer in enumerate(buffers)},
        "param_groups": [{"params": [0, 1]}],
    }
    places = {0: js.ports.torch.linear("fc/kernel"), 1: "fc/bias"}
    tx = js.sgd(momentum=0.9)
    flattened, plain = (
        js.ports.torch.load_state(own.init(params), theirs, places) for own in (js.flatten_groups(tx), tx)
    )
    assert isinstance(flattened.slots["momentum"], js.transforms.FlatGroups)
    assert_same(js.transforms.unflatten_groups(flattened), plain)
    np.testing.assert_array_equal(plain.slots["momentum"]["fc"]["kernel"], buffers[0].T)


def test_orbax_writes_and_reads_it(tmp_path):
    _, state = ran(js.flatten_groups(js.adam()), tree())
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        chex.assert_trees_all_equal(checkpointer.restore(tmp_path / "state", state), state)


def test_a_run_goes_on_with_other_groups():
    old, new = (js.flatten_groups(js.adam(rules=r), rules=r) for r in ([("**", "all")], list(js.groups.BY_ROLE)))
    params, state = ran(old, tree())
    with pytest.raises(
        ValueError,
        match=r"flatten_groups: the state has other .*; it has FlatGroups\(all.*carry_over",
    ):
        new.update(params, state, params)
    carried = js.carry_over(state, new.init(params))
    assert_same(new.update(tree(9), carried, params)[0], old.update(tree(9), state, params)[0])


@pytest.mark.parametrize("around", [lambda tx: tx, lambda tx: js.accumulate(tx, 2)])
def test_a_state_in_the_other_form_is_named(around):
    plain = js.sgd(lr=0.1, momentum=0.9)
    flattened, plain = around(js.flatten_groups(plain)), around(plain)
    with pytest.raises(ValueError, match=r"flatten_groups: the state .* it has an array for each .*carry_over"):
        flattened.update(tree(), plain.init(tree()), tree())
    with pytest.raises(ValueError, match=r"FlatGroups\(.*unflatten_groups"):
        plain.update(tree(), flattened.init(tree()), tree())


def test_rules_that_differ_are_an_error():
    with pytest.raises(ValueError, match="Give flatten_groups the rules of the optimizer"):
        js.flatten_groups(js.sgd(), rules=[("**", "all")]).init(tree())
    needs_bias = js.flatten_groups(js.sgd(groups={"bias": dict(lr=1.0)}))
    with pytest.raises(ValueError, match="'bias'"):
        needs_bias.init({"kernel": jnp.ones(2)})


def test_arrays_of_another_shape_or_kind_are_named():
    params = {"conv": {"kernel": jnp.ones((2, 3))}}
    tx = js.flatten_groups(js.sgd())
    with pytest.raises(ValueError, match=r"'conv/kernel' is \(3, 2\), but the parameter is \(2, 3\)"):
        tx.update({"conv": {"kernel": jnp.ones((3, 2))}}, tx.init(params), params)
    with pytest.raises(TypeError, match="parameter 'conv/steps' is int32"):
        tx.init({"conv": {"kernel": jnp.ones(2), "steps": jnp.arange(3)}})


def test_integers_are_frozen_and_nothing_to_train_is_nothing():
    rules = [("steps", "frozen"), ("**", "all")]
    params = {"steps": jnp.arange(3), "kernel": jnp.ones(2)}
    gradients = jax.grad(lambda p: jnp.sum(p["kernel"] ** 2), allow_int=True)(params)
    tx = js.flatten_groups(js.adam(rules=rules, groups={"frozen": None}), rules)
    updates, _ = tx.update(gradients, tx.init(params), params)
    np.testing.assert_array_equal(updates["steps"], 0)
    assert updates["steps"].dtype == jnp.int32
    assert tx.update({}, tx.init({}), {})[0] == {}


def test_without_parameters_and_with_a_step():
    tx = js.flatten_groups(js.clip_norm(js.linear(1.0, 0.0, 10)))
    gradients = {"kernel": jnp.array([3.0, 4.0])}
    updates, _ = tx.update(gradients, tx.init(gradients), step=5)
    np.testing.assert_allclose(updates["kernel"], [0.3, 0.4], rtol=1e-5)
    with pytest.raises(ValueError, match="update needs the parameters"):
        js.flatten_groups(js.sgd()).update(gradients, js.flatten_groups(js.sgd()).init(gradients))


def test_a_sweep_is_a_vmap():
    def trained(lr):
        return ran(js.flatten_groups(js.adamw(lr=lr)), tree())

    rates = jnp.array([0.1, 0.01])
    params, state = jax.vmap(trained)(rates)
    moments = js.transforms.unflatten_groups(state).slots["exp_avg"]
    for i, rate in enumerate(rates):
        alone = trained(rate)
        own = jax.tree.map(lambda x, i=i: x[i], (params, moments))
        assert_same(own, (alone[0], js.transforms.unflatten_groups(alone[1]).slots["exp_avg"]), ULPS)


@pytest.mark.parametrize("around", [lambda tx: tx, lambda tx: js.accumulate(tx, 2)])
def test_in_an_nnx_optimizer(around):
    def trained(tx):
        model = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.Linear(4, 1, rngs=nnx.Rngs(1)))
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

        @nnx.jit
        def step(model, optimizer):
            optimizer.update(model, nnx.grad(lambda model: jnp.sum(model(jnp.ones((2, 3))) ** 2))(model))

        for _ in range(4):
            step(model, optimizer)
        return nnx.to_pure_dict(nnx.state(model, nnx.Param)), js.hyperparams(optimizer)

    tx = optax.chain(js.sgd(lr=0.1, momentum=0.9), js.ema(0.9))
    assert_same(trained(around(js.flatten_groups(tx))), trained(around(tx)), ULPS)


def test_in_a_linen_train_state():
    def trained(tx):
        state = TrainState.create(apply_fn=lambda: None, params=tree(), tx=tx)
        return jax.jit(lambda state, g: state.apply_gradients(grads=g))(state, tree(1)).params

    assert_same(trained(js.flatten_groups(js.adam())), trained(js.adam()))


def test_the_state_is_pickled():
    _, state = ran(js.flatten_groups(js.adam()), tree())
    chex.assert_trees_all_equal(pickle.loads(pickle.dumps(state)), state)


def test_its_vectors_are_changed_in_place_by_as_many_kernels_whatever_the_number_of_arrays():
    def program(n):
        params = {f"layer{i}": {"kernel": jnp.ones((16, 16)), "bias": jnp.ones(16)} for i in range(n)}
        tx = js.flatten_groups(js.sgd(lr=js.cosine(0.1, 9), momentum=0.9, weight_decay=0.1))
        compiled = jax.jit(tx.update, donate_argnums=1).lower(params, tx.init(params), params).compile()
        kept = sum(leaf.size * 4 for leaf in jax.tree.leaves(tx.init(params).slots))
        assert compiled.memory_analysis().alias_size_in_bytes >= kept
        entry = compiled.as_text().split("ENTRY", 1)[1]
        assert not re.findall(r"= f32\[\d{4,}\]\S* copy\(", entry)
        return len(re.findall(r"= f32\[\d{4,}\]\S* (?:fusion|custom-call)\(", entry))

    assert program(40) == program(10) > 0


@hypothesis.settings(deadline=None)
@hypothesis.given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 3), max_size=3)), max_size=8))
def test_there_and_back(leaves):
    params = {f"{i}": {group: jnp.full(shape, float(i))} for i, (group, shape) in enumerate(leaves)}
    rules = [js.groups.Rule(f"**/{group}", group, optional=True) for group in "abc"]
    state = js.flatten_groups(js.sgd(momentum=0.9, rules=rules), rules).init(params)
    tx = js.flatten_groups(optax.trace(0.0), rules)
    updates, trace = tx.update(params, tx.init(params), params)
    chex.assert_trees_all_equal(updates, params)
    chex.assert_trees_all_equal(js.transforms.unflatten_groups(trace).trace, params)
    assert all(leaf.size % 1024 == 0 for leaf in jax.tree.leaves(state.slots))


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, optax, jaxsched as js
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
params = {"a": {"kernel": jnp.arange(64.0).reshape(16, 4) / 50 - 0.5, "bias": jnp.arange(8.0)},
          "b": {"kernel": jnp.arange(24.0).reshape(3, 8)}}
tx = js.flatten_groups(optax.chain(js.clip_norm(1.0), js.adamw(lr=0.1), js.ema(0.9)))
def step(params, state):
    updates, state = tx.update(params, state, params)
    return optax.apply_updates(params, updates), state
def ran(params, state, step):
    for _ in range(3):
        params, state = step(params, state)
    return params, state
alone = ran(params, tx.init(params), jax.jit(step))
for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    def split(x):
        axes = ["data" if n == max(x.shape) and n % 8 == 0 else None for n in x.shape]
        return NamedSharding(mesh, P(*axes))
    whole = NamedSharding(mesh, P())
    with jax.set_mesh(mesh):
        for place in (lambda x: whole, split):
            spread = jax.device_put(params, jax.tree.map(place, params))
            state = tx.init(spread)
            if kind == AxisType.Auto:  # the state alone sharded: a part of each vector on each device
                state = jax.device_put(state, jax.tree.map(split, state))
                places = jax.tree.map(lambda x: x.sharding, (spread, state))
                compiled = jax.jit(step, out_shardings=places)
            else:
                compiled = jax.jit(step)
            got = ran(spread, state, compiled)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), got, alone)
            same = jax.tree.map(lambda a, b: a.sharding.is_equivalent_to(b.sharding, a.ndim), got[0], spread)
            assert all(jax.tree.leaves(same)), (kind, same)
            if kind == AxisType.Auto:
                moments = jax.tree.leaves(got[1][1].slots)
                assert len(moments) == 4 and all(len(m.addressable_shards[0].data) == 128 for m in moments)
print("sharded")
"""


@pytest.mark.slow
def test_sharding_on_eight_devices():
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", SHARDED], env=env, capture_output=True, text=True, timeout=400)
    assert done.stdout.strip() == "sharded", done.stderr[-3000:]
