"""Slots in a dtype by name, and groups whose arrays have a layer at each index of their first axis."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js
from jaxsched.optimizers.internal import definition_of

OPTIMIZERS = sorted(name for name, maker in vars(js.optimizers).items() if definition_of(maker))
GIVEN = {  # what makes an optimizer keep its slots
    "lars": dict(momentum=0.9),
    "muon": dict(ns_dtype="float32"),
    "musgd": dict(momentum=0.9, use_muon=True, ns_dtype="float32"),
    "rmsprop": dict(momentum=0.9, centered=True),
    "sgd": dict(momentum=0.9),
    "adam": dict(amsgrad=True),
}
every = pytest.mark.parametrize("name", OPTIMIZERS)
BF16 = jnp.bfloat16
LAYERS = [{"w": jnp.asarray(np.random.default_rng(i).normal(size=(3, 2)), jnp.float32)} for i in range(2)]
STACK = jax.tree.map(lambda *layers: jnp.stack(layers), *LAYERS)
FACTORS = (0.5, 1.0)


def make(name, **changes):
    return getattr(js.optimizers, name)(**{**GIVEN.get(name, {}), "lr": 0.1, **changes})


def gradient_of(params, i):
    return jax.tree.map(lambda p: 0.1 * p * (i + 1) + 0.05, params)


def follow(tx, params, state=None, steps=2, between=lambda state: state):
    state = tx.init(params) if state is None else state
    for i in range(steps):
        updates, state = tx.update(gradient_of(params, i), state, params)
        params, state = optax.apply_updates(params, updates), between(state)
    return params, state


@every
def test_stacked_layers_are_updated_each_as_an_array_of_its_own(name):
    """With a learning rate for each layer, which `asgd` cannot have."""
    factors = True if name == "asgd" else FACTORS
    params, state = follow(make(name, stacked=factors), STACK)
    for i, layer in enumerate(LAYERS):
        alone, own = follow(make(name, lr=0.1 if factors is True else FACTORS[i] * 0.1), layer)
        chex.assert_trees_all_close(params["w"][i], alone["w"], rtol=1e-5, atol=1e-6)
        for slot, tree in own.slots.items():
            chex.assert_trees_all_close(state.slots[slot]["w"][i], tree["w"], rtol=1e-5, atol=1e-6)


def test_layers_of_a_stack_have_a_schedule_an_override_and_groups_beside_them():
    params = {"stem": {"w": jnp.ones(2)}, "blocks": {"w": jnp.ones((3, 2)), "bias": jnp.ones((3, 2))}}
    params["head"] = {"w": jnp.ones(2)}
    layers = ["stem/**", ("blocks/**", 3), "head/**"]
    decayed = js.layer_decay(layers, js.linear(1.0, 0.0, 10), 0.5, undecayed=js.role("bias"))
    tx = js.sgd(weight_decay=0.5, **decayed)
    updates, state = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    np.testing.assert_array_equal(updates["stem"]["w"], [-0.09375] * 2)  # 0.5**4 * (1 + 0.5)
    np.testing.assert_array_equal(updates["blocks"]["w"][:, 0], [-0.1875, -0.375, -0.75])
    np.testing.assert_array_equal(updates["blocks"]["bias"][:, 0], [-0.125, -0.25, -0.5])
    np.testing.assert_array_equal(updates["head"]["w"], [-1.5] * 2)
    assert float(js.hyperparams(state)["layers 1 to 3"]["lr"]) == 0.5
    state = js.optimizers.override(state, "layers 1 to 3", lr=1.0)
    updates, _ = jax.jit(tx.update)(jax.tree.map(jnp.ones_like, params), state, params)
    np.testing.assert_array_equal(updates["blocks"]["w"][:, 0], [-0.375, -0.75, -1.5])


@pytest.mark.parametrize("optimizer", ["optax.adamw", optax.adamw])
def test_layers_of_an_optimizer_of_optax(optimizer):
    by_layer = js.layer_decay(["stem/**", "head/**"], 1.0, 0.5, undecayed=js.role("bias"), optimizer=optimizer)
    recipe = js.Recipe("optax.adamw", dict(b1=0.5, b2=0.5, weight_decay=0.1), **by_layer, steps=9)
    params = {name: {"w": jnp.ones(2), "bias": jnp.ones(2)} for name in ("stem", "head")}
    tx = recipe.build()
    updates, state = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose([updates[name]["w"][0] for name in ("stem", "head")], [-0.55, -1.1], rtol=1e-6)
    np.testing.assert_allclose([updates[name]["bias"][0] for name in ("stem", "head")], [-0.5, -1.0], rtol=1e-6)
    assert float(js.hyperparams(state)["layer 0"]["learning_rate"]) == 0.5
    assert js.curves(recipe)["layer 0"]["lr"][0] == 0.5


@every
def test_slots_are_kept_in_a_dtype_by_name(name):
    """As with slots that are rounded after each step; the values of the run stay in float32."""
    slots = list(make(name).init(LAYERS[0]).slots)
    shorter = {"betas": (0.9, 0.95)} if "betas" in definition_of(getattr(js.optimizers, name)).arguments else {}
    tx = make(name, state_dtype=dict.fromkeys(slots, BF16), **shorter)

    def rounded(state):
        cut = jax.tree.map(lambda x: x.astype(BF16).astype(x.dtype), state.slots)
        return state._replace(slots=cut)

    params, state = follow(tx, LAYERS[0])
    chex.assert_type(jax.tree.leaves(state.slots), BF16)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(LAYERS[0]))
    plain = make(name, **shorter)
    expected, reference = follow(plain, LAYERS[0], rounded(plain.init(LAYERS[0])), between=rounded)
    chex.assert_trees_all_equal(params, expected)
    chex.assert_trees_all_equal(jax.tree.map(lambda x: x.astype(jnp.float32), state.slots), reference.slots)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_one_slot_of_one_group_alone(dtype):
    params = {"kernel": jnp.ones((2, 2), dtype), "bias": jnp.ones(2, dtype)}
    tx = js.adamw(groups={"weight": dict(state_dtype={"exp_avg": "bfloat16"})})
    _, state = jax.jit(tx.update)(params, tx.init(params), params)
    found = {slot: jax.tree.map(lambda x: x.dtype.name, tree) for slot, tree in state.slots.items()}
    assert found["exp_avg"] == {"kernel": "bfloat16", "bias": "float32"}
    assert found["exp_avg_sq"] == {"kernel": "float32", "bias": "float32"}


def around(tx):
    return js.accumulate(optax.chain(js.clip_norm(1.0), tx, js.ema(0.9)), 2, state_dtype=BF16)


@pytest.mark.parametrize("flatten", [False, True])
def test_within_what_is_around_an_optimizer(flatten):
    recipe = js.Recipe(
        "adamw",
        dict(lr=0.1, state_dtype={"exp_avg": BF16}),
        accumulate=js.Accumulation(2, state_dtype=BF16),
        clip_norm=1.0,
        ema=0.9,
    )
    written = js.Recipe.from_json(recipe.to_json())
    assert written == recipe
    assert "state_dtype  {'exp_avg': 'bfloat16'}" in str(js.explain(recipe))
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    state = jax.jit(lambda recipe: recipe.build(flatten=flatten).init(params))(written)
    _, after = follow(written.build(flatten=flatten), params, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    chex.assert_type(jax.tree.leaves((after.gradients, after.inner[1].slots["exp_avg"])), BF16)
    chex.assert_type(jax.tree.leaves((after.inner[1].slots["exp_avg_sq"], after.inner[2].average)), jnp.float32)
    # to other dtypes and back
    plain = recipe.replace(hyperparameters=dict(lr=0.1)).build(flatten=flatten)
    carried = js.carry_over(after, plain.init(params))
    chex.assert_type(jax.tree.leaves(carried.inner[1].slots), jnp.float32)
    back = js.carry_over(carried, state)
    chex.assert_trees_all_equal(back.inner[1].slots, after.inner[1].slots)
    chex.assert_trees_all_equal_shapes_and_dtypes(back, state)


@pytest.mark.parametrize(
    ("kernel", "numbers"),
    [((2, 4, 2), (-2, -1)), ((2, 4, 3, 5), ((1,), (2, 3))), ((2, 4, 3, 5), ([2, 1], [3]))],
)
def test_muon_by_dimension_numbers(kernel, numbers):
    """Each matrix of the stack as by itself, and the learning rate's factor is that of its inputs and outputs."""
    given = dict(lr=0.1, ns_dtype="float32", adjust_lr_fn="match_rms_adamw")
    params = {"w": jnp.asarray(np.random.default_rng(0).normal(size=kernel), jnp.float32)}
    got, _ = follow(js.muon(dimension_numbers=numbers, **given), params)
    inputs, outputs = ([axis % len(kernel)] if isinstance(axis, int) else list(axis) for axis in numbers)
    wanted = np.empty(kernel, np.float32)
    for i in range(kernel[0]):
        shape = [int(np.prod([kernel[a] for a in axes])) for axes in (inputs, outputs)]
        order = [axis - 1 for axis in (*inputs, *outputs)]
        turned = params["w"][i].transpose(order)
        alone, _ = follow(js.muon(outputs="last", **given), {"w": turned.reshape(shape)})
        wanted[i] = alone["w"].reshape(turned.shape).transpose(np.argsort(order))
    np.testing.assert_allclose(got["w"], wanted, rtol=1e-5, atol=1e-6)


def test_muon_takes_the_dimension_numbers_of_optax():
    kind = getattr(optax.contrib, "MuonDimensionNumbers", lambda *axes: axes)  # since optax 0.2.6
    numbers = kind((0,), (1,))
    chex.assert_trees_all_close(
        follow(js.muon(dimension_numbers=numbers), LAYERS[0])[0],
        follow(js.muon(outputs="last"), LAYERS[0])[0],
        rtol=1e-5,
    )
    recipe = js.Recipe("muon", dict(dimension_numbers=numbers))
    assert js.Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: js.adam(state_dtype={"mu": BF16}), "state_dtype has 'mu', the slots are 'exp_avg', 'exp_avg_sq'"),
        (
            lambda: js.adam(state_dtype={"exp_avg": "int8"}),
            r"state_dtype\['exp_avg'\] must be one of bfloat16, float16",
        ),
        (
            lambda: js.adam(state_dtype={"exp_avg_sq": BF16}),
            r"keeps 'exp_avg_sq' in bfloat16, in which an average with betas\[1\]=0.999 stands still",
        ),
        (lambda: js.adam(state_dtype=BF16), "must be a dict from the name of a slot to its dtype"),
        (lambda: js.adam(state_dtype={"exp_avg": BF16}).init({"w": jnp.ones(2, complex)}), "'w' is complex64, whose"),
        (lambda: js.accumulate(js.adam(), 2, state_dtype="int32"), "state_dtype must be one of bfloat16"),
        (lambda: js.Accumulation(2, state_dtype="int8"), "Accumulation: state_dtype must be one of bfloat16"),
        (lambda: js.asgd(stacked=FACTORS), "asgd: stacked must be a bool, got a factor for each layer"),
        (lambda: js.adam(stacked="yes"), "stacked must be a bool, None, or a tuple of a factor >= 0 for each layer"),
        (lambda: js.adam(stacked=(1.0, -1.0)), "stacked must be a bool"),
        (lambda: js.adam(stacked=(1.0, 0.5, 0.2)).init(STACK), r"'w' has the shape \(2, 3, 2\), .* stacked with 3"),
        (lambda: js.adam(stacked=True).init({"w": jnp.ones(())}), "'w' is one number, and its group is stacked"),
        (lambda: js.flatten_groups(js.adam(stacked=FACTORS)).init(STACK), "'w' is joined by flatten_groups"),
        (lambda: js.muon(dimension_numbers=(1,)), "must be the axes of the inputs and those of the outputs"),
        (lambda: js.muon(dimension_numbers=(0, 1), outputs="last"), "leave out outputs='last'"),
        (lambda: js.muon(dimension_numbers=(0, 3)).init(STACK), "'w' has no such axes as dimension_numbers"),
        (lambda: js.muon(dimension_numbers=(0, 0)).init(STACK), "'w' has no such axes as dimension_numbers"),
        (lambda: js.layer_decay([("blocks", 0)], 0.1, 0.5), r"layers\[0\] must be a match, or a pair"),
        (lambda: js.layer_decay([("blocks", float("nan"))], 0.1, 0.5), r"layers\[0\] must be a match, or a pair"),
        (lambda: js.layer_decay([("blocks", float("inf"))], 0.1, 0.5), r"layers\[0\] must be a match, or a pair"),
        (lambda: js.layer_decay("blocks/**", 0.1, 0.5), "layers must be a list of matches, got the string 'blocks"),
        (lambda: js.layer_decay(["**"], 0.1, "0.5"), "layer_decay: decay must be a number, got the string '0.5'"),
        (lambda: js.layer_decay(["**"], 0.1, float("inf")), "layer_decay: decay must be finite, got inf"),
        (lambda: js.layer_decay(["**"], None, 0.5), "layer_decay: lr must be a number or a schedule, got None"),
        (
            lambda: js.layer_decay([("blocks", 2)], 0.1, 0.5, optimizer=optax.lion),
            r"layer_decay: optax.lion has no stacked layers: name each layer by itself",
        ),
        (
            lambda: js.layer_decay(["**"], 0.1, 0.5, undecayed="*", optimizer="optax.sgd"),
            r"layer_decay: optax.sgd has no weight decay",
        ),
        (lambda: js.layer_decay(["**"], 0.1, 0.5, optimizer="lion"), r"layer_decay: optimizer must be one of optax"),
    ],
)
def test_what_cannot_be_kept_so(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
