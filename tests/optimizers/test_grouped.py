"""Groups and schedules around optimizers of optax: the run is that of optax where optax has one."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsched as js

PARAMS = {"conv": {"kernel": jnp.array([[-1.0, 1.0], [0.5, 2.0]]), "bias": jnp.array([0.3, -0.2])}}
LR = js.cosine(0.1, 4)
grouped = js.optimizers.grouped
# name -> other arguments
FACTORIES = {
    "adabelief": {},
    "adagrad": {},
    "adam": {},
    "adamw": dict(weight_decay=0.1),
    "fromage": {},
    "lamb": dict(weight_decay=0.1),
    "lars": dict(weight_decay=0.1),
    "lion": dict(weight_decay=0.1),
    "novograd": {},
    "radam": {},
    "rmsprop": dict(momentum=0.9),
    "sgd": dict(momentum=0.9, nesterov=True),
    "sm3": {},
    "yogi": {},
}


def follow(tx, params=PARAMS, steps=3):
    state = tx.init(params)
    for step in range(steps):
        gradients = jax.tree.map(lambda p, step=step: 0.1 * p + 0.05 * (step + 1), params)
        updates, state = jax.jit(tx.update)(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("name", FACTORIES)
def test_the_run_is_that_of_optax(name):
    factory, arguments = getattr(optax, name), FACTORIES[name]
    lr = LR if name not in ("fromage", "sm3") else 0.1  # which take no schedule
    mine, state = follow(grouped(factory, learning_rate=lr, **arguments))
    theirs, _ = follow(factory(lr, **arguments))
    chex.assert_trees_all_close(mine, theirs, rtol=1e-5)
    expected = float(lr(2)) if callable(lr) else lr
    assert float(js.hyperparams(state)["weight"]["learning_rate"]) == pytest.approx(expected)


def test_groups_are_those_of_a_partition():
    tx = grouped(
        optax.lion, learning_rate=LR, weight_decay=0.1, groups={"bias": dict(learning_rate=0.5 * LR, weight_decay=0.0)}
    )
    each = {"weight": optax.lion(LR, weight_decay=0.1), "bias": optax.lion(0.5 * LR, weight_decay=0.0)}
    chex.assert_trees_all_close(follow(tx)[0], follow(optax.partition(each, js.groups.labels))[0], rtol=1e-6)


def test_a_factory_of_a_users_own():
    def own(learning_rate, decay=0.9):
        return optax.chain(optax.trace(decay), optax.scale_by_learning_rate(learning_rate))

    decay = js.linear(0.8, 0.9, 10)
    mine, state = follow(grouped(own, learning_rate=LR, decay=decay, groups={"bias": dict(decay=0.5)}))
    each = {
        name: optax.inject_hyperparams(own)(LR, decay=d)
        for name, d in {"weight": decay, "bias": optax.constant_schedule(0.5)}.items()
    }
    chex.assert_trees_all_close(mine, follow(optax.partition(each, js.groups.labels))[0], rtol=1e-6)
    assert float(js.hyperparams(state)["weight"]["decay"]) == pytest.approx(0.82)


def test_a_frozen_group_has_no_state():
    params, state = follow(grouped(optax.adam, learning_rate=0.1, groups={"weight": None}))
    np.testing.assert_array_equal(params["conv"]["kernel"], PARAMS["conv"]["kernel"])
    assert set(state.slots) == {"bias", "norm"}
    assert sum(leaf.size for leaf in jax.tree.leaves(state.slots["bias"])) == 2 * 2 + 1


def test_a_group_keeps_only_what_is_its_own():
    """Or each of many groups has a node for every parameter, which each call of a jitted step takes apart."""
    layers = {f"layer{i}": {"kernel": jnp.ones(2), "bias": jnp.ones(2)} for i in range(8)}
    tx = grouped(optax.adam, learning_rate=LR, rules=[(f"layer{i}/**", str(i)) for i in range(8)])
    state = tx.init(layers)
    assert state.slots["3"][0].mu.keys() == {"layer3"}
    assert jax.tree.structure(state.slots).num_nodes < 8 * 20
    updates, after = tx.update(layers, state, layers)
    chex.assert_trees_all_equal_structs(after, state)
    chex.assert_trees_all_equal_structs(updates, layers)
    nested = (layers, [jnp.ones(2)])  # what is no dict is kept whole
    other = grouped(optax.adam, learning_rate=LR, rules=[("0/**", "a"), ("**", "b")]).init(nested)
    assert isinstance(other.slots["a"][0].mu[1][0], optax.MaskedNode)


def test_a_run_goes_on_with_other_groups():
    tx, other, one = (
        grouped(optax.adam, learning_rate=0.1, rules=rules)
        for rules in ([("conv/**", "x"), ("**", "y")], [("**/bias", "x"), ("**", "y")], [("**", "all")])
    )
    params = {**PARAMS, "head": {"kernel": jnp.ones(2)}}
    _, state = tx.update(params, tx.init(params), params)
    expected, after = tx.update(params, state, params)
    for changed in (other, one):
        carried = js.carry_over(state, changed.init(params))
        chex.assert_trees_all_equal_structs(carried, changed.init(params))
        updates, _ = changed.update(params, carried, params)
        chex.assert_trees_all_close(updates, expected, rtol=1e-6)
    moved = js.carry_over(after, other.init(params))
    moved = moved._replace(slots={**moved.slots, "x": state.slots["x"]})
    with pytest.raises(ValueError, match=r"carry_over: the group 'all' is new, and the old ones differ in 0/count"):
        js.carry_over(moved, one.init(params))


def test_a_group_that_thaws_starts_and_the_others_go_on():
    rules = [("**/bias", "head"), ("**", "body")]
    tx, other = (grouped(optax.adam, learning_rate=0.1, rules=rules, groups=own) for own in ({"body": None}, {}))
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    carried = js.carry_over(state, other.init(PARAMS))
    chex.assert_trees_all_equal(carried.slots["body"], other.init(PARAMS).slots["body"])
    chex.assert_trees_all_equal(carried.slots["head"], state.slots["head"])


def test_a_renamed_parameter_is_not_carried_over():
    tx = grouped(optax.adam, learning_rate=0.1, rules=[("**", "all")])
    old, new = ({"layer": {name: jnp.ones(2)}} for name in ("kernel", "weight"))
    message = "'all' has '0/mu/layer/kernel' only in old_state and '0/mu/layer/weight' only in new_state"
    with pytest.raises(ValueError, match=message):
        js.carry_over(tx.init(old), tx.init(new))


def test_it_is_read_set_and_accumulated_as_ours():
    tx = js.accumulate(grouped(optax.lion, learning_rate=js.plateau(0.5, patience=0)), 1)
    state = js.report_metric(js.report_metric(tx.init(PARAMS), 1.0), 2.0)
    updates, state = tx.update(PARAMS, state, PARAMS)
    np.testing.assert_allclose(jnp.abs(updates["conv"]["kernel"]), 0.05, rtol=1e-2)
    state = js.optimizers.override(state, "bias", learning_rate=1.0, b1=0.5)
    updates, state = tx.update(PARAMS, state, PARAMS)
    np.testing.assert_allclose(jnp.abs(updates["conv"]["bias"]), 1.0, rtol=1e-2)
    assert float(js.hyperparams(state)["bias"]["b1"]) == 0.5
    shapes = tx.init(jax.eval_shape(lambda: PARAMS))
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("name", ["lion", "contrib.prodigy", "contrib.schedule_free_sgd", "noisy_sgd"])
def test_a_fresh_state_can_be_donated(name):
    factory = getattr(optax.contrib, name.removeprefix("contrib.")) if "." in name else getattr(optax, name)
    tx = grouped(factory, learning_rate=0.1, **({"key": jax.random.key(0)} if name == "noisy_sgd" else {}))
    jax.jit(tx.update, donate_argnums=1)(PARAMS, tx.init(PARAMS), PARAMS)


def test_an_optimizer_that_does_not_start_without_parameters():
    """``optax.lbfgs`` asks the first parameter for its dtype; any other error of an empty group is seen."""
    state = grouped(optax.lbfgs).init(PARAMS)
    assert state.slots["norm"] == ()
    assert state.slots["weight"] != ()

    def broken(learning_rate):
        return optax.sgd(learning_rate)._replace(init=lambda params: params["no such"])

    with pytest.raises(KeyError, match="no such"):
        grouped(broken, learning_rate=0.1).init({})


def test_what_is_no_parameter_is_refused():
    tx = grouped(optax.lion, learning_rate=0.1, rules=[("frozen", "frozen"), ("**", "all")], groups={"frozen": None})
    kept = {"frozen": jnp.arange(3)}
    with pytest.raises(TypeError, match=r"optax.lion: parameter 'table' is int32"):
        tx.init({**kept, "table": jnp.arange(3)})
    with pytest.raises(TypeError, match=r"optax.lion: 'f' is not an array but"):
        tx.init({**kept, "f": jnp.tanh})
    params = {**kept, "kernel": jnp.ones(2)}
    gradients = jax.grad(lambda p: jnp.sum(p["kernel"] ** 2), allow_int=True)(params)
    updates, _ = tx.update(gradients, tx.init(params), params)
    assert not updates["frozen"].any()
    with pytest.raises(ValueError, match=r"optax.lion: it needs whole arrays, which flatten_groups joins"):
        js.flatten_groups(grouped(optax.lion, learning_rate=0.1)).init(PARAMS)


def test_half_precision_keeps_its_dtype():
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    chex.assert_trees_all_equal_dtypes(follow(grouped(optax.lion, learning_rate=LR), params)[0], params)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: grouped(optax.lion, learning_rat=0.1),
            r"optax.lion: 'learning_rat' .*did you mean 'learning_rate'",
        ),
        (lambda: grouped(optax.lion, learning_rate=0.1, groups={"bia": {}}), r"'bia'.*did you mean 'bias'"),
        (lambda: grouped(optax.lion, learning_rate=jnp.ones(2)), r"learning_rate must be one number, got an array"),
        (
            lambda: grouped(optax.lion, learning_rate=0.1).update(PARAMS, js.adam().init(PARAMS), PARAMS),
            r"optax.lion: the state is of another optimizer",
        ),
    ],
)
def test_errors_are_those_of_ours(make, message):
    with pytest.raises(ValueError, match=message):
        make()
