"""transformers' schedules and Trainer arguments, live: the same lr at each update, past the end too."""

import types

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import jaxsched as js
from jaxsched.ports import huggingface

torch = pytest.importorskip("torch")
optimization = pytest.importorskip("transformers.optimization")

BASES = (0.1, 0.02)
STEPS = 128
"""Arrays of one length only, so that jax compiles each operation once for all tests."""


def theirs(name, warmup, total, kwargs):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in BASES]
    optimizer = torch.optim.SGD(groups, lr=BASES[0])
    scheduler = optimization.get_scheduler(name, optimizer, warmup, total, kwargs)
    return np.asarray(
        [[base * f(step) for base, f in zip(BASES, scheduler.lr_lambdas, strict=True)] for step in range(STEPS)]
    )


def compare(name, warmup, total, kwargs=None):
    expected = theirs(name, warmup, total, kwargs)
    make = huggingface.get_scheduler(name, warmup, total, kwargs)
    for double in (False, True):
        with jax.enable_x64(double):
            for group, base in enumerate(BASES):
                # relative to the base lr: waves that go on past the end cancel near their zeros
                ours = make(base, default=BASES[0])(np.arange(STEPS))
                np.testing.assert_allclose(ours, expected[:, group], rtol=0, atol=(1e-12 if double else 1e-6) * base)


CASES = [
    ("constant", None, None, None),
    ("constant", 10, 60, None),
    ("constant_with_warmup", 10, None, None),
    ("linear", 0, 60, None),
    ("linear", 13, 60, None),
    ("linear", 60, 60, None),
    ("linear", 70, 60, None),
    ("cosine", 13, 60, None),
    ("cosine", 0, 77, {"num_cycles": 1.3}),
    ("cosine", 7, 7, {"num_cycles": 0}),
    ("cosine_with_restarts", 13, 60, {"num_cycles": 4}),
    ("cosine_with_restarts", 3, 101, {"num_cycles": 49}),
    ("cosine_with_restarts", 0, 90, {"num_cycles": 2.5}),
    ("polynomial", 13, 60, None),
    ("polynomial", 0, 60, {"lr_end": 0.01, "power": 2.5}),
    ("inverse_sqrt", 13, None, None),
    ("inverse_sqrt", 0, None, None),
    ("inverse_sqrt", 13, None, {"timescale": 4}),
    ("cosine_with_min_lr", 13, 60, {"min_lr": 0.01}),
    ("cosine_with_min_lr", 13, 60, {"min_lr_rate": 0.3, "num_cycles": 1.5}),
    ("cosine_warmup_with_min_lr", 13, 60, {"min_lr": 0.01}),
    ("cosine_warmup_with_min_lr", 1, 60, {"min_lr_rate": 0.1, "warmup_lr_rate": 0.2}),
    ("cosine_warmup_with_min_lr", 9, 60, {"min_lr_rate": 0.1, "warmup_lr_rate": 0.2}),
    ("cosine_warmup_with_min_lr", 0, 60, {"min_lr_rate": 0.1}),
    ("warmup_stable_decay", 13, 90, {"num_decay_steps": 20}),
    ("warmup_stable_decay", 13, None, {"num_decay_steps": 20, "num_stable_steps": 5, "min_lr_ratio": 0.1}),
    ("warmup_stable_decay", 40, 90, {"num_decay_steps": 70, "warmup_type": "cosine", "decay_type": "linear"}),
    ("warmup_stable_decay", 9, 90, {"num_decay_steps": 30, "warmup_type": "1-sqrt", "decay_type": "1-sqrt"}),
    ("warmup_stable_decay", 0, 90, {"num_decay_steps": 30, "num_cycles": 1.2, "min_lr_ratio": 0.2}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_each_schedule(case):
    compare(*case)


def test_no_schedule_is_missing():
    from transformers.trainer_utils import SchedulerType

    done = {case[0] for case in CASES} | {"reduce_lr_on_plateau", "greedy"}
    assert {member.value for member in SchedulerType} == done
    assert huggingface.get_scheduler(SchedulerType.LINEAR, 1, 5)(1.0) == huggingface.get_scheduler("linear", 1, 5)(1.0)


KWARGS = {
    "linear": st.just({}),
    "cosine": st.fixed_dictionaries({"num_cycles": st.floats(0.1, 4)}),
    "cosine_with_restarts": st.fixed_dictionaries({"num_cycles": st.integers(1, 9) | st.floats(0.5, 9)}),
    "polynomial": st.fixed_dictionaries({"lr_end": st.floats(0, 0.09), "power": st.floats(0.2, 5)}),
    "cosine_warmup_with_min_lr": st.fixed_dictionaries({"min_lr_rate": st.floats(0, 1)}),
    "warmup_stable_decay": st.fixed_dictionaries(
        {"num_decay_steps": st.integers(0, 50), "min_lr_ratio": st.floats(0, 1)}
    ),
}


@settings(max_examples=12, deadline=None)
@given(data=st.data(), warmup=st.integers(0, 60), total=st.integers(1, 120))
def test_any_arguments(data, warmup, total):
    name = data.draw(st.sampled_from(sorted(KWARGS)))
    kwargs = data.draw(KWARGS[name])
    assume(name != "polynomial" or warmup != total)  # transformers divides by 0
    assume(name != "warmup_stable_decay" or kwargs["num_decay_steps"] <= total)
    # Of a wave shorter than a few steps, hundreds go by past its end, and float32 loses count of the fraction.
    assume(name != "cosine" or total - warmup >= 10)
    compare(name, warmup, total, kwargs)


@pytest.mark.parametrize(
    ("name", "warmup", "total", "kwargs"),
    [
        ("linear", None, 10, None),
        ("linear", 1, None, None),
        ("cosin", 1, 10, None),
        ("linear", 1, 10, {"num_cycles": 1}),
        ("cosine_with_min_lr", 1, 10, None),
        ("cosine_with_min_lr", 1, 10, {"min_lr": 0.1, "min_lr_rate": 0.1}),
        ("polynomial", 1, 10, {"lr_end": 1.0}),
        ("warmup_stable_decay", 1, None, {"num_decay_steps": 1}),
        ("warmup_stable_decay", 1, 10, None),
        ("warmup_stable_decay", 1, 10, {"num_decay_steps": 1, "decay_type": "exp"}),
    ],
)
def test_what_transformers_refuses(name, warmup, total, kwargs):
    with pytest.raises((ValueError, TypeError)):
        theirs(name, warmup, total, kwargs)
    with pytest.raises((ValueError, TypeError), match=r"get_scheduler|give|lr_end|must be"):
        huggingface.get_scheduler(name, warmup, total, kwargs)(0.1)


def test_plateau():
    kwargs = dict(factor=0.5, patience=1, min_lr=1e-3, threshold=0.05, threshold_mode="abs", cooldown=1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = optimization.get_scheduler("reduce_lr_on_plateau", optimizer, scheduler_specific_kwargs=kwargs)
    make = huggingface.get_scheduler("reduce_lr_on_plateau", scheduler_specific_kwargs=kwargs)
    tx, params = js.sgd(lr=make(0.1)), {"kernel": np.zeros(1, np.float32)}
    update, report = jax.jit(tx.update), jax.jit(js.report_metric)
    state = tx.init(params)
    for metric in np.random.default_rng(1).normal(size=30):
        _, state = update(params, state, params)
        np.testing.assert_allclose(js.hyperparams(state)["weight"]["lr"], optimizer.param_groups[0]["lr"], rtol=1e-6)
        state = report(state, metric)
        scheduler.step(float(metric))


@jax.jit
def follow(state, metrics):
    """The states after each report. The settings are arrays in the state: one compilation for all but windows."""
    return jax.lax.scan(lambda s, metric: (js.report_metric(s, metric),) * 2, state, metrics)[1]


def compare_greedy(kwargs, metrics, dtype, rtol):
    """All that both keep, after each report, of two groups under one scheduler; returns the lrs."""
    groups = [{"params": [torch.zeros(1)], "lr": lr} for lr in BASES]
    optimizer = torch.optim.SGD(groups, lr=BASES[0])
    scheduler = optimization.get_scheduler("greedy", optimizer, scheduler_specific_kwargs=kwargs)
    lrs, kept = [], []
    for metric in metrics:
        scheduler.step(float(metric))
        lrs.append([group["lr"] for group in optimizer.param_groups])
        mean = scheduler._streaming_avg
        kept.append(
            dict(
                best=scheduler.best,
                good=scheduler.num_good_epochs,
                bad=scheduler.num_bad_epochs,
                pause=scheduler.cooldown_counter + scheduler.warmup_counter,
                left=scheduler.reset_start,
                total=mean.sum if mean else 0.0,
                held=len(mean.values) if mean else 0,
            )
        )
    with jax.enable_x64(dtype == np.float64):
        own = [{k: v[i] if isinstance(v, list) else v for k, v in kwargs.items()} for i in range(2)]
        makes = [huggingface.get_scheduler("greedy", scheduler_specific_kwargs=k) for k in own]
        of_group = {f"{i}": dict(lr=make(base)) for i, (make, base) in enumerate(zip(makes, BASES, strict=True))}
        params = {f"{i}": np.ones((), dtype) for i in range(2)}
        begun = js.sgd(rules=[("0", "0"), ("1", "1")], groups=of_group).init(params)
        states = js.metric_state(follow(begun, np.asarray(metrics, dtype)))
        for group in range(2):
            state = states[f"{group}"]["lr"]
            np.testing.assert_allclose(state.value, np.asarray(lrs)[:, group], rtol=rtol, atol=0)
            for name in kept[0]:
                theirs = np.asarray([one[name] for one in kept], dtype)
                mine = np.asarray(getattr(state, name), dtype)
                if name == "best":  # the ends of the dtype stand for no best, in place of infinities
                    mine, theirs = (np.clip(one, np.finfo(dtype).min, np.finfo(dtype).max) for one in (mine, theirs))
                np.testing.assert_array_equal(mine, theirs, name)
    return np.asarray(lrs), kept


REPORTS = 64
SIXTEENTHS = st.integers(-20, 60).map(lambda n: n / 16)
GREEDY = st.fixed_dictionaries(
    dict(
        mode=st.sampled_from(["min", "max"]),
        factor=st.sampled_from([0.1, 0.5, 0.95, 0.3]),
        patience=st.integers(0, 3),
        threshold=st.sampled_from([1e-6, 0.0, 0.25, 1.0, 2.0, -0.125]),
        threshold_mode=st.sampled_from(["rel", "abs"]),
        cooldown=st.integers(0, 3),
        warmup=st.integers(0, 3),
        min_lr=st.sampled_from([0.0, 1e-3, 0.05, [0.04, 0.003], [0.2, 0.01]]),
        max_lr=st.sampled_from([1.0, 0.2, [0.25, 0.03]]),
        eps=st.sampled_from([1e-8, 0.0, 2e-3]),
        verbose=st.just(False),
        smooth=st.booleans(),
        window_size=st.just(5),
        reset_start=st.integers(0, 3),
    )
)


@settings(max_examples=80, deadline=None)
@given(
    metrics=st.lists(SIXTEENTHS, min_size=REPORTS - 1, max_size=REPORTS - 1),
    last=st.sampled_from([0.5, np.nan, np.inf, -np.inf]),
    at=st.integers(0, REPORTS - 1),
    kwargs=GREEDY,
)
def test_greedy_with_any_arguments(metrics, last, at, kwargs):
    """To the last bit, in float64, in which transformers computes."""
    compare_greedy(kwargs, [*metrics[:at], last, *metrics[at:]], np.float64, rtol=0)


FALLING = np.arange(REPORTS)[::-1] / 4
WAVE = np.concatenate([FALLING[:16], np.ones(16), FALLING[16:32] / 64, np.ones(16)])


# Halves and windows of eight: exact in float32, so that both are asked the same questions. Of a float32 lr each
# change rounds once, by half an ulp (6e-8).
@pytest.mark.parametrize("metrics", [FALLING, -FALLING, np.ones(REPORTS), WAVE], ids=["falls", "rises", "flat", "wave"])
@pytest.mark.parametrize(
    "kwargs",
    [
        dict(),
        dict(factor=0.5, patience=0, max_lr=[0.9, 0.5]),
        dict(factor=0.5, patience=2, warmup=3, cooldown=1, reset_start=2, min_lr=[0.01, 0.001]),
        dict(factor=0.5, patience=1, smooth=True, window_size=8, threshold=0.125, reset_start=1, min_lr=0.01),
        dict(factor=0.9, patience=1, mode="max", threshold=0.25, threshold_mode="rel", cooldown=2),
    ],
)
def test_greedy(metrics, kwargs):
    compare_greedy(kwargs, metrics, np.float32, rtol=4e-6)


def test_greedy_restarts_when_all_groups_are_at_their_floors():
    kwargs = dict(factor=0.5, patience=0, reset_start=3, min_lr=[0.05, 0.0005])
    lrs, kept = compare_greedy(kwargs, np.ones(REPORTS), np.float32, rtol=2e-6)
    restarts = [i for i, one in enumerate(kept) if one["best"] == np.inf]
    # The first report is better than none, and rises both. The second group, from 0.04, then takes 7 reductions.
    np.testing.assert_array_equal(lrs[[0, 1, 6, 7]], [[0.2, 0.04], [0.1, 0.02], [0.05, 0.000625], [0.05, 0.0005]])
    assert restarts[:2] == [9, 19]
    np.testing.assert_array_equal(lrs[restarts], [BASES] * len(restarts))


def test_greedy_of_a_trainer():
    """Through the recipe and the updates, as with a plateau."""
    kwargs = dict(factor=0.5, patience=1, max_lr=0.5, min_lr=1e-3, cooldown=1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = optimization.get_scheduler("greedy", optimizer, 5, 10, scheduler_specific_kwargs=kwargs)
    args = dict(lr_scheduler_type="greedy", lr_scheduler_kwargs=kwargs, learning_rate=0.1, optim="sgd")
    tx = huggingface.recipe(args, steps_per_epoch=30).build()
    params = {"kernel": np.zeros(1, np.float32), "bias": np.zeros(1, np.float32)}
    update, report = jax.jit(tx.update), jax.jit(js.report_metric)
    state, seen = tx.init(params), []
    for metric in [3.0, 2.0, 1.0, 0.5, 0.25, 0.125, 1, 1, 1, 1, 1, 1, 0.0, -1.0]:
        _, state = update(params, state, params)
        for group in ("decay", "no_decay"):
            np.testing.assert_allclose(js.hyperparams(state)[group]["lr"], optimizer.param_groups[0]["lr"], rtol=1e-6)
        seen.append(optimizer.param_groups[0]["lr"])
        state = report(state, metric)
        scheduler.step(metric)
    assert 0.5 in seen
    assert seen[-1] < 0.5


def test_the_defaults_of_greedy():
    import inspect

    from jaxsched.ports.huggingface._by_metric import greedy_lr

    theirs = inspect.signature(optimization.GreedyLR).parameters
    mine = inspect.signature(greedy_lr).parameters
    assert [(p.name, p.default) for p in mine.values()] == [(p.name, p.default) for p in list(theirs.values())[1:]]


def test_warm_up_of_training_arguments():
    arguments = pytest.importorskip("transformers.training_args").TrainingArguments
    for warmup in (0, 0.05, 0.333, 1, 7, 7.9):
        given = types.SimpleNamespace(warmup_steps=warmup)
        expected = arguments.get_warmup_steps(given, 99)
        recipe = huggingface.recipe(vars(given), steps_per_epoch=33)
        assert f"warm-up {expected} of 99 updates" in recipe.origin["lr"]


def test_every_argument_is_known():
    import dataclasses

    from jaxsched.ports.huggingface import _recipe

    training_args = pytest.importorskip("transformers.training_args")
    names = {field.name: field.default for field in dataclasses.fields(training_args.TrainingArguments) if field.init}
    unknown = set(names) - {*huggingface.DEFAULTS, *_recipe._OTHERS}
    assert not unknown
    for name, value in huggingface.DEFAULTS.items():
        if name in names and names[name] is not dataclasses.MISSING:
            theirs = getattr(names[name], "value", names[name])
            assert theirs == value or (theirs is None and not value), name


def test_training_arguments_that_torch_saved(tmp_path):
    """``training_args.bin`` of the Trainer, made without ``accelerate``, which is not installed here."""
    import dataclasses

    training_args = pytest.importorskip("transformers.training_args")
    saved = object.__new__(training_args.TrainingArguments)
    for field in dataclasses.fields(saved):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        setattr(saved, field.name, None if default is dataclasses.MISSING else default)
    saved.lr_scheduler_type = pytest.importorskip("transformers.trainer_utils").SchedulerType.COSINE
    saved.learning_rate, saved.warmup_steps, saved._n_gpu = 3e-4, 7, 1
    saved.__cached__setup_devices, saved.dtype = torch.device("cuda", 0), torch.bfloat16
    torch.save(saved, tmp_path / "training_args.bin")
    recipe = huggingface.recipe(tmp_path / "training_args.bin", steps_per_epoch=50)
    written = dict(lr_scheduler_type="cosine", learning_rate=3e-4, warmup_steps=7)
    expected = huggingface.recipe(written, steps_per_epoch=50)
    assert recipe.replace(origin={}, notes=()) == expected.replace(origin={}, notes=())
    assert not js.recipe.cautions(recipe.notes)
