"""The sharding of a state from that of the parameters, and optax's way to find what is like the parameters in a state.

On eight devices and after a restore: tests/optimizers/test_conformance.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

import jaxsched as js

P = PartitionSpec
MESH = AbstractMesh((4, 2), ("data", "model"))
PARAMS = {"dense": {"kernel": jnp.ones((8, 4)), "bias": jnp.ones(4)}, "bn": {"scale": jnp.ones(8)}}
SPECS = {"dense": {"kernel": P("data", "model"), "bias": P("model")}, "bn": {"scale": P()}}
SHARDINGS = jax.tree.map(lambda spec: NamedSharding(MESH, spec), SPECS, is_leaf=lambda x: isinstance(x, P))


def specs(tree):
    return jax.tree.map(lambda sharding: sharding.spec, tree)


def of(tx, params=PARAMS, shardings=SHARDINGS):
    found = js.state_sharding(tx, params, shardings)
    assert jax.tree.structure(found) == jax.tree.structure(jax.eval_shape(tx.init, params))
    return specs(found)


def test_slots_sums_and_averages_are_sharded_as_the_parameters_are():
    tx = js.accumulate(optax.chain(js.clip_norm(1.0), js.adam(), js.ema(0.9)), 2)
    found = of(tx)
    assert found.gradients == found.inner[1].slots["exp_avg"] == found.inner[2].average == SPECS
    rest = found._replace(
        gradients={}, inner=(found.inner[0], found.inner[1]._replace(slots={}), found.inner[2].shares)
    )
    assert set(jax.tree.leaves(rest, is_leaf=lambda x: isinstance(x, P))) == {P()}


def test_a_frozen_group_a_partition_and_optaxs_parts():
    frozen = of(js.adam(groups={"bias": None})).slots["exp_avg"]
    assert frozen == {**SPECS, "dense": {**SPECS["dense"], "bias": optax.MaskedNode()}}
    parts = {
        "weight": optax.chain(optax.trace(0.9), optax.scale(-1)),
        "bias": js.sgd(0.1, 0.9),
        "norm": optax.adamw(0.1),
    }
    found = of(optax.partition(parts, js.groups.labels)).inner_states
    assert found["weight"].inner_state[0].trace["dense"]["kernel"] == P("data", "model")
    assert found["bias"].inner_state.slots["momentum"]["dense"]["bias"] == P("model")
    assert found["norm"].inner_state[0].mu["bn"]["scale"] == P()
    assert of(js.optimizers.grouped(optax.lion, learning_rate=0.1)).slots["bias"][0].mu["dense"]["bias"] == P("model")
    assert of(optax.inject_hyperparams(lambda lr: js.adam(lr))(0.1)).inner_state.slots["exp_avg"] == SPECS


def test_vectors_are_split_over_the_axes_that_split_a_parameter():
    found = of(js.accumulate(js.flatten_groups(js.adam()), 2))
    assert found.gradients.vectors == (P(), P(("model",)), P(("data", "model")))  # norm, bias, weight
    assert found.inner.slots["exp_avg"].vectors == found.gradients.vectors


def test_a_slot_with_other_axes():
    found = of(js.adafactor()).slots
    assert found["row_var"]["dense"]["kernel"] == P("data", None)
    assert found["col_var"]["dense"]["kernel"] == P(None, "model")
    assert found["variance"]["dense"] == {"kernel": P(), "bias": P("model")}
    assert of(optax.lbfgs(memory_size=3))[0].diff_params_memory["dense"]["kernel"] == P(None, "data", "model")


def test_a_parameter_of_the_name_of_a_hyperparameter():
    params = {"lr": jnp.ones(4), "a": {"lr": jnp.ones((2, 4))}}
    shardings = {"lr": NamedSharding(MESH, P("data")), "a": {"lr": NamedSharding(MESH, P(None, "model"))}}
    found = of(js.sgd(0.1, 0.9, rules=[("lr", "1"), ("**", "2")]), params, shardings)
    assert found.slots["momentum"] == {"lr": P("data"), "a": {"lr": P(None, "model")}}
    assert found.hyperparams["lr"] == P()


def test_one_sharding_for_all_and_those_that_the_parameters_have():
    one = NamedSharding(MESH, P())
    assert set(jax.tree.leaves(of(js.adam(), shardings=one), is_leaf=lambda x: isinstance(x, P))) == {P()}
    shapes = jax.tree.map(
        lambda p, sharding: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=sharding), PARAMS, SHARDINGS
    )
    assert of(js.adam(), shapes, None).slots["exp_avg"] == SPECS
    with pytest.raises(TypeError, match=r"the parameter \['bn'\]\['scale'\] must have a NamedSharding"):
        js.state_sharding(js.adam(), PARAMS)


def test_an_nnx_model():
    shapes = nnx.state(nnx.eval_shape(lambda: nnx.Linear(8, 4, rngs=nnx.Rngs(0))), nnx.Param)
    shardings = jax.tree.map(lambda p: NamedSharding(MESH, P("data") if p.ndim == 2 else P()), shapes)
    found = js.state_sharding(js.adam(), shapes, shardings)
    assert {sharding.spec for sharding in jax.tree.leaves(found.slots)} == {P("data"), P()}


MADE = {
    "adam": lambda: js.adam(),
    "frozen": lambda: js.adam(groups={"bias": None}),
    "stacked": lambda: js.lamb(groups={"weight": dict(stacked=True, state_dtype={"exp_avg": "bfloat16"})}),
    "accumulate": lambda: js.accumulate(js.adam(), 2),
    "flattened": lambda: js.flatten_groups(optax.chain(js.clip_norm(1.0), js.adam(), js.ema(0.9))),
    "accumulate, flattened": lambda: js.accumulate(js.flatten_groups(js.adam()), 2),
    "skip": lambda: js.skip_nonfinite(js.adam()),
    "grouped": lambda: js.optimizers.grouped(optax.adamw, learning_rate=0.1),
    "partition": lambda: optax.partition(dict.fromkeys(("bias", "weight"), js.adam()), js.groups.labels),
    "recipe": lambda: js.Recipe("adam", dict(lr=0.1), groups={"bias": None}, clip_norm=1.0, ema=0.9).build(),
}


@pytest.mark.parametrize("name", MADE)
def test_optax_maps_what_is_like_the_parameters(name):
    params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
    tx = MADE[name]()
    state = tx.init(params)
    mapped = optax.tree.map_params(tx, lambda x: x + 1, state)

    def check(sharding, before, after):
        np.testing.assert_array_equal(after, before + (len(sharding.spec) > 0))

    mesh = AbstractMesh((1,), ("data",))
    marked = js.state_sharding(tx, params, NamedSharding(mesh, P("data")))  # of rank 1 and 2: what is like a parameter
    jax.tree.map(check, marked, state, mapped)
