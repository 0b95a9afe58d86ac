"""Greedy: worked by hand, alone and in company, and as a value."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxsched as js

PARAMS = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
DOUBLING = dict(factor=0.5, patience=0, floor=0.25, ceiling=8.0)


def lr_state(opt_state, group="weight"):
    return js.metric_state(opt_state)[group]["lr"]


@jax.jit
def after(state, metric):
    return js.report_metric(state, metric)


def reported(metrics, base=1.0, **settings):
    """The value after each report."""
    state = js.sgd(lr=js.metric.greedy(base, **{**DOUBLING, **settings})).init(PARAMS)
    values = []
    for metric in metrics:
        state = after(state, metric)
        values.append(float(lr_state(state).value))
    return values


def test_it_rises_after_better_reports_and_falls_after_bad_ones():
    assert reported([5, 4, 3, 3, 4, 2]) == [2, 4, 8, 4, 2, 4]
    assert reported([5, 4, 3, 2, 2, 2], patience=1) == [1, 2, 2, 4, 4, 2], "a change begins the row anew"
    assert reported([5, 4, 6, 4, 3, 2], patience=1) == [1, 2, 2, 1, 1, 2], "of the other kind it breaks the row"


def test_the_bounds_and_the_least_change():
    assert reported([5, 4, 3, 2], ceiling=3.0) == [2, 3, 3, 3]
    assert reported([5, 5, 5, 5, 5], floor=0.75) == [2, 1, 0.75, 0.75, 0.75]
    assert reported([5, 4], base=4.0, ceiling=2.0) == [4, 4], "never lowered to the ceiling"
    assert reported([5, 5, 5], base=0.125, ceiling=0.25, floor=0.25) == [0.25] * 3
    assert reported([5, 4], least_change=1.0) == [1, 1], "higher by no more than that"
    assert reported([5, 5, 5], least_change=1.0, base=4) == [8, 4, 2]


def test_pauses():
    assert reported([5, 4, 3, 2], warmup=2) == [2, 2, 2, 4], "a rise is followed by a pause"
    assert reported([5, 5, 5, 5, 5], cooldown=1) == [2, 1, 1, 0.5, 0.5], "and so is a fall, by its own"
    assert reported([9, 1, 5], warmup=1) == [2, 2, 4], "what is reported in a pause is not remembered"


def test_what_is_better():
    assert reported([4, 3.5, 3], threshold=0.5) == [2, 1, 2]
    assert reported([4, 3, 2], threshold=0.25, relative=True) == [2, 1, 2]
    assert reported([4, 5, 6.5], threshold=0.25, relative=True, maximize=True) == [2, 1, 2]
    assert reported([4, 4.5, 5], threshold=0.5, maximize=True) == [2, 1, 2]
    assert reported([4, np.nan, -np.inf]) == [2, 1, 2]


def test_the_mean_of_a_window():
    state = js.sgd(lr=js.metric.greedy(1.0, window=2, **DOUBLING)).init(PARAMS)
    bests = []
    for metric in (8.0, 4.0, 4.0, 6.0, 0.0):
        state = after(state, metric)
        bests.append(float(lr_state(state).best))
    assert bests == [8, 6, 4, 4, 3]
    np.testing.assert_array_equal(lr_state(state).recent, [6.0, 0.0])


def test_it_restarts_from_the_floor():
    # at the floor from the fourth report on, which is the first of the two reductions there
    assert reported([5] * 7, restart=2) == [2, 1, 0.5, 0.25, 1, 2, 1]
    assert reported([5] * 5, restart=0) == reported([5] * 5, restart=1) == [2, 1, 0.5, 1, 2]
    assert reported([5, 5, 5, 5, 4, 4, 4], restart=3) == [2, 1, 0.5, 0.25, 0.5, 0.25, 0.25], "a rise begins the count"
    assert reported([5] * 8, restart=1, cooldown=1) == [2, 1, 1, 0.5, 0.5, 1, 1, 2], "a restart is paused after, too"


def test_a_window_is_emptied_by_a_restart():
    state = js.sgd(lr=js.metric.greedy(1.0, window=3, restart=1, **DOUBLING)).init(PARAMS)
    for metric in (1.0, np.nan, 1.0, 1.0):
        state = after(state, metric)
    assert (float(lr_state(state).value), int(lr_state(state).held), float(lr_state(state).total)) == (1, 0, 0)
    assert float(lr_state(after(state, 7.0)).best) == 7.0


def test_groups_restart_together_and_plateaus_do_not_care():
    groups = {"bias": dict(lr=js.metric.greedy(4.0, restart=1, **DOUBLING)), "norm": dict(lr=js.plateau(1.0, 0.5, 0))}
    params = {**PARAMS, "norm": {"scale": jnp.ones(1)}}
    tx = js.sgd(
        lr=js.metric.greedy(1.0, restart=1, **DOUBLING),
        groups=groups,
        rules=[("norm/**", "norm"), ("bias", "bias"), ("**", "weight")],
    )
    state, values = tx.init(params), []
    for _ in range(6):
        state = after(state, 1.0)
        values.append([float(lr_state(state, group).value) for group in ("weight", "bias", "norm")])
    assert values == [[2, 8, 1], [1, 4, 0.5], [0.5, 2, 0.25], [0.25, 1, 0.125], [0.25, 0.5, 0.0625], [1, 4, 0.03125]]


def test_the_next_update_uses_it_within_other_schedules():
    tx = js.sgd(lr=js.warmup(js.metric.greedy(1.0, **DOUBLING), steps=4))
    state = tx.init(PARAMS)
    for step in range(6):
        updates, state = tx.update(PARAMS, state, PARAMS)
        np.testing.assert_allclose(updates["kernel"], -min(2.0**step, 8) * min(step / 4, 1))
        state = after(state, -step)


def test_it_is_a_value_and_as_a_schedule_its_base():
    lr = js.metric.greedy(0.1, window=3)
    assert repr(lr).startswith("greedy(base=0.1, factor=0.95, patience=10")
    assert "window=3" in repr(lr)
    assert lr == pickle.loads(pickle.dumps(lr))
    assert jax.jit(lambda x: x)(lr).arguments["window"] == 3
    assert lr != js.metric.greedy(0.1, window=4)
    assert float(lr(1000)) == np.float32(0.1)
    recipe = js.Recipe("sgd", dict(lr=js.metric.greedy(0.1)), steps=400, steps_per_epoch=40)
    assert "never-decays" not in [finding.code for finding in js.lint(recipe)]
    assert "greedy" in str(js.explain(recipe))
    assert "by metric" in str(js.diff(recipe, recipe.replace(hyperparameters=dict(lr=js.metric.greedy(0.1, 0.9)))))


def test_sweeps_and_windows_inside_jit():
    def run(lr, metrics):
        state = js.sgd(lr=lr).init(PARAMS)
        return jax.lax.scan(lambda s, m: (js.report_metric(s, m), lr_state(s).value), state, metrics)[1]

    lrs = js.stack([js.metric.greedy(base, window=2, **DOUBLING) for base in (1.0, 4.0)])
    values = jax.jit(jax.vmap(run, in_axes=(0, None)))(lrs, jnp.asarray([3.0, 3.0, 3.0, 1.0]))
    np.testing.assert_array_equal(values, [[1, 2, 1, 0.5], [4, 8, 4, 2]])


def test_nnx_is_written_in_place():
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, js.sgd(lr=js.metric.greedy(1.0, window=2, **DOUBLING)), wrt=nnx.Param)
    js.report_metric(optimizer, 1.0)
    optimizer.update(model, nnx.grad(lambda m: m(jnp.ones((1, 2))).sum())(model))
    assert float(js.hyperparams(optimizer)["weight"]["lr"]) == 2.0


def test_a_state_is_carried_to_what_is_alike():
    def begun(**settings):
        return js.sgd(lr=js.metric.greedy(1.0, **{**DOUBLING, **settings}))

    old = after(begun(window=2).init(PARAMS), 1.0)
    assert float(lr_state(js.carry_over(old, begun(window=2, floor=0.5).init(PARAMS))).value) == 2.0
    for other in (begun(window=3), begun(), js.sgd(lr=js.plateau(1.0))):
        new = js.carry_over(old, other.init(PARAMS))
        assert float(lr_state(new).value) == 1.0
        other.update(PARAMS, new, PARAMS)
        with pytest.raises(ValueError, match="made by another optimizer"):
            other.update(PARAMS, old, PARAMS)


def test_the_state_of_torchs_plateau_is_not_read_into_it():
    state = js.sgd(lr=js.metric.greedy(1.0)).init(PARAMS)
    theirs = {"state": {}, "param_groups": [{"params": [0, 1]}]}
    with pytest.raises(ValueError, match="read into a plateau only, not into a GreedyState"):
        js.ports.torch.load_state(state, theirs, {0: "kernel", 1: "bias"}, scheduler_state_dict={"best": 1.0})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.metric.greedy(0.1, factor=1.0), "greedy: factor must be below 1, got 1.0"),
        (lambda: js.metric.greedy(0.1, factor=0.0), "greedy: factor must be positive, got 0.0"),
        (lambda: js.metric.greedy(0.1, patience=-1), "greedy: patience must be a whole number >= 0, got -1"),
        (lambda: js.metric.greedy(0.1, window=0), "greedy: window must be a positive number of steps, got 0"),
        (lambda: js.metric.greedy(0.1, window=2.5), "greedy: window must be a whole number"),
        (
            lambda: js.metric.greedy(0.1, window=jnp.asarray(3)),
            "greedy: window must be a positive whole number and not an ar",
        ),
        (lambda: js.sgd(lr=js.metric.greedy(1.0) * js.plateau(0.1)), "lr holds 2 schedules that follow a metric"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
