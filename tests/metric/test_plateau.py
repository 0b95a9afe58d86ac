"""Plateau: worked by hand, wherever the optimizer's state may be, inside and outside jit."""

import pickle

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import jaxsched as js

PARAMS = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}


def reported(metrics, base=1.0, **settings):
    """The value after each report."""
    state = js.sgd(lr=js.plateau(base, **settings)).init(PARAMS)
    values = []
    for metric in metrics:
        state = js.report_metric(state, metric)
        values.append(float(lr_state(state).value))
    return values


def lr_state(opt_state, group="weight"):
    return js.metric_state(opt_state)[group]["lr"]


def test_the_report_after_patience_is_spent_reduces():
    assert reported([5, 5, 5, 5, 5, 5], factor=0.5, patience=1) == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert reported([5, 4, 3, 3, 2, 2], factor=0.5, patience=0) == [1, 1, 1, 0.5, 0.5, 0.25]


def test_with_a_relative_threshold_of_1_no_report_is_better():
    """In torch the best is infinite at first, and infinity * (1 - 1) is NaN."""
    assert reported([5, 4, 3], factor=0.5, patience=0, threshold=1.0) == [0.5, 0.25, 0.125]


def test_bad_reports_in_a_cooldown_are_not_counted():
    assert reported([5] * 8, factor=0.5, patience=0, cooldown=2) == [1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_an_improvement_in_a_cooldown_is_remembered():
    state = js.sgd(lr=js.plateau(1.0, patience=0, cooldown=3)).init(PARAMS)
    for metric in (5.0, 5.0, 2.0):
        state = js.report_metric(state, metric)
    assert (float(lr_state(state).best), int(lr_state(state).cooldown), int(lr_state(state).bad)) == (2.0, 2, 0)


def test_the_floor_and_the_least_change():
    assert reported([1] * 4, factor=0.5, patience=0, floor=0.4) == pytest.approx([1, 0.5, 0.4, 0.4])
    assert reported([1] * 3, base=0.25, factor=0.5, patience=0, floor=0.5) == [0.25] * 3, "never raised"
    assert reported([1] * 3, factor=0.5, patience=0, least_change=0.5) == [1, 1, 1], "lower by no more than that"


@pytest.mark.parametrize(
    ("better", "worse", "settings"),
    [
        (0.9, 1.0, {}),
        (0.5, 0.8, dict(threshold=0.25)),
        (0.5, 0.8, dict(threshold=0.25, relative=False)),
        (1.1, 1.0, dict(maximize=True)),
        (1.5, 1.2, dict(maximize=True, threshold=0.25)),
        (1.5, 1.2, dict(maximize=True, threshold=0.25, relative=False)),
        (0.5, np.nan, {}),
        (-np.inf, np.inf, {}),
    ],
)
def test_what_is_better(better, worse, settings):
    assert reported([1.0, better], patience=0, factor=0.5, **settings)[-1] == 1.0
    assert reported([1.0, worse], patience=0, factor=0.5, **settings)[-1] == 0.5


def test_reports_before_since_and_from_until_on_are_not_looked_at():
    settings = dict(factor=0.5, patience=0)
    assert reported([1, 1, 1, 1], since=2, **settings) == [1, 1, 1, 0.5]
    assert reported([1, 1, 1, 1], until=3, **settings) == [1, 0.5, 0.25, 0.25]
    # timm, 2 epochs of warm-up: it looks at epochs 3, 4, ... and not at what came before
    assert reported([0, 9, 5, 5, 5], since=2, **settings) == [1, 1, 1, 0.5, 0.25]


def test_the_next_update_uses_it_and_groups_have_their_own():
    tx = js.sgd(lr=js.plateau(1.0, 0.5, 0), groups={"bias": dict(lr=js.plateau(0.1, 0.5, 0, floor=0.08))})
    state = tx.init(PARAMS)
    for lr, bias_lr in ((1.0, 0.1), (1.0, 0.1), (0.5, 0.08), (0.25, 0.08)):
        updates, state = tx.update(PARAMS, state, PARAMS)
        np.testing.assert_allclose(updates["kernel"], -lr)
        np.testing.assert_allclose(updates["bias"], -bias_lr)
        assert float(js.hyperparams(state)["bias"]["lr"]) == pytest.approx(bias_lr)
        state = js.report_metric(state, 7.0)


def test_other_schedules_go_around_it():
    lr = js.warmup(js.plateau(1.0, 0.5, 0), steps=4) * js.linear(1.0, 0.0, 10)
    tx = js.adam(lr=lr, betas=(js.plateau(0.9, 0.5, 0), 0.999))
    state = tx.init(PARAMS)
    for _ in range(2):
        state = js.report_metric(state, 1.0)
    for step in range(6):
        _, state = tx.update(PARAMS, state, PARAMS)
        used = js.hyperparams(state)["weight"]
        assert float(used["lr"]) == pytest.approx(0.5 * min(step / 4, 1) * (1 - step / 10))
        assert float(used["betas"][0]) == pytest.approx(0.45)


def test_as_a_schedule_it_is_its_base():
    lr = js.plateau(0.1, patience=3)
    assert repr(lr).startswith("plateau(base=0.1, factor=0.1, patience=3")
    assert lr == pickle.loads(pickle.dumps(lr)) == js.plateau(0.1, patience=3)
    curve = js.curves(js.Recipe("sgd", dict(lr=js.warmup(lr, 2)), steps=4))["weight"]["lr"]
    np.testing.assert_allclose(curve, [0.0, 0.05, 0.1, 0.1], rtol=1e-7)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(x)


def nested_states():
    tx = js.sgd(lr=js.plateau(1.0, 0.5, 0), momentum=0.9)
    chain = optax.chain(optax.clip_by_global_norm(1.0), tx)
    for name, wrapped in {
        "bare": tx,
        "chain": chain,
        "MultiSteps": optax.MultiSteps(chain, 2),
        "accumulate": js.accumulate(chain, 2),
        "recipe": js.Recipe("sgd", dict(lr=js.plateau(1.0, 0.5, 0)), clip_norm=1.0, ema=0.9).build(),
    }.items():
        yield name, wrapped.init(PARAMS), lambda s, tx=wrapped: tx.update(PARAMS, s, PARAMS)[1]
    params = Linen().init(jax.random.key(0), jnp.ones((1, 2)))["params"]
    state = TrainState.create(apply_fn=Linen().apply, params=params, tx=chain)
    yield "TrainState", state, lambda s: s.apply_gradients(grads=params)
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    gradients = nnx.grad(lambda m: m(jnp.ones((1, 2))).sum())(model)

    def update(optimizer):
        optimizer.update(model, gradients)
        return optimizer

    yield "nnx.Optimizer", nnx.Optimizer(model, chain, wrt=nnx.Param), update


@pytest.mark.parametrize("nested", list(nested_states()), ids=lambda nested: nested[0])
def test_reports_reach_it_wherever_the_state_is(nested):
    _, state, update = nested
    for metric in (1.0, 2.0):
        state = js.report_metric(state, metric)
    state = update(update(state))
    assert float(js.hyperparams(state)["weight"]["lr"]) == 0.5
    assert float(lr_state(state).best) == 1.0


def test_nnx_inside_jit():
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, js.sgd(lr=js.plateau(1.0, 0.5, 0)), wrt=nnx.Param)

    @nnx.jit
    def epoch(model, optimizer, metric):
        optimizer.update(model, nnx.grad(lambda m: m(jnp.ones((1, 2))).sum())(model))
        js.report_metric(optimizer, metric)

    for _ in range(3):
        epoch(model, optimizer, 1.0)
    assert float(lr_state(optimizer).value) == 0.25
    assert float(js.hyperparams(optimizer)["weight"]["lr"]) == 0.5


def test_reports_in_a_scan_and_a_sweep_in_a_vmap():
    metrics = jnp.asarray([3.0, 2.0, 2.0, 2.0, 1.0, 1.0])

    def run(lr, metrics):
        tx = js.sgd(lr=lr)

        def epoch(state, metric):
            _, state = tx.update(PARAMS, state, PARAMS)
            return js.report_metric(state, metric), lr_state(state).value

        return jax.lax.scan(epoch, tx.init(PARAMS), metrics)[1]

    by_hand = np.asarray([1, 1, 1, 0.5, 0.25, 0.25])
    np.testing.assert_array_equal(jax.jit(run)(js.plateau(1.0, 0.5, 0), metrics), by_hand)
    lrs = js.stack([js.plateau(base, 0.5, 0) for base in (1.0, 4.0)])
    swept = jax.vmap(run, in_axes=(0, None))(lrs, metrics)
    np.testing.assert_array_equal(swept, np.outer([1.0, 4.0], by_hand))


def test_a_restored_state_goes_on_with_the_settings_of_the_definition():
    before = js.sgd(lr=js.plateau(1.0, 0.5, patience=1))
    state = js.report_metric(js.report_metric(before.init(PARAMS), 1.0), 1.0)
    state = jax.tree.unflatten(jax.tree.structure(state), [np.asarray(x) for x in jax.tree.leaves(state)])
    after = js.sgd(lr=js.plateau(1.0, 0.25, patience=1))
    _, state = after.update(PARAMS, state, PARAMS)
    assert float(lr_state(js.report_metric(state, 1.0)).value) == 0.25


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.plateau(0.1, factor=1.0), "plateau: factor must be below 1, got 1.0"),
        (lambda: js.plateau(0.1, patience=-1), "plateau: patience must be a whole number >= 0, got -1"),
        (lambda: js.plateau(0.1, cooldown=1.5), "plateau: cooldown must be a whole number >= 0, got 1.5"),
        (lambda: js.sgd(lr=js.plateau(1.0) * js.plateau(0.1)), "lr holds 2 schedules that follow a metric"),
        (lambda: js.report_metric(js.sgd(lr=0.1).init(PARAMS), 1.0), "no hyperparameter in OptimizerState is a plat"),
        (lambda: js.report_metric(js.sgd(lr=js.plateau(0.1)).init(PARAMS), [1.0, 2.0]), "must be one number"),
        (lambda: js.sgd(lr=js.plateau(0.1)).update(PARAMS, js.sgd(lr=0.1).init(PARAMS), PARAMS), "made by another"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("metric", ["0.5", None])
def test_a_metric_that_is_no_number_is_refused(metric):
    state = js.sgd(lr=js.plateau(0.1)).init({"w": 1.0})
    with pytest.raises(TypeError, match="the metric must be a number"):
        js.report_metric(state, metric)


@pytest.mark.parametrize("make", [js.plateau, js.metric.greedy])
def test_a_fresh_state_can_be_donated(make):
    base = jnp.asarray(0.5)
    tx = js.sgd(lr=make(base, factor=0.5))
    params = {"kernel": jnp.ones(2)}
    state = tx.init(params)
    leaves = jax.tree.leaves(js.metric_state(state))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
    jax.jit(lambda state: tx.update(params, state, params), donate_argnums=0)(state)
    assert float(base) == 0.5


@pytest.mark.parametrize("lr", [js.plateau(0.1, patience=0), js.metric.greedy(0.1, patience=0, restart=1, floor=0.1)])
@pytest.mark.parametrize("maximize", [False, True])
def test_nothing_is_infinite(lr, maximize):
    tx = js.sgd(lr.replace(maximize=maximize))
    with jax.debug_infs(True), jax.debug_nans(True):
        state = js.report_metric(tx.init(PARAMS), 1.0)
        _, state = jax.jit(tx.update)(PARAMS, state, PARAMS)
        js.report_metric(state, 1.0)


@pytest.mark.parametrize("first", [-3e38, 0.0, 3e38])
@pytest.mark.parametrize("maximize", [False, True])
def test_the_first_metric_is_better_than_none(first, maximize):
    state = js.sgd(js.plateau(0.1, maximize=maximize)).init(PARAMS)
    assert int(lr_state(js.report_metric(state, first)).bad) == 0
    for never in (jnp.nan, -jnp.inf if maximize else jnp.inf):
        assert int(lr_state(js.report_metric(state, never)).bad) == 1
