"""The driver: groups, schedules, the count, what can be read, and where the state may live."""

import copy

import chex
import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import jaxsched as js

PARAMS = {
    "conv": {"kernel": jnp.full((2, 2), 0.5), "bias": jnp.full(2, 0.25)},
    "bn": {"scale": jnp.ones(2), "bias": jnp.zeros(2)},
}
ONES = jax.tree.map(jnp.ones_like, PARAMS)


def step(tx, state=None, params=PARAMS, gradients=ONES, **extra):
    return tx.update(gradients, tx.init(params) if state is None else state, params, **extra)


def test_groups_override_the_defaults():
    tx = js.sgd(lr=1.0, weight_decay=0.5, groups={"bias": dict(lr=0.1, weight_decay=0.0), "norm": dict(weight_decay=0)})
    updates, state = step(tx)
    expected = {
        "conv": {"kernel": jnp.full((2, 2), -1.25), "bias": jnp.full(2, -0.1)},  # -(1 + 0.5 * 0.5); -0.1 * 1
        "bn": {"scale": jnp.full(2, -1.0), "bias": jnp.full(2, -0.1)},
    }
    chex.assert_trees_all_close(updates, expected, rtol=1e-7)
    read = js.hyperparams(state)
    assert {g: float(read[g]["lr"]) for g in read} == pytest.approx({"weight": 1.0, "norm": 1.0, "bias": 0.1})
    assert {g: float(read[g]["weight_decay"]) for g in read} == {"weight": 0.5, "norm": 0.0, "bias": 0.0}
    chex.assert_type(jax.tree.leaves(read), jnp.float32)


def test_head_and_body():
    lr = js.linear(1.0, 0.0, 10)
    rules = [("bn/**", "head"), ("**", "body")]
    tx = js.sgd(lr=lr, rules=rules, groups={"body": dict(lr=0.1 * lr)})
    updates, _ = step(tx)
    np.testing.assert_allclose(updates["bn"]["scale"], -1.0)
    np.testing.assert_allclose(updates["conv"]["kernel"], -0.1, rtol=1e-7)


@pytest.mark.parametrize("around", [lambda tx: tx, js.flatten_groups])
def test_a_frozen_group_does_not_move_and_has_no_slots(around):
    tx = around(js.adam(lr=1.0, groups={"weight": None}))
    updates, state = step(tx)
    np.testing.assert_array_equal(updates["conv"]["kernel"], 0.0)
    assert np.all(updates["conv"]["bias"] < 0)
    slots = js.transforms.unflatten_groups(state).slots["exp_avg"]
    assert isinstance(slots["conv"]["kernel"], optax.MaskedNode)
    assert slots["conv"]["bias"].shape == (2,)


@pytest.mark.parametrize("around", [lambda tx: tx, js.flatten_groups])
def test_a_group_that_thaws_starts_its_slots_and_the_others_keep_theirs(around):
    frozen, thawed = (around(js.adam(groups=groups)) for groups in ({"weight": None}, {}))
    state = step(frozen)[1]
    there = js.carry_over(state, thawed.init(PARAMS))
    slots = js.transforms.unflatten_groups(there).slots["exp_avg"]
    assert not slots["conv"]["kernel"].any()
    assert slots["conv"]["bias"].all()
    assert np.all(step(thawed, there)[0]["conv"]["kernel"] < 0)
    back = js.carry_over(there, frozen.init(PARAMS))
    chex.assert_trees_all_equal(back.slots, state.slots)


@pytest.mark.parametrize("optimizer", [js.adam, js.nadam])  # nadam keeps a product by group too
def test_a_group_that_thaws_moves_as_with_a_fresh_optimizer_and_the_others_go_on(optimizer):
    """Corrected by the count of the others, whose moments are old, Adam's first step of it would be 0.4 of a fresh one
    after 20 updates and 3 of it after thousands."""
    rules = [("bn/**", "head"), ("conv/**", "body")]
    frozen = optimizer(lr=0.1, rules=rules, groups={"body": None})
    thawed, fresh = optimizer(lr=0.1, rules=rules), optimizer(lr=0.1)
    update, go_on, start = (jax.jit(tx.update) for tx in (frozen, thawed, fresh))
    state, new = frozen.init(PARAMS), fresh.init(PARAMS)
    for _ in range(20):
        _, state = update(ONES, state, PARAMS)
    there = js.carry_over(state, thawed.init(PARAMS))
    for _ in range(3):
        before, state = update(ONES, state, PARAMS)
        first, new = start(ONES, new, PARAMS)
        found, there = go_on(ONES, there, PARAMS)
        chex.assert_trees_all_close(found["conv"], first["conv"], rtol=1e-6)
        chex.assert_trees_all_close(found["bn"], before["bn"], rtol=1e-6)


def test_a_group_that_is_renamed_goes_on_though_another_thaws():
    old = js.adam(rules=[("bn/**", "head"), ("**", "body")], groups={"body": None})
    both = js.adam(rules=[("**", "all")])
    state = step(old, step(old)[1])[1]
    there = js.carry_over(state, both.init(PARAMS))
    assert not jnp.ndim(there.bias_offset)
    chex.assert_trees_all_equal(there.slots["exp_avg"]["bn"], state.slots["exp_avg"]["bn"])
    swapped = js.adam(rules=[("bn/**", "head"), ("**", "body")], groups={"head": None})
    there = js.carry_over(state, swapped.init(PARAMS))
    np.testing.assert_array_equal(there.bias_offset, [-2])


def test_a_renamed_parameter_is_not_carried_over():
    tx = js.sgd(momentum=0.9)
    old, new = ({"layer": {name: jnp.ones(2)}} for name in ("kernel", "weight"))
    with pytest.raises(
        ValueError, match=r"momentum has 'layer/kernel' only in old_state and 'layer/weight' only in new"
    ):
        js.carry_over(tx.init(old), tx.init(new))


def test_schedules_are_read_at_the_count_or_at_an_explicit_step():
    tx = js.sgd(lr=js.table([1.0, 2.0, 3.0, 4.0]))
    updates, state = step(tx)
    assert float(updates["bn"]["scale"][0]) == -1.0
    updates, state = step(tx, state)
    assert float(updates["bn"]["scale"][0]) == -2.0
    assert float(js.hyperparams(state)["norm"]["lr"]) == 2.0
    updates, state = step(tx, state, step=3)
    assert float(updates["bn"]["scale"][0]) == -4.0
    assert int(state.count) == 3


def test_any_optax_schedule_is_a_hyperparameter():
    updates, _ = step(js.sgd(lr=optax.linear_schedule(0.5, 0.0, 10), momentum=optax.constant_schedule(0.9)))
    np.testing.assert_allclose(updates["bn"]["scale"], -0.5)


def test_one_compilation_for_many_values():
    traces = 0

    @jax.jit
    def train(lr, decay, params):
        nonlocal traces
        traces += 1
        tx = js.sgd(lr=lr, momentum=0.9, groups={"weight": dict(weight_decay=decay)})
        updates, _ = tx.update(ONES, tx.init(params), params)
        return updates["bn"]["scale"][0]

    for peak in (0.1, 0.2, 0.3):
        got = train(js.warmup(js.cosine(peak, 100), 10, start=peak), 5e-4 * peak, PARAMS)
        np.testing.assert_allclose(got, -peak, rtol=1e-7)
    assert traces == 1


def test_an_average_takes_one_minus_beta_to_the_last_digit():
    """As far as the host knows beta; 1 minus the float32 next to 0.9999 is off by 1.6e-4 of itself."""
    exact, rounded = np.float32(1 - 0.9999), 1 - np.float32(0.9999)
    assert exact != rounded
    changing = js.linear(0.9999, 0.9999, 10)

    def taken(beta, **groups):
        """By group what the average of squares, 0 at first, has after a gradient of 1."""
        tx = js.adam(betas=(0.9, beta), groups={name: dict(betas=(0.9, other)) for name, other in groups.items()})
        state = tx.update(ONES, tx.init(PARAMS), PARAMS)[1]
        assert all(group["betas"][1] == np.float32(0.9999) for group in js.hyperparams(state).values())
        squares = state.slots["exp_avg_sq"]
        return {"weight": squares["conv"]["kernel"], "norm": squares["bn"]["scale"], "bias": squares["bn"]["bias"]}

    for got, expected in (
        (taken(0.9999), dict(weight=exact, norm=exact, bias=exact)),
        (taken(changing), dict(weight=rounded, norm=rounded, bias=rounded)),
        (taken(0.9999, norm=changing, bias=jnp.float32(0.9999)), dict(weight=exact, norm=rounded, bias=rounded)),
    ):
        for group, square in got.items():
            np.testing.assert_array_equal(square, np.full_like(square, expected[group]), err_msg=group)


def test_a_sweep_is_a_vmap():
    peaks = [0.1, 0.2]
    lrs = js.stack([js.cosine(peak, 100) for peak in peaks])

    def first(lr):
        tx = js.adamw(lr=lr)
        return tx.update(ONES, tx.init(PARAMS), PARAMS)[0]["bn"]["scale"][0]

    np.testing.assert_allclose(jax.vmap(first)(lrs), [first(js.cosine(p, 100)) for p in peaks], rtol=1e-6)


def test_the_state_has_the_same_paths_whatever_the_groups():
    by_role = js.sgd(momentum=0.9).init(PARAMS)
    by_path = js.sgd(momentum=0.9, rules=[("bn/**", "a"), ("conv/kernel", "b"), ("**", "c")]).init(PARAMS)
    chex.assert_trees_all_equal_structs(by_role.slots, by_path.slots)
    assert by_role.slots["momentum"]["conv"]["kernel"].shape == (2, 2)


def test_half_precision_parameters_keep_float32_slots_and_get_their_own_dtype_back():
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    updates, state = step(js.adam(lr=1e-3), params=params, gradients=params)
    chex.assert_type(jax.tree.leaves(updates), jnp.bfloat16)
    chex.assert_type(jax.tree.leaves(state.slots), jnp.float32)
    chex.assert_type(jax.tree.leaves(state.hyperparams), jnp.float32)


def test_the_count_saturates():
    tx = js.sgd(lr=0.1)
    state = tx.init(PARAMS)._replace(count=jnp.int32(2**31 - 1))
    assert int(step(tx, state)[1].count) == 2**31 - 1


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.LayerNorm()(x))


def nested_states():
    """Wherever people keep an optimizer's state, after one update."""
    tx = js.sgd(lr=js.linear(1.0, 0.0, 4), momentum=0.9)
    chain = optax.chain(optax.clip_by_global_norm(1.0), tx)
    yield "bare", step(tx)[1]
    yield "chain", step(chain)[1]
    yield "MultiSteps", step(optax.MultiSteps(chain, 1))[1]
    yield "accumulate", step(js.accumulate(chain, 1))[1]
    yield "apply_if_finite", step(optax.apply_if_finite(chain, 3))[1]
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, chain, wrt=nnx.Param)
    optimizer.update(model, nnx.grad(lambda m: m(jnp.ones((1, 2))).sum())(model))
    yield "nnx.Optimizer", optimizer
    linen = Linen()
    params = linen.init(jax.random.key(0), jnp.ones((1, 2)))["params"]
    state = TrainState.create(apply_fn=linen.apply, params=params, tx=chain)
    yield "TrainState", state.apply_gradients(grads=params)
    module = eqx.nn.Linear(2, 2, key=jax.random.key(0))
    weights = eqx.filter(module, eqx.is_inexact_array)
    yield "equinox", chain.update(weights, chain.init(weights), weights)[1]


def test_hyperparams_are_found_wherever_the_state_is_nested():
    for name, state in nested_states():
        read = js.hyperparams(state)
        assert float(read["weight"]["lr"]) == 1.0, name
        assert float(read["weight"]["momentum"]) == pytest.approx(0.9), name


def test_nnx_optimizer_in_jit_follows_the_bare_transformation():
    tx = js.adamw(lr=js.linear(1e-2, 0.0, 5), groups={"bias": dict(weight_decay=0.0)})
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    state = tx.init(params)

    def loss(m, x):
        return jnp.square(m(x)).sum()

    @nnx.jit
    def train(model, optimizer, x):
        optimizer.update(model, nnx.grad(loss)(model, x))

    graph, _ = nnx.split(model)
    for i in range(3):
        x = jnp.arange(3.0).reshape(1, 3) + i
        train(model, optimizer, x)
        gradients = jax.grad(lambda p, x: loss(nnx.merge(graph, p), x))(params, x)
        updates, state = tx.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    chex.assert_trees_all_close(
        nnx.to_pure_dict(nnx.state(model, nnx.Param)), params, atol=2e-7
    )  # jit against eager: ulps
    assert float(js.hyperparams(optimizer)["weight"]["lr"]) == pytest.approx(1e-2 * 3 / 5)


def test_two_optimizers_read_as_one_unless_their_groups_have_one_name():
    labels = js.groups.labels(PARAMS)
    rules = {g: [("**", g)] for g in ("weight", "norm", "bias")}
    tx = optax.partition({g: js.sgd(lr=0.1, rules=rules[g]) for g in rules}, labels)
    assert set(js.hyperparams(tx.init(PARAMS))) == {"weight", "norm", "bias"}
    twice = optax.chain(js.sgd(lr=0.1), js.sgd(lr=0.1))
    with pytest.raises(ValueError, match="two optimizers have a 'dampening' in a group named 'bias'"):
        js.hyperparams(twice.init(PARAMS))


def test_nothing_to_read_is_an_error():
    with pytest.raises(ValueError, match="no optimizer state of jaxsched"):
        js.hyperparams(optax.sgd(0.1).init(PARAMS))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.sgd(lr=-0.1), r"sgd: lr must be >= 0, got -0.1"),
        (lambda: js.sgd(momentum=-1), r"sgd: momentum must be >= 0, got -1"),
        (lambda: js.adam(betas=(1.0, 0.9)), r"adam: betas\[0\] must be in \[0, 1\), got 1.0"),
        (lambda: js.sgd(nesterov=True), "nesterov needs a momentum"),
        (lambda: js.sgd(groups={"biass": {}}), r"'biass'.*did you mean 'bias'"),
        (lambda: js.sgd(groups={"bias": {"weight_decy": 0}}), r"'weight_decy'.*did you mean 'weight_decay'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_text_is_no_hyperparameter():
    with pytest.raises(TypeError, match="lr must be a number"):
        js.sgd(lr="0.1")


def test_a_group_that_is_named_but_empty_is_an_error():
    with pytest.raises(ValueError, match="norm"):
        js.sgd(groups={"norm": dict(lr=0.1)}).init({"kernel": jnp.ones(2)})


def test_integer_parameters_are_refused_by_name():
    with pytest.raises(TypeError, match="'table' is int32"):
        js.sgd().init({"table": jnp.arange(3)})


def test_update_without_parameters_says_what_to_pass():
    tx = js.sgd(lr=0.1)
    with pytest.raises(ValueError, match="needs the parameters"):
        tx.update(ONES, tx.init(PARAMS))


@pytest.mark.parametrize(
    "other",
    [
        js.sgd(lr=0.1, momentum=0.9, rules=[("**", "all")]),
        js.sgd(lr=0.1, momentum=0.9, groups={"bias": None}),
        js.sgd(lr=0.1),
        js.adam(),
    ],
    ids=["groups", "frozen", "no momentum", "adam"],
)
def test_a_state_of_another_optimizer_is_refused(other):
    with pytest.raises(ValueError, match=r"sgd: the state is of another optimizer.*js\.carry_over"):
        step(js.sgd(lr=0.1, momentum=0.9), other.init(PARAMS))


def test_what_is_no_state_is_refused():
    for wrong in (PARAMS, optax.sgd(0.1).init(PARAMS)):
        with pytest.raises(TypeError, match="the state must be what init returned"):
            step(js.sgd(lr=0.1), wrong)


def test_a_transformation_can_be_copied():
    """As a dataclass or config that holds one is."""
    tx = copy.deepcopy(js.sgd(lr=js.linear(1.0, 0.0, 10), momentum=0.9, groups={"bias": dict(lr=0.1)}))
    chex.assert_trees_all_equal(step(tx)[0]["conv"]["bias"], jnp.full(2, -0.1))


@pytest.mark.parametrize("tx", [js.lamb(), js.clip_norm(1.0), js.transforms.clip_each_norm(1.0)])
def test_numbers_of_python_are_parameters(tx):
    params = {"scale": 2.0}
    updates, _ = tx.update(params, tx.init(params), params)
    assert np.isfinite(updates["scale"])
