"""Every optimizer, one row each, through all that is promised of all of them. A new one is a new row."""

import os
import subprocess
import sys
import tempfile

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx

import jaxsched as js
from jaxsched.optimizers.internal import definition_of

# name -> a learning rate at which it comes down a parabola and Rosenbrock's valley, and other arguments
RULES = {
    "adadelta": dict(lr=0.5, eps=1e-3),
    "adafactor": dict(lr=0.1),
    "adagrad": dict(lr=0.4),
    "adam": dict(lr=0.1),
    "adamax": dict(lr=0.1),
    "adamw": dict(lr=0.1, weight_decay=0.0),
    "asgd": dict(lr=1e-3, lambd=0.0),
    "lamb": dict(lr=0.02, weight_decay=0.0, max_grad_norm=None),
    "lars": dict(lr=1.0, momentum=0.9, eta=0.01),
    "lion": dict(lr=0.01),
    "muon": dict(lr=0.02, weight_decay=0.0, ns_dtype="float32"),
    "musgd": dict(lr=1e-3, momentum=0.9, use_muon=True, muon=0.2, sgd=1.0, ns_dtype="float32"),
    "nadam": dict(lr=0.1),
    "radam": dict(lr=3e-3, betas=(0.9, 0.99)),
    "rmsprop": dict(lr=0.02),
    "rprop": dict(lr=0.02),
    "sgd": dict(lr=1e-3, momentum=0.9),
    "sparse_adam": dict(lr=0.1),
}
PARAMS = {"conv1": {"kernel": jnp.array([[-1.0, 1.0], [0.5, 2.0]])}, "bn": {"scale": jnp.array([[0.3], [-0.2]])}}
GRADIENTS = jax.tree.map(lambda p: 0.1 * p + 0.05, PARAMS)
every = pytest.mark.parametrize("name", RULES)


def make(name, **changes):
    return getattr(js.optimizers, name)(**{**RULES[name], **changes})


def test_every_optimizer_has_a_row():
    assert {name for name, maker in vars(js.optimizers).items() if definition_of(maker)} == set(RULES)


@every
def test_with_everything_frozen_nothing_moves(name):
    tx = make(name, rules=[("**", "all")], groups={"all": None})
    before = tx.init(PARAMS)
    updates, after = tx.update(GRADIENTS, before, PARAMS)
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, PARAMS))
    chex.assert_trees_all_equal(after._replace(count=before.count), before)


def run(tx, loss, params, steps):
    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), length=steps)[0][0]

    return train(params)


@every
def test_comes_down_a_parabola_and_rosenbrocks_valley(name):
    def parabola(p):
        return jnp.sum(jnp.square(p["w"] - jnp.array([[1.0, -2.0], [3.0, 0.5]])))

    def rosenbrock(p):
        (x, y), _ = p["w"]
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2 + jnp.sum(jnp.square(p["w"][1]))

    lr = RULES[name]["lr"]
    fading = make(name, lr=js.cosine(lr, steps=3000))
    for loss in (parabola, rosenbrock):
        params = {"w": jnp.array([[-1.0, 1.5], [0.4, -0.3]])}
        assert loss(run(fading, loss, params, 3000)) < 0.01 * loss(params), loss.__name__


@every
def test_jit_is_eager_and_keeps_the_structure(name):
    tx = make(name, lr=js.linear(0.1, 0.0, 10))
    state = tx.init(PARAMS)
    shapes = tx.init(jax.eval_shape(lambda: PARAMS))
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(shapes))
    chex.assert_trees_all_equal_shapes_and_dtypes(shapes, state)
    eager = tx.update(GRADIENTS, state, PARAMS)
    jitted = jax.jit(tx.update, donate_argnums=1)(GRADIENTS, tx.init(PARAMS), PARAMS)  # no buffer of it twice
    chex.assert_trees_all_close(eager, jitted, rtol=1e-5, atol=1e-7)
    chex.assert_trees_all_equal_shapes_and_dtypes(eager[1], state)
    chex.assert_trees_all_equal_shapes_and_dtypes(eager[0], PARAMS)
    # Or the step would be compiled anew when it meets its own result.
    weak = [[x.weak_type for x in jax.tree.leaves(tree)] for tree in ((PARAMS, state), jitted)]
    assert weak[0] == weak[1]
    assert float(js.hyperparams(jitted[1])["weight"]["lr"]) == pytest.approx(0.1)


@every
def test_slots_have_stable_paths_and_any_tree_will_do(name):
    grouped = make(name, rules=[("conv1/**", "a"), ("**", "b")], groups={"b": dict(lr=0.5)}).init(PARAMS)
    plain = make(name).init(PARAMS)
    chex.assert_trees_all_equal_structs(grouped.slots, plain.slots)
    for tree in plain.slots.values():
        assert set(tree) == set(PARAMS)
        assert set(tree["conv1"]) == {"kernel"}
    as_list = [PARAMS["conv1"]["kernel"], (PARAMS["bn"]["scale"],)]
    tx = make(name)
    updates, _ = tx.update(as_list, tx.init(as_list), as_list)
    chex.assert_trees_all_equal_structs(updates, as_list)


@every
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision(name, dtype):
    params, gradients = jax.tree.map(lambda p: p.astype(dtype), (PARAMS, GRADIENTS))
    tx = make(name)
    with jax.numpy_dtype_promotion("strict"):
        state = tx.init(params)
        updates, after = tx.update(gradients, state, params)
    chex.assert_type(jax.tree.leaves(updates), dtype)
    for part in (after.slots, after.hyperparams, after.shared):
        chex.assert_type(jax.tree.leaves(part), jnp.float32)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)


@every
def test_complex_is_trained_or_refused_and_integers_are_refused(name):
    params = jax.tree.map(lambda p: p + 1j * p, PARAMS)
    tx = make(name)
    if name in ("adafactor", "muon", "musgd", "sparse_adam"):
        with pytest.raises(ValueError, match=f"{name}: parameter 'bn/scale' is"):
            tx.init(params)
    else:
        updates, state = tx.update(params, tx.init(params), params)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
        chex.assert_tree_all_finite((updates, state))
    with pytest.raises(TypeError, match="'w' is int32"):
        tx.init({"w": jnp.ones((2, 2), jnp.int32)})


@every
def test_the_count_saturates_and_nothing_overflows(name):
    tx = make(name)
    state = tx.init(PARAMS)._replace(count=jnp.int32(2**31 - 2), bias_offset=jnp.int32(1000))
    for _ in range(3):
        updates, state = tx.update(GRADIENTS, state, PARAMS)
    assert int(state.count) == 2**31 - 1
    chex.assert_tree_all_finite(updates)


@every
def test_serialization_round_trips(name):
    tx = make(name)
    state = tx.update(GRADIENTS, tx.init(PARAMS), PARAMS)[1]
    fresh = tx.init(PARAMS)
    restored = flax.serialization.from_bytes(fresh, flax.serialization.to_bytes(state))
    chex.assert_trees_all_equal(restored, state)
    with tempfile.TemporaryDirectory() as folder, ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(f"{folder}/state", state)
        checkpointer.wait_until_finished()
        chex.assert_trees_all_equal(checkpointer.restore(f"{folder}/state", fresh), state)


@every
def test_optax_tree_tools(name):
    tx = make(name)
    state = tx.init(PARAMS)
    assert optax.tree.get(state, "count") == 0
    moved = optax.tree.set(state, count=jnp.int32(7))
    assert int(tx.update(GRADIENTS, moved, PARAMS)[1].count) == 8
    marked = optax.tree.map_params(tx, lambda slot: slot + 1, state)
    chex.assert_trees_all_close(marked.slots, jax.tree.map(lambda slot: slot + 1, state.slots))
    chex.assert_trees_all_equal(marked._replace(slots={}), state._replace(slots={}))


@every
def test_inject_hyperparams_around_it(name):
    tx = optax.inject_hyperparams(lambda lr: make(name, lr=lr))(lr=0.1)
    state = tx.init(PARAMS)
    for lr in (0.1, 0.02):
        state.hyperparams["lr"] = jnp.float32(lr)
        _, state = jax.jit(tx.update)(GRADIENTS, state, PARAMS)
        assert float(js.hyperparams(state)["weight"]["lr"]) == pytest.approx(lr)


@every
def test_only_a_count_must_be_named_where_optax_injects(name):
    """It makes an array of each default that is a number, and an option must be known when the optimizer is made."""
    arguments = definition_of(getattr(js.optimizers, name)).arguments
    numbers = [own for own, a in arguments.items() if a.is_option and type(a.default) in (int, float)]
    assert numbers == (["ns_steps"] if name == "muon" else [])


@every
def test_vmap_sweeps_a_recipe_in_one_trace(name):
    """With each argument spelled out, as configs do; what is static follows from the signature."""
    traces = 0
    arguments = definition_of(getattr(js.optimizers, name)).arguments
    hyperparameters = {**{own: argument.default for own, argument in arguments.items()}, **RULES[name]}

    def train(recipe):
        nonlocal traces
        traces += 1
        tx = recipe.build()
        return tx.update(GRADIENTS, tx.init(PARAMS), PARAMS)[0]

    peaks = (0.1, 0.2, 0.4)
    recipes = [js.Recipe(name, {**hyperparameters, "lr": js.cosine(p, 100)}) for p in peaks]
    assert js.Recipe.from_json(recipes[0].to_json()) == recipes[0]
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *recipes)
    swept = jax.jit(jax.vmap(train))(stacked)
    assert traces == 1
    alone = jax.jit(train)
    for i, recipe in enumerate(recipes):
        one = alone(recipe)
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], swept), one, rtol=1e-4, atol=1e-6)
    assert traces == 2


@every
def test_gradient_with_respect_to_the_learning_rate(name):
    """Through two updates, against a central difference in float64: what meta-learning needs."""
    in_float64 = {"ns_dtype": "float64"} if "ns_dtype" in RULES[name] else {}

    def after(lr):
        tx = make(name, lr=lr, **in_float64)
        params = jax.tree.map(lambda p: p.astype(jnp.float64), PARAMS)
        state = tx.init(params)
        for _ in range(2):
            updates, state = tx.update(jax.tree.map(lambda p: 0.1 * p + 0.05, params), state, params)
            params = optax.apply_updates(params, updates)
        return sum(jnp.sum(p) for p in jax.tree.leaves(params))

    # With a step of share * lr the difference leaves out a part share**2, and gets the rounding of the values, eps /
    # share. At the cube root of eps both are eps**(2/3) = 4e-11 of value / lr, times the third derivative's factor or
    # the number of roundings: 10 of them.
    eps, lr = np.finfo(np.float64).eps, 0.05
    share = eps ** (1 / 3)
    with jax.enable_x64(True):
        rates = lr * jnp.array([1 - share, 1, 1 + share])
        values, slopes = map(np.asarray, jax.jit(jax.vmap(jax.value_and_grad(after)))(rates))
    difference = (values[2] - values[0]) / (2 * share * lr)
    assert abs(slopes[1]) > 1e-2
    np.testing.assert_allclose(slopes[1], difference, rtol=0, atol=10 * eps ** (2 / 3) * abs(values[1]) / lr)


@every
def test_in_a_chain_within_accumulation_and_nnx(name):
    tx = js.accumulate(optax.chain(optax.clip_by_global_norm(1.0), make(name)), every=2)
    model = nnx.Linear(2, 2, use_bias=False, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    before = model.kernel[...]
    gradients = nnx.grad(lambda m: jnp.square(m(jnp.eye(2)) - 1).sum())(model)
    optimizer.update(model, gradients)
    np.testing.assert_array_equal(model.kernel[...], before)
    optimizer.update(model, gradients)
    assert not np.allclose(model.kernel[...], before)
    assert bool(js.did_update(optimizer))
    assert "lr" in js.hyperparams(optimizer)["weight"]


SHARDED = """
import sys, jax, jax.numpy as jnp, numpy as np, optax, jaxsched as js
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
sys.path.insert(0, {folder!r})
from rules import RULES
params = {{"w": jnp.arange(64.0).reshape(16, 4) / 50 - 0.5}}
seen = {{}}
for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    split = NamedSharding(mesh, P("data", None))
    with jax.set_mesh(mesh):
        for name, kwargs in RULES.items():
            tx = getattr(js.optimizers, name)(**kwargs)
            spread = jax.device_put(params, split)
            state = tx.init(spread)
            for slot, tree in state.slots.items():
                for leaf, p in zip(jax.tree.leaves(tree), jax.tree.leaves(spread), strict=True):
                    if leaf.shape == p.shape:
                        assert leaf.sharding.is_equivalent_to(p.sharding, leaf.ndim), (name, slot, leaf.sharding)
            step = jax.jit(tx.update)
            got = step(spread, state, spread)
            assert got[0]["w"].sharding.is_equivalent_to(split, 2), (kind, name)
            scalars = jax.tree.leaves((got[1].count, got[1].hyperparams, got[1].shared))
            assert all(x.is_fully_replicated for x in scalars), (kind, name)
            for slot, tree in got[1].slots.items():
                for leaf, p in zip(jax.tree.leaves(tree), jax.tree.leaves(spread), strict=True):
                    if leaf.shape == p.shape:
                        assert leaf.sharding.is_equivalent_to(p.sharding, leaf.ndim), (name, slot, leaf.sharding)
            if name not in seen:
                seen[name] = step(params, tx.init(params), params)[0]
            np.testing.assert_allclose(got[0]["w"], seen[name]["w"], rtol=1e-4, atol=1e-6)
        tx = js.lbfgs(max_iter=3, history_size=4, line_search_fn="strong_wolfe")
        def bowl(p):
            return sum(jnp.sum((i + 1) * (x - 1) ** 2) for i, x in enumerate(jax.tree.leaves(p)))
        def step(p, state):
            value, grad = jax.value_and_grad(bowl)(p)
            return tx.update(grad, state, p, value=value, grad=grad, value_fn=bowl)
        trees = [{{**params, "b": jnp.arange(8.0)}}]
        trees.append(jax.device_put(trees[0], {{"w": split, "b": NamedSharding(mesh, P())}}))
        alone, spread = (jax.jit(step)(tree, tx.init(tree))[0] for tree in trees)
        assert spread["w"].sharding.is_equivalent_to(split, 2), kind
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), alone, spread)
# Op by op, without jax.set_mesh; and with gradients that are replicated beside parameters that are not.
mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
spread = jax.device_put(params, NamedSharding(mesh, P("data")))
around = dict(
    lamb=js.lamb(), muon=js.muon(ns_dtype="float32"), flat=js.flatten_groups(js.sgd(0.1, momentum=0.9)),
    accumulate=js.accumulate(js.adam(), 1), both=js.accumulate(js.flatten_groups(js.adam()), 1),
    skip=js.skip_nonfinite(js.sgd(0.1)),
)
for name, tx in around.items():
    expected = tx.update(params, tx.init(params), params)[0]["w"]
    for gradients in (spread, jax.device_put(params, NamedSharding(mesh, P()))):
        got = tx.update(gradients, tx.init(spread), spread)[0]["w"]
        assert got.sharding.is_equivalent_to(spread["w"].sharding, 2), (name, got.sharding)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6, err_msg=name)
    again = tx.update(spread, js.optimizers.reset(tx.init(spread)), spread)[0]["w"] if name == "lamb" else got
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-6, err_msg=name)
js.group_norms(spread, spread)
tx = js.lbfgs(max_iter=3, history_size=4, line_search_fn="strong_wolfe")
value, grad = jax.jit(jax.value_and_grad(bowl))(spread)
got = tx.update(grad, tx.init(spread), spread, value=value, grad=grad, value_fn=bowl)[0]["w"]
assert got.sharding.is_equivalent_to(spread["w"].sharding, 2)
alone = jax.jit(lambda p: tx.update(p, tx.init(p), p, value=bowl(p), grad=jax.grad(bowl)(p), value_fn=bowl)[0])(params)
np.testing.assert_allclose(got, alone["w"], rtol=1e-4, atol=1e-6)
# The sharding of a state from that of the parameters; a step keeps it, and another mesh takes the state up.
import orbax.checkpoint as ocp
grown = {{"layers": {{"w": jnp.arange(96.0).reshape(3, 16, 2) / 96}}}}
grown["head"] = {{"w": params["w"], "bias": jnp.ones(16)}}
states = dict(
    accumulate=js.accumulate(optax.chain(js.clip_norm(1.0), js.adam(groups=dict(bias=None)), js.ema(0.9)), 2),
    flat=js.accumulate(js.flatten_groups(js.adam()), 2),
    grouped=optax.chain(optax.clip(1.0), js.optimizers.grouped(optax.lion, learning_rate=0.1)),
    stacked=js.layer_decay([("layers/**", 3), "head/**"], 0.1, 0.5),
)
states["stacked"] = js.lamb(state_dtype=dict(exp_avg="bfloat16"), **states["stacked"])
def like(mesh, *names):
    where = lambda p: P(None, *names) if p.ndim == 3 else P(*names) if p.ndim == 2 else P()
    return jax.tree.map(lambda p: NamedSharding(mesh, where(p)), grown)
for kind in (AxisType.Auto, AxisType.Explicit):
    first = like(jax.make_mesh((8,), ("data",), axis_types=(kind,)), "data")
    second = like(jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind, kind)), "data", "model")
    for name, tx in states.items():
        followed = []
        for chosen in (None, first, second):
            at, shardings = grown, None
            state = tx.init(grown)
            if chosen is not None:
                at, shardings = jax.device_put(grown, chosen), js.state_sharding(tx, grown, chosen)
                state = jax.jit(tx.init, out_shardings=shardings)(at)
                if chosen is second:  # goes on from what the first mesh left
                    with ocp.StandardCheckpointer() as checkpointer:
                        checkpointer.save(f"{folder}/{{kind}}{{name}}", left)
                        checkpointer.wait_until_finished()
                        wanted = jax.tree.map(lambda x, s: jax.device_put(x, s), state, shardings)
                        state = checkpointer.restore(f"{folder}/{{kind}}{{name}}", wanted)
            step = jax.jit(tx.update, out_shardings=None if shardings is None else (chosen, shardings))
            updates, left = step(at, state, at)
            if shardings is not None:
                for x, sharding in zip(jax.tree.leaves(left), jax.tree.leaves(shardings), strict=True):
                    assert x.sharding.is_equivalent_to(sharding, x.ndim), (name, x.sharding, sharding)
            followed.append((updates, left) if chosen is not None else (updates, left, step(at, left, at)))
        for got, wanted in zip(followed[1:], (followed[0][:2], followed[0][2]), strict=True):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(
                a.astype(jnp.float32), b.astype(jnp.float32), rtol=1e-2 if a.dtype == jnp.bfloat16 else 1e-4, atol=1e-6,
                err_msg=name), got, wanted)
mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
tx = js.adamw(lr=js.linear(0.1, 0.0, 10))
def local(p):
    g = jax.lax.pmean(p, "data")
    return tx.update(g, tx.init(p), p)[0]
out = jax.shard_map(local, mesh=mesh, in_specs=P("data"), out_specs=P("data"))(params["w"])
assert out.shape == (16, 4)
print("sharded")
"""


@pytest.mark.slow
def test_sharding_on_eight_devices(tmp_path):
    # the others are elementwise, as Adam is
    names = ("adafactor", "adam", "asgd", "lamb", "muon", "musgd", "nadam", "sgd", "sparse_adam")
    (tmp_path / "rules.py").write_text(f"RULES = { ({name: RULES[name] for name in names})!r}")
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    code = SHARDED.format(folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=400)
    assert done.stdout.strip() == "sharded", done.stderr[-3000:]
