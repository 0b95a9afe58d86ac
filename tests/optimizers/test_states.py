"""What is promised of every state: of optimizers, of what is around them, of recipes."""

import chex
import equinox as eqx
import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxsched as js

PARAMS = {"conv": {"kernel": jnp.array([[-1.0, 1.0], [0.5, 2.0]])}, "bn": {"scale": jnp.array([[0.3], [-0.2]])}}
GRADIENTS = jax.tree.map(lambda p: 0.1 * p + 0.05, PARAMS)
MADE = {
    "plain": lambda: js.adamw(),
    "plateau": lambda: js.sgd(js.plateau(0.1), momentum=0.9),
    "greedy": lambda: js.sgd(js.metric.greedy(0.1, window=3)),
    "lbfgs": lambda: js.lbfgs(history_size=3),
    "accumulate": lambda: js.accumulate(js.adam(), 2),
    "flattened": lambda: js.flatten_groups(optax.chain(js.clip_norm(1.0), js.adam(), js.ema(0.9))),
    "accumulate, flattened": lambda: js.accumulate(js.flatten_groups(js.adam()), 2),
    "skip": lambda: js.skip_nonfinite(js.adam()),
    "recipe": lambda: js.Recipe(
        "sgd",
        dict(lr=js.plateau(0.1), momentum=0.9),
        groups={"norm": None},
        clip_norm=1.0,
        clip_value=1.0,
        ema=0.9,
        accumulate=js.Accumulation(2),
    ).build(),
}
made = pytest.mark.parametrize("name", MADE)


def follow(tx, gradients, params=PARAMS, state=None):
    state = tx.init(params) if state is None else state
    for gradient in gradients:
        updates, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@made
def test_a_fresh_state_holds_no_buffer_twice(name):
    leaves = jax.tree.leaves(MADE[name]().init(PARAMS))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


@made
def test_shapes_in_shapes_out(name):
    shapes = jax.eval_shape(lambda: PARAMS)
    found, real = MADE[name]().init(shapes), MADE[name]().init(PARAMS)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(found))
    chex.assert_trees_all_equal_shapes_and_dtypes(found, jax.eval_shape(lambda: real))


@pytest.mark.skipif(not hasattr(nnx, "List"), reason="an nnx.Optimizer of shapes needs Flax 0.12")
def test_shapes_of_an_nnx_model():
    shapes = nnx.eval_shape(lambda: nnx.Linear(2, 2, rngs=nnx.Rngs(0)))
    optimizer = nnx.Optimizer(shapes, js.adam(), wrt=nnx.Param)
    assert all(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(optimizer.opt_state.slots))


@made
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_strict_dtype_promotion(name, dtype):
    params, gradients = jax.tree.map(lambda x: x.astype(dtype), (PARAMS, GRADIENTS))
    extra = {}
    if name == "lbfgs":
        extra = dict(
            value=jnp.zeros((), dtype), grad=gradients, value_fn=lambda p: jnp.square(p["conv"]["kernel"]).sum()
        )
    with jax.numpy_dtype_promotion("strict"):
        tx = MADE[name]()
        jax.eval_shape(lambda: tx.update(gradients, tx.init(params), params, **extra))


@made
def test_hyperparams_are_read_without_a_transfer(name):
    state = MADE[name]().init(PARAMS)
    js.hyperparams(state)  # compiled
    with jax.transfer_guard("disallow"):
        js.hyperparams(state)


@pytest.mark.parametrize("around", [lambda tx: tx, lambda tx: js.accumulate(tx, 1), js.skip_nonfinite])
def test_the_gradient_of_a_frozen_integer_is_float0(around):
    params = {**PARAMS, "table": jnp.arange(3)}
    tx = around(js.adam(rules=[("table", "table"), ("**", "all")], groups={"table": None}))
    gradients = jax.grad(lambda p: jnp.sum(p["conv"]["kernel"] ** 2), allow_int=True)(params)
    assert gradients["table"].dtype == jax.dtypes.float0
    updates, _ = tx.update(gradients, tx.init(params), params)
    assert updates["table"].dtype == jnp.int32
    assert not updates["table"].any()
    assert updates["conv"]["kernel"].any()


# Set by hand


def test_an_override_holds_until_it_is_taken_back():
    tx = js.sgd(lr=js.linear(1.0, 0.0, 10), momentum=js.constant(0.0))
    state = jax.jit(lambda state, lr: js.optimizers.override(state, "norm", lr=lr))(tx.init(PARAMS), 0.25)
    for step in range(2):
        updates, state = jax.jit(tx.update)(GRADIENTS, state, PARAMS)
        read = js.hyperparams(state)
        assert float(read["norm"]["lr"]) == 0.25
        assert float(read["weight"]["lr"]) == pytest.approx(1 - step / 10)
        np.testing.assert_allclose(updates["bn"]["scale"], -0.25 * GRADIENTS["bn"]["scale"], rtol=1e-6)
    state = js.optimizers.override(state, lr=None)
    _, state = tx.update(GRADIENTS, state, PARAMS)
    assert float(js.hyperparams(state)["norm"]["lr"]) == pytest.approx(0.8)


def test_an_override_under_debug_nans():
    tx = js.sgd(lr=0.5)
    with jax.debug_nans(True), jax.debug_infs(True):
        state = jax.jit(lambda state: js.optimizers.override(state, "norm", lr=0.25))(tx.init(PARAMS))
        updates, state = jax.jit(tx.update)(GRADIENTS, state, PARAMS)
    np.testing.assert_allclose(updates["bn"]["scale"], -0.25 * GRADIENTS["bn"]["scale"])
    np.testing.assert_allclose(updates["conv"]["kernel"], -0.5 * GRADIENTS["conv"]["kernel"])


def test_an_override_of_what_was_the_number_0():
    state = js.optimizers.override(js.adamw(weight_decay=0.0).init(PARAMS), weight_decay=0.1)
    expected = follow(js.adamw(weight_decay=0.1), [GRADIENTS] * 2)[0]
    chex.assert_trees_all_close(follow(js.adamw(weight_decay=0.0), [GRADIENTS] * 2, state=state)[0], expected)
    state = js.optimizers.override(js.sgd().init(PARAMS), momentum=0.9)
    with pytest.raises(ValueError, match=r"sgd: momentum cannot be overridden.*no slot 'momentum'.*js.constant"):
        js.sgd().update(GRADIENTS, state, PARAMS)


def test_an_override_of_betas_goes_on_in_a_changed_optimizer():
    tx, changed = js.adam(), js.adam(rules=[("**", "all")])
    state = js.optimizers.override(tx.init(PARAMS), betas=(0.5, None))
    _, state = tx.update(GRADIENTS, state, PARAMS)
    read = js.hyperparams(state)["weight"]["betas"]
    assert (float(read[0]), float(read[1])) == (0.5, np.float32(0.999))
    carried = js.carry_over(state, tx.init(PARAMS))
    chex.assert_trees_all_equal(carried.overrides, state.overrides)
    carried = js.carry_over(state, changed.init(PARAMS))
    _, carried = changed.update(GRADIENTS, carried, PARAMS)
    assert float(js.hyperparams(carried)["all"]["betas"][0]) == np.float32(0.9)  # of a new group, which has none


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda state: js.optimizers.override(state, "norms", lr=1.0), "no group 'norms'.*did you mean 'norm'"),
        (lambda state: js.optimizers.override(state, l=1.0), "no hyperparameter 'l'"),
        (lambda state: js.optimizers.override(state, lr=jnp.ones(2)), "lr must be one number or None"),
        (lambda state: js.optimizers.override(state, lr="1"), "lr must be one number or None"),
        (lambda state: js.optimizers.override(state, lr=float("nan")), "lr must be finite, got nan"),
        (lambda state: js.optimizers.override(state, lr=jnp.asarray(jnp.nan)), "lr must be finite, got nan"),
        (lambda state: js.optimizers.override(state, betas=0.9), "betas must be a tuple of 2 numbers"),
        (lambda state: js.optimizers.override({}, lr=1.0), "no optimizer state"),
    ],
)
def test_what_cannot_be_overridden(call, message):
    with pytest.raises((TypeError, ValueError), match=f"override: .*{message}"):
        call(js.adam().init(PARAMS))


def test_the_report_cannot_be_set():
    tx = js.sgd(lr=0.1)
    for state in (optax.tree.set(tx.init(PARAMS), lr=0.0), tx.init(PARAMS)):
        state.hyperparams["lr"] = 0
        with pytest.raises(ValueError, match=r"sgd: state.hyperparams was changed.*js.optimizers.override"):
            tx.update(GRADIENTS, state, PARAMS)


# Two optimizers


def test_the_learning_rate_of_optax_is_named_where_lr_is_asked_for():
    tx = js.optimizers.grouped(optax.sgd, learning_rate=0.1)
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"override: there is no hyperparameter 'lr'.*did you mean 'learning_rate'"):
        js.optimizers.override(state, lr=0.2)
    changed = state._replace(hyperparams={**state.hyperparams, "learning_rate": 0.2})
    with pytest.raises(ValueError, match=r"js.optimizers.override\(state, learning_rate=...\)"):
        tx.update(GRADIENTS, changed, PARAMS)


@pytest.mark.parametrize("read", [js.hyperparams, js.metric_state])
def test_of_two_optimizers_with_one_name_of_a_group_one_is_asked_for(read):
    tx = optax.chain(js.sgd(js.plateau(0.1)), js.sgd(js.plateau(0.2)))
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=rf"named 'bias'.*js.{read.__name__}\(opt_state\[0\]"):
        read(state)
    assert set(read(state[0])) == set(read(state[1])) == {"weight", "norm", "bias"}


# What is no parameter, no state


def test_linen_variables_as_a_whole_are_refused():
    variables = {"params": PARAMS, "batch_stats": {"bn": {"mean": jnp.ones(2), "var": jnp.ones(2)}}}
    for call in (js.adam().init, js.groups.labels, js.Recipe("adam").build().init):
        with pytest.raises(TypeError, match=r"holds 'batch_stats' beside 'params'.*variables\['params'\]"):
            call(variables)
    js.adam().init({"params": PARAMS})


@pytest.mark.parametrize("tx", [js.adam, lambda **groups: js.optimizers.grouped(optax.adam, learning_rate=1, **groups)])
@pytest.mark.parametrize(
    "statistic",
    [{"running_var": jnp.ones(2)}, {"moving_mean": jnp.ones(2)}, {"~": {"mean_ema": {"average": jnp.ones(2)}}}],
    ids=["torch", "keras", "haiku"],
)
def test_running_statistics_are_refused_unless_they_are_frozen(tx, statistic):
    params = {**PARAMS, "norm": statistic}
    with pytest.raises(TypeError, match=r"adam: 'norm/.*' is a running statistic by its name.*freeze its group"):
        tx().init(params)
    tx(rules=[("norm/**", "statistics"), ("**", "rest")], groups={"statistics": None}).init(params)


def test_a_variable_of_a_users_own_kind_is_trained():
    class Scale(nnx.Variable):
        pass

    class Model(nnx.Module):
        def __init__(self):
            self.scale = Scale(jnp.ones(2))

    model = Model()
    optimizer = nnx.Optimizer(model, js.sgd(lr=0.5), wrt=Scale)
    optimizer.update(model, nnx.grad(lambda m: m.scale[...].sum(), argnums=nnx.DiffState(0, Scale))(model))
    np.testing.assert_allclose(model.scale[...], 0.5)
    norm = nnx.BatchNorm(2, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="is an NNX BatchStat, not a parameter"):
        js.sgd().init(nnx.state(norm))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: js.adam().init(eqx.nn.MLP(2, 2, 4, 1, key=jax.random.key(0))),
            r"adam: 'activation' is not an array but .*eqx.filter",
        ),
        (lambda: js.adam().init({"w": jnp.ones(2), "f": jnp.tanh}), r"adam: 'f' is not an array but"),
        (
            lambda: js.adam().update(GRADIENTS, js.adam().init(PARAMS)._asdict(), PARAMS),
            r"adam: the state must be what init returned, got dict: restore a checkpoint",
        ),
        *(
            (
                lambda tx=tx: tx.update(GRADIENTS, tx.init(PARAMS)._asdict(), PARAMS),
                f"{name}: the state must .* got dict",
            )
            for name, tx in {
                "accumulate": js.accumulate(js.sgd(), 2),
                "ema": js.ema(0.5),
                "skip_nonfinite": js.skip_nonfinite(js.sgd()),
                "clip_norm": js.clip_norm(1.0),
            }.items()
        ),
        (
            lambda: js.carry_over(js.adam().init(PARAMS)._asdict(), js.adam().init(PARAMS)),
            r"carry_over: old_state, a dict, is not nested as new_state is; restore",
        ),
        (
            lambda: js.Recipe("sgd", clip_norm=1.0).build().update(GRADIENTS, js.sgd().init(PARAMS), PARAMS),
            r"recipe: the state must be what build\(\).init\(params\) returned, a tuple of 2, got OptimizerState",
        ),
        (lambda: js.sgd(lr=np.array([10.0])), r"sgd: lr must be one number, got an array of shape \(1,\)"),
        (lambda: js.sgd(lr=lambda step: jnp.ones(2)), r"sgd: lr must give one number for a step"),
        (lambda: js.lbfgs(lr=jnp.ones(2)), r"lbfgs: lr must be one number, got an array of shape \(2,\)"),
        (lambda: js.lbfgs(lr=lambda step: jnp.ones(2)), r"lbfgs: lr must give one number for a step"),
        (lambda: js.sgd(lr=js.stack([js.constant(0.1)] * 2)).init(PARAMS), r"sgd: lr must be one number at each step"),
        (lambda: js.adam(betas=(0.9, jnp.ones(2))), r"adam: betas\[1\] must be one number"),
        (lambda: js.sgd(lr=js.ports.torch.StepLR(30)), r"sgd: lr .*call it with the base lr first"),
        (lambda: js.clip_norm(js.ports.torch.StepLR(30)), r"clip_norm: max_norm .*call it with the base lr first"),
    ],
)
def test_errors_that_say_what_to_do(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize("tx", [js.adam(), js.optimizers.grouped(optax.adam, learning_rate=0.1)], ids=["ours", "optax"])
@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        (
            {"params": {"w": jnp.ones(3)}},
            "tree like the gradients; 'params/w' only in the gradients and 'w' only in",
        ),
        ({"w": None}, "tree like the gradients; 'w' only in the parameters"),
        (flax.core.freeze({"w": jnp.ones(3)}), "tree like the gradients; they differ in the types of their containers"),
        ({"w": {"w": jnp.ones(3)}}, "tree like the gradients; 'w/w' only in the gradients and 'w' only in"),
        ({"w": jnp.ones((4, 3))}, r"the (gradient|update) of 'w' must have the shape \(3,\), got \(4, 3\)"),
        ({"w": jnp.ones(1)}, r"the gradient of 'w' must have the shape \(3,\), got \(1,\)"),
    ],
)
def test_gradients_unlike_the_parameters_are_refused(tx, gradients, message):
    params = {"w": jnp.ones(3)}
    with pytest.raises(ValueError, match=f"adam: .*{message}"):
        tx.update(gradients, tx.init(params), params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"w": jnp.ones((4, 3))}, r"state.slots\['exp_avg'\] of 'w' must have the shape \(4, 3\), got \(3,\)"),
        ({"v": jnp.ones(3)}, "'v' only in the gradients and 'w' only in state.slots"),
    ],
)
def test_a_state_of_other_parameters_is_refused(params, message):
    with pytest.raises(ValueError, match=f"adam: .*{message}"):
        js.adam().update(params, js.adam().init({"w": jnp.ones(3)}), params)


# Around an optimizer


def test_accumulation_goes_on_where_steps_end():
    tx = js.accumulate(js.sgd(lr=1.0), 2)
    state = tx.init(PARAMS)._replace(count=jnp.int32(2**31 - 3))
    update = jax.jit(tx.update)
    seen = []
    for _ in range(8):
        _, state = update(GRADIENTS, state, PARAMS)
        seen.append(bool(js.did_update(state)))
    assert seen == [False, True] * 4
    assert int(state.count) == 2**31 - 1


def test_the_clock_of_an_accumulation_follows_when_the_count_is_set():
    tx = js.accumulate(js.sgd(lr=js.linear(1.0, 0.0, 10)), 1)
    state = optax.tree.set(tx.init(PARAMS), count=jnp.int32(5))
    _, state = tx.update(GRADIENTS, state, PARAMS)
    assert float(js.hyperparams(state)["weight"]["lr"]) == 0.5


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    "around",
    [
        lambda tx: js.skip_nonfinite(tx),
        lambda tx: js.accumulate(js.skip_nonfinite(tx), 1),
        lambda tx: js.skip_nonfinite(js.accumulate(tx, 1)),
        lambda tx: js.skip_nonfinite(js.flatten_groups(tx)),
        lambda tx: js.flatten_groups(js.skip_nonfinite(tx)),
        lambda tx: js.skip_nonfinite(tx, watch="updates"),
    ],
)
def test_a_gradient_that_is_not_finite_is_skipped_wherever(around, dtype):
    """In parameters of half precision with gradients of float32."""
    params = jax.tree.map(lambda p: p.astype(dtype), PARAMS)
    bad = {**GRADIENTS, "bn": {"scale": jnp.full((2, 1), jnp.nan)}}
    tx = around(js.sgd(lr=0.5, momentum=0.9))
    mine, state = follow(tx, [GRADIENTS, bad, GRADIENTS], params)
    expected, _ = follow(around(js.sgd(lr=0.5, momentum=0.9)), [GRADIENTS, GRADIENTS], params)
    chex.assert_trees_all_equal(mine, expected)
    chex.assert_trees_all_equal_dtypes(mine, params)
    assert int(js.transforms.nonfinite_count(state)) == 1


def test_an_update_that_is_not_finite_is_skipped_where_updates_are_watched():
    tx = js.skip_nonfinite(optax.scale_by_learning_rate(1e30), watch="updates")
    huge = jax.tree.map(lambda p: jnp.full_like(p, 1e20), PARAMS)
    updates, state = tx.update(huge, tx.init(PARAMS), PARAMS)
    assert not any(leaf.any() for leaf in jax.tree.leaves(updates))
    assert int(js.transforms.nonfinite_count(state)) == 1


# Numbers that only a trace knows


@pytest.mark.parametrize(
    ("optimizer", "hyperparameters"),
    [
        ("sgd", dict(momentum=0.9, dampening=0, nesterov=True)),
        ("sgd", dict(form="average", dampening=0.0, momentum=0.9)),
        ("rprop", dict(etas=(0.5, 1.2))),
        ("adafactor", dict(eps=(None, 1e-3))),
        ("lamb", dict(max_grad_norm=2.0)),
        ("adagrad", dict(initial_accumulator_value=0.1)),
        ("muon", dict(ns_steps=4, adjust_lr_fn=None, rules=[("conv/**", "a"), ("**", "b")], groups={"b": None})),
    ],
)
def test_a_recipe_that_builds_also_builds_from_its_traced_and_written_self(optimizer, hyperparameters):
    own = dict(hyperparameters)
    around = {name: own.pop(name) for name in ("rules", "groups") if name in own}
    recipe = js.Recipe(optimizer, {"lr": 0.1, **own}, **around)

    def first(recipe):
        tx = recipe.build()
        return tx.update(GRADIENTS, tx.init(PARAMS), PARAMS)[0]

    stacked = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * 2), recipe)
    expected, written = jax.jit(lambda: (first(recipe), first(js.Recipe.from_json(recipe.to_json()))))()
    traced, swept = jax.jit(lambda one, two: (first(one), jax.vmap(first)(two)))(recipe, stacked)
    for found in (traced, jax.tree.map(lambda x: x[1], swept), written):
        chex.assert_trees_all_close(found, expected, rtol=1e-6)


def test_optax_injects_hyperparameters():
    tx = optax.inject_hyperparams(js.sgd)(lr=0.1, momentum=0.9, nesterov=True)
    plain = js.sgd(lr=0.1, momentum=0.9, nesterov=True)
    chex.assert_trees_all_close(follow(tx, [GRADIENTS] * 3)[0], follow(plain, [GRADIENTS] * 3)[0], rtol=1e-6)
    with pytest.raises(TypeError, match=r"muon: ns_steps must be known when the optimizer is made.*static_args"):
        optax.inject_hyperparams(js.muon)(lr=0.1).init(PARAMS)
    optax.inject_hyperparams(js.muon, static_args=("ns_steps",))(lr=0.1).init(PARAMS)


def test_lamb_takes_no_ratio_of_norms_where_a_scheduled_weight_decay_is_0():
    scheduled, without = (js.lamb(lr=0.1, weight_decay=decay) for decay in (js.constant(0.0), 0.0))
    chex.assert_trees_all_equal(follow(scheduled, [GRADIENTS])[0], follow(without, [GRADIENTS])[0])


def test_the_ratio_of_lars():
    params, gradient = {"kernel": jnp.array([[3.0, 4.0]])}, {"kernel": jnp.array([[0.6, 0.8]])}
    tx = js.lars(lr=0.5, weight_decay=0.1, eta=2.0, eps=0.5)
    updates, _ = tx.update(gradient, tx.init(params), params)
    ratio = 2.0 * 5 / (1 + 0.1 * 5 + 0.5)
    np.testing.assert_allclose(updates["kernel"], [[-ratio * 0.5 * 0.9, -ratio * 0.5 * 1.2]], rtol=1e-6)


def test_the_gradient_of_lamb_at_a_norm_of_zero_is_finite():
    def after(lr):
        tx = js.lamb(lr=lr)
        params = {"kernel": jnp.zeros((2, 2))}
        updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
        updates, _ = tx.update(updates, tx.init(updates), updates)
        return updates["kernel"].sum()

    assert np.isfinite(jax.grad(after)(0.1))


@pytest.mark.parametrize("name", ["adam", "adamw", "adagrad", "rmsprop", "lamb"])
def test_gradients_through_an_update_are_finite_with_eps_root(name):
    def after(scale, **kwargs):
        tx = getattr(js, name)(lr=0.1, **kwargs)
        gradients = jax.tree.map(lambda p: scale * jnp.zeros_like(p), PARAMS)
        updates, _ = tx.update(gradients, tx.init(PARAMS), PARAMS)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(updates))

    assert np.isfinite(jax.grad(after)(1.0, eps_root=1e-8))
    assert np.isnan(jax.grad(after)(1.0))


def test_eps_root_of_adam_is_that_of_optax():
    with jax.enable_x64(True):
        params, gradients = jax.tree.map(lambda p: p.astype(jnp.float64), (PARAMS, GRADIENTS))
        mine, _ = follow(js.adam(lr=0.1, eps_root=1e-2), [gradients] * 3, params)
        theirs, _ = follow(optax.adam(0.1, eps_root=1e-2), [gradients] * 3, params)
        chex.assert_trees_all_close(mine, theirs, rtol=1e-13)
