"""torch's schedulers as values, bad arguments, and what is read of live objects that only look like torch's."""

import copy
import pickle
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

t = js.ports.torch


def test_a_scheduler_is_a_value():
    one = t.SequentialLR([t.LinearLR(total_iters=3), t.CosineAnnealingLR(T_max=10)], milestones=[3])
    assert one == pickle.loads(pickle.dumps(one)) == copy.deepcopy(one)
    assert repr(t.StepLR(30)) == "StepLR(step_size=30, gamma=0.1, last_epoch=-1)"
    assert one(0.1) == one(0.1)
    assert one.momentum is None


def test_the_learning_rate_may_be_traced():
    for scheduler in (t.OneCycleLR(0.1, 100), t.StepLR(9), t.CosineAnnealingLR(9.5), t.CyclicLR(0.1, 0.2, 2.5)):
        np.testing.assert_allclose(jax.jit(lambda lr, s=scheduler: s(lr)(7))(0.1), scheduler(0.1)(7), rtol=1e-6)
    with pytest.raises(TypeError, match="without a closed form lr must be a Python number"):
        jax.jit(t.ChainedScheduler([t.StepLR(3), t.CosineAnnealingLR(9)], steps=9))(0.1)


def test_schedules_pass_through_jit_and_json():
    for schedule in (
        t.OneCycleLR(0.1, 100, three_phase=True, pct_start=0.5)(1.0),
        t.CyclicLR(0.01, 0.1, 2.5, 3, mode="triangular2")(1.0),
        t.CyclicLR(0.01, 0.1, 20, 0)(1.0),
        t.StepLR(9, last_epoch=3)(0.1),
        t.ReduceLROnPlateau(patience=3)(0.1),
        js.ports.keras.CosineDecayRestarts(0.1, 10, t_mul=1.5),
    ):
        inside = jax.jit(lambda schedule, step: schedule(step))(schedule, jnp.arange(50))
        np.testing.assert_allclose(inside, schedule(jnp.arange(50)), rtol=1e-6)
        recipe = js.Recipe("sgd", dict(lr=schedule), steps=50)
        assert js.Recipe.from_json(recipe.to_json()) == recipe


def test_far_out():
    far = 2**31 - 1
    assert float(t.CosineAnnealingLR(T_max=2**20)(0.1)(far)) == pytest.approx(0.1, rel=1e-6)
    share = (far % 5) / 2.5
    share = share if share <= 1 else 2 - share
    assert float(t.CyclicLR(0.0, 1.0, 2.5)(0.1)(1_000_000_003)) == pytest.approx(2 - (1_000_000_003 % 5) / 2.5)
    assert 0 <= float(t.CyclicLR(0.0, 1.0, 2.5)(0.1)(far)) <= 1
    assert float(t.OneCycleLR(1.0, 100)(0.1)(far)) == pytest.approx(4e-6)


def test_one_of_the_groups():
    two = t.SequentialLR([t.LinearLR(), t.OneCycleLR([0.1, 0.2], 10, max_momentum=[0.9, 0.8])], milestones=[5])
    assert float(two.for_group(1)(0.1)(7)) == pytest.approx(0.2)
    assert float(two.for_group(1).momentum(0)) == pytest.approx(0.8)
    with pytest.raises(ValueError, match=r"OneCycleLR: max_lr is a list.*for_group\(0\)"):
        two(0.1)
    with pytest.raises(ValueError, match="max_lr has 2 entries, none for group 2"):
        two.for_group(2)
    assert t.ReduceLROnPlateau(min_lr=[0.1, 0.2]).for_group(1)(1.0).arguments["floor"] == 0.2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: t.StepLR(0), "StepLR: step_size must be a positive number of steps, got 0"),
        (lambda: t.StepLR(2.5), "StepLR: step_size must be a whole number of steps, got 2.5"),
        (lambda: t.StepLR(5, gamma=-0.1), "StepLR: gamma must be >= 0, got -0.1"),
        (lambda: t.StepLR(5, last_epoch=-2), "StepLR: last_epoch must be -1, or the index"),
        (lambda: t.MultiStepLR([30, -1]), r"MultiStepLR: milestones\[1\] must be a whole number >= 0, got -1"),
        (lambda: t.MultiStepLR([30, 60.5]), r"MultiStepLR: milestones\[1\] must be a whole number >= 0, got 60.5"),
        (lambda: t.ConstantLR(1.5), r"ConstantLR: factor must be in \[0, 1\], got 1.5"),
        (lambda: t.LinearLR(0.0), "LinearLR: start_factor must be above 0"),
        (lambda: t.CosineAnnealingLR(0), "CosineAnnealingLR: T_max must be positive, got 0"),
        (lambda: t.CosineAnnealingWarmRestarts(10, 1.5), "T_mult must be a whole number of steps, got 1.5"),
        (lambda: t.CyclicLR(0.1, 1.0, 0), "CyclicLR: step_size_up must be positive, got 0"),
        (lambda: t.CyclicLR(0.1, 1.0, mode="square"), "CyclicLR: mode must be 'triangular'"),
        (lambda: t.CyclicLR(0.1, 1.0, scale_fn=lambda c: 1 if c < 3 else 0.5), "scale_fn cannot be traced"),
        (lambda: t.OneCycleLR(0.1), "OneCycleLR: give total_steps, or both epochs and steps_per_epoch"),
        (lambda: t.OneCycleLR(0.1, 0), "OneCycleLR: total_steps must be a positive number of steps, got 0"),
        (lambda: t.OneCycleLR(0.1, 100, pct_start=1.5), r"OneCycleLR: pct_start must be in \[0, 1\], got 1.5"),
        (lambda: t.OneCycleLR(0.1, 100, pct_start=0.01), "pct_start 0.01 of 100 steps is 1 step"),
        (lambda: t.OneCycleLR(0.1, 9, anneal_strategy="exp"), "anneal_strategy must be one of 'cos', 'linear'"),
        (lambda: t.SWALR(0.1, anneal_epochs=-1), "SWALR: anneal_epochs must be a whole number >= 0, got -1"),
        (lambda: t.LambdaLR(lambda e: 1.0 if e < 3 else 0.1), "lr_lambda cannot be traced by jax .* give steps="),
        (lambda: t.MultiplicativeLR(lambda e: 0.5)(0.1), "MultiplicativeLR: it has no closed form: give steps="),
        (lambda: t.ReduceLROnPlateau(factor=1.0), "ReduceLROnPlateau: factor must be below 1, got 1.0"),
        (lambda: t.ReduceLROnPlateau(mode="most"), "ReduceLROnPlateau: mode must be one of 'min', 'max', got 'most'"),
        (lambda: t.SequentialLR([t.StepLR(3)], [1]), "1 schedulers need 0 milestones"),
        (lambda: t.SequentialLR([t.StepLR(3)] * 3, [9, 5]), "milestones must ascend"),
        (lambda: t.SequentialLR([t.StepLR(3), t.SWALR(0.1)], [5]), r"schedulers\[1\] \(SWALR\) goes on .* give steps="),
        (lambda: t.SequentialLR([t.StepLR(3, last_epoch=4)], []), "give it to SequentialLR alone"),
        (lambda: t.ChainedScheduler([t.StepLR(3), t.CosineAnnealingLR(9)]), "with CosineAnnealingLR .* give steps="),
        (lambda: t.ChainedScheduler([t.ReduceLROnPlateau()]), r"schedulers\[0\] is a ReduceLROnPlateau"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: t.StepLR("30"), "StepLR: step_size must be a number, got the string '30'"),
        (lambda: t.StepLR(jnp.asarray(3)), "StepLR: step_size must be a Python number; only the learning rate"),
        (lambda: t.StepLR(3)("0.1"), "lr must be a number"),
        (lambda: t.ChainedScheduler(t.StepLR(3)), "schedulers must be a list of schedulers"),
        (lambda: t.SequentialLR([t.StepLR(3)(0.1)], []), r"schedulers\[0\] must be a scheduler of ports.torch"),
    ],
)
def test_bad_types(make, message):
    with pytest.raises(TypeError, match=message):
        make()


# What is read of live objects needs no torch: these have the attributes that torch's have.
PARAMS = {"fc": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}}
PLACES = {0: t.linear("fc/kernel"), 1: "fc/bias"}


def fake(kind, **attributes):
    return type(kind, (types.SimpleNamespace,), {"__module__": "torch.optim"})(**attributes)


def parameter(*shape, wanted=True):
    return types.SimpleNamespace(shape=shape, requires_grad=wanted)


def sgd(*members, **rest):
    groups = [{"params": list(ps), "lr": 0.1 / (i + 1), "momentum": 0.9, **rest} for i, ps in enumerate(members)]
    return fake("SGD", param_groups=groups, defaults={})


def test_one_group_needs_no_names():
    recipe = t.recipe(sgd([parameter(2, 3)], foreach=None, initial_lr=0.1))
    assert recipe.hyperparameters == {"lr": 0.1, "momentum": 0.9}
    assert recipe.rules == (js.groups.Rule("**", "0"),)


def test_groups_that_are_roles_are_told_by_role():
    weight, scale, bias = parameter(4, 3), parameter(4), parameter(4)
    named = [("conv.weight", weight), ("bn.weight", scale), ("bn.bias", bias)]
    recipe = t.recipe(sgd([weight], [scale, bias]), named_parameters=named)
    tree = {"other": {"kernel": 1.0, "bias": 2.0}, "bn": {"scale": 3.0, "bias": 4.0}}
    with pytest.raises(ValueError, match="other/bias"):
        js.groups.labels(tree, recipe.rules)  # a role that the torch model does not have
    del tree["other"]["bias"]
    assert js.groups.labels(tree, recipe.rules) == {"other": {"kernel": "0"}, "bn": {"scale": "1", "bias": "1"}}


def test_other_groups_are_told_by_name_and_the_rest_is_frozen():
    body, head, still, gone = parameter(4, 3), parameter(4, 3), parameter(2, 2, wanted=False), parameter(3, 3)
    named = {"body.0.weight": body, "head.weight": head, "head.still": still, "gone/w": gone}
    recipe = t.recipe(sgd([body], [head, still]), named_parameters=named.items())
    tree = {
        "body": [{"kernel": jnp.ones(1)}],
        "head": {"weight": jnp.ones(1), "still": jnp.ones(1)},
        "gone": {"w": jnp.ones(1)},
    }
    assert js.groups.labels(tree, recipe.rules) == {
        "body": [{"kernel": "0"}],
        "head": {"weight": "1", "still": "frozen"},
        "gone": {"w": "frozen"},
    }
    assert recipe.groups == {"0": {"lr": 0.1}, "1": {"lr": 0.05}, "frozen": None}
    updates, _ = recipe.build().update(tree, recipe.build().init(tree), tree)
    assert float(updates["gone"]["w"][0]) == 0.0


def test_more_groups_need_names():
    with pytest.raises(ValueError, match=r"give named_parameters=model.named_parameters\(\)"):
        t.recipe(sgd([parameter(2, 2)], [parameter(2)]))


def test_an_optimizer_that_is_not_known():
    with pytest.raises(ValueError, match=r"must be one of SGD, .* got LBFGS"):
        t.recipe(fake("LBFGS", param_groups=[{}]))


def state_dict(**slots):
    return {"state": {i: {k: v[i] for k, v in slots.items()} for i in range(2)}, "param_groups": [{"params": [0, 1]}]}


BUFFERS = [np.arange(6.0).reshape(2, 3), np.ones(2)]


def test_buffers_go_to_their_places_wherever_the_state_is():
    for tx in (js.sgd(momentum=0.9), js.Recipe("sgd", dict(momentum=0.9), clip_norm=1.0, ema=0.5).build()):
        state = t.load_state(tx.init(PARAMS), state_dict(momentum_buffer=BUFFERS), PLACES)
        (inner,) = [s for s in jax.tree.leaves(state, is_leaf=is_state) if is_state(s)]
        np.testing.assert_array_equal(inner.slots["momentum"]["fc"]["kernel"], BUFFERS[0].T)
        assert (int(inner.count), int(inner.bias_offset)) == (0, 1)


def is_state(node):
    return isinstance(node, js.optimizers.OptimizerState)


def test_steps_are_counted_by_bias_corrections_and_not_by_schedules():
    tx = js.adam(lr=js.table([1.0, 2.0]))
    theirs = state_dict(exp_avg=BUFFERS, exp_avg_sq=BUFFERS, step=[np.float32(7)] * 2)
    state = t.load_state(tx.init(PARAMS), theirs, PLACES)
    assert int(state.bias_offset) == 7
    updates, state = tx.update(PARAMS, state, PARAMS)
    moved = -1.0 / (1 - 0.9**8) * 0.9 / (np.sqrt(0.999) / np.sqrt(1 - 0.999**8))
    np.testing.assert_allclose(updates["fc"]["bias"], moved, rtol=1e-5)
    assert float(js.hyperparams(state)["bias"]["lr"]) == 1.0


def test_the_state_of_a_plateau_is_carried_to_every_group():
    tx = js.sgd(lr=t.ReduceLROnPlateau(patience=2)(0.1), momentum=0.9)
    theirs = dict(best=0.25, num_bad_epochs=2, cooldown_counter=0, last_epoch=9)
    state = t.load_state(tx.init(PARAMS), state_dict(momentum_buffer=BUFFERS), PLACES, scheduler_state_dict=theirs)
    for group in ("weight", "bias"):
        found = js.metric_state(state)[group]["lr"]
        assert (float(found.best), int(found.bad), int(found.reports)) == (0.25, 2, 9)
        assert float(js.metric_state(js.report_metric(state, 0.3))[group]["lr"].value) == pytest.approx(0.01)


def test_what_was_loaded_does_not_change_when_torch_goes_on():
    tensor = np.ones((2, 3), np.float32)
    loaded = t.load_parameters({"w": jnp.zeros((2, 3))}, {"w": tensor}, {"w": "w"})
    tensor[:] = 5.0
    np.testing.assert_array_equal(loaded["w"], 1.0)


def test_parameters_go_to_their_places():
    loaded = t.load_parameters(PARAMS, dict(enumerate(BUFFERS)), PLACES)
    np.testing.assert_array_equal(loaded["fc"]["kernel"], BUFFERS[0].T)


ADAM = dict(exp_avg=BUFFERS, exp_avg_sq=BUFFERS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: t.load_state(s, state_dict(**ADAM, step=[7, 8]), PLACES), "0 has done 7 updates and 1 8"),
        (lambda s: t.load_state(s, state_dict(exp_avg=BUFFERS, step=[7, 7]), PLACES), "0 has no 'exp_avg_sq'"),
        (
            lambda s: t.load_state(s, state_dict(**ADAM), {0: PLACES[0]}),
            "parameter 1 of the state dict is not in the map",
        ),
        (
            lambda s: t.load_state(s, state_dict(**ADAM), {**PLACES, 1: "fc/b"}),
            "not there: 'fc/b'.*no parameter for 'fc/bias'",
        ),
        (
            lambda s: t.load_state(s, state_dict(**ADAM), {**PLACES, 0: "fc/kernel"}),
            r"has shape \(3, 2\), but .* \(2, 3\)",
        ),
        (lambda s: t.load_state(s, {"model": 1}, PLACES), "expected optimizer.state_dict"),
        (
            lambda s: t.load_state({}, state_dict(**ADAM), PLACES),
            "there must be one optimizer state of jaxsched in dict",
        ),
        (lambda s: t.load_parameters(PARAMS, {0: BUFFERS[0]}, PLACES), "there is no array for 1"),
    ],
)
def test_what_does_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make(js.adam().init(PARAMS))


def a_torch_optimizer():
    """What tells an optimizer of torch; torch itself is not needed."""
    return type("SGD", (), {"param_groups": [{"lr": 0.1}]})()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: t.SGD, "there is js.optimizers.sgd"),
        (lambda t: t.CosineAnnealingLr, "did you mean 'CosineAnnealingLR'"),
        (
            lambda t: t.StepLR(a_torch_optimizer(), step_size=3),
            r"out, .*StepLR\(step_size=...\)\(0.1",
        ),
        (lambda t: t.StepLR(a_torch_optimizer(), 3), "leave the optimizer out"),
        (lambda t: t.StepLR(optimizer=a_torch_optimizer(), step_size=3), "leave the optimizer out"),
        (lambda t: t.StepLR(step_sise=3), "no argument 'step_sise'; did you mean 'step_size'"),
        (lambda t: t.CosineAnnealingLR(T_max=10)(5), r"CosineAnnealingLR\(...\)\(0.1\)\(5\)"),
        (lambda t: t.CosineAnnealingLR(T_max=10)(0), "called with the base lr"),
        (lambda t: t.CosineAnnealingLR(T_max=10)(jnp.arange(3)), "called with the base lr"),
        (lambda t: js.sgd(lr=t.CosineAnnealingLR(T_max=10)), "call it with the base lr first"),
        (lambda t: js.sgd(lr=t.CosineAnnealingLR), "lr is the class CosineAnnealingLR; pass an instance"),
    ],
)
def test_the_likeliest_mistakes_say_what_to_do(make, message):
    with pytest.raises((AttributeError, TypeError), match=message):
        make(js.ports.torch)


@pytest.mark.parametrize("mode", ["cycle", "iterations"])
def test_a_cyclic_scale_that_jax_cannot_trace_is_called_on_the_host(mode):
    def scale(x):
        return 0.5 if x > 2 else 1.0  # a branch on the value

    arguments = dict(base_lr=0.0, max_lr=1.0, step_size_up=2, scale_mode=mode, scale_fn=scale)
    with pytest.raises(ValueError, match="give steps="):
        js.ports.torch.CyclicLR(**arguments)
    lr = js.ports.torch.CyclicLR(**arguments, steps=20)(0.1)(jnp.arange(12))
    wave = np.tile([0.0, 0.5, 1.0, 0.5], 3)
    at = 1 + np.arange(12) // 4 if mode == "cycle" else np.arange(12)
    np.testing.assert_allclose(lr, wave * np.where(at > 2, 0.5, 1.0), atol=1e-6)
