"""DeepSpeed's schedulers, live: the same lr and momentum at each update, past the end too."""

import dataclasses
import inspect
import logging
import types

import fetch_zoo as zoo
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxsched.ports import deepspeed

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")

LR = 0.02
STEPS = 96
"""Arrays of one length only, so that jax compiles each operation once for all tests."""


@pytest.fixture(scope="module")
def originals():
    """The modules of schedulers of 0.19.8 and 0.15.2, each without the package that it is in."""
    found = {}
    for version, folder in {"0.19.8": "deepspeed", "0.15.2": "deepspeed15"}.items():
        if not (zoo.ZOO / folder).is_dir():
            pytest.skip("run `python tests/parity/fetch_zoo.py` first")
        with zoo.instead("deepspeed", "deepspeed.utils", by=_package):
            found[version] = zoo.load(zoo.ZOO / folder / "deepspeed/runtime/lr_schedules.py")
    return found


def _package(name):
    module = types.ModuleType(name)
    module.logger = logging.getLogger("deepspeed")
    module.logger.setLevel(logging.ERROR)
    return module


def theirs(module, name, kwargs, steps=STEPS):
    """lr and first beta at each update, in the order of DeepSpeed's engine."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = getattr(module, name)(optimizer, **kwargs)
    values = []
    for _ in range(steps):
        group = optimizer.param_groups[0]
        values.append((group["lr"], group["betas"][0]))
        scheduler.step()
    return np.asarray(values).T


def compare(expected, schedule, momentum=None):
    for double in (False, True):
        tolerance = 1e-13 if double else 1e-6  # of the largest value: 8 ulp
        with jax.enable_x64(double):
            lr = np.asarray(schedule(np.arange(STEPS)), np.float64)
            np.testing.assert_allclose(lr, expected[0], rtol=0, atol=tolerance * np.abs(expected[0]).max())
            if momentum is not None:
                beta = np.asarray(momentum(np.arange(STEPS)), np.float64)
                np.testing.assert_allclose(beta, expected[1], rtol=0, atol=tolerance * np.abs(expected[1]).max())


CASES = [
    ("WarmupLR", {}),
    ("WarmupLR", dict(warmup_min_lr=1e-3, warmup_max_lr=0.1, warmup_num_steps=30)),
    ("WarmupLR", dict(warmup_max_lr=0.1, warmup_num_steps=30, warmup_type="linear")),
    ("WarmupLR", dict(warmup_max_lr=0.1, warmup_num_steps=1)),
    ("WarmupLR", dict(warmup_min_lr=0.1, warmup_max_lr=0.01, warmup_num_steps=7)),
    ("WarmupDecayLR", dict(total_num_steps=70)),
    ("WarmupDecayLR", dict(total_num_steps=70, warmup_num_steps=21, warmup_min_lr=1e-4, warmup_max_lr=0.1)),
    ("WarmupDecayLR", dict(total_num_steps=70, warmup_num_steps=1, warmup_type="linear")),
    ("WarmupDecayLR", dict(total_num_steps=20, warmup_num_steps=20)),
    ("WarmupDecayLR", dict(total_num_steps=20, warmup_num_steps=30, warmup_min_lr=1e-4)),
    ("WarmupCosineLR", dict(total_num_steps=70, warmup_num_steps=21)),
    ("WarmupCosineLR", dict(total_num_steps=70, warmup_num_steps=21, warmup_min_ratio=0.1, cos_min_ratio=0.2)),
    ("WarmupCosineLR", dict(total_num_steps=70, warmup_num_steps=10, warmup_min_ratio=0.1, warmup_type="linear")),
    ("WarmupCosineLR", dict(total_num_steps=20, warmup_num_steps=20)),
    ("LRRangeTest", {}),
    ("LRRangeTest", dict(lr_range_test_min_lr=0.01, lr_range_test_step_size=7, lr_range_test_step_rate=0.3)),
    ("LRRangeTest", dict(lr_range_test_step_size=7, lr_range_test_staircase=True)),
    ("OneCycle", dict(cycle_min_lr=0.01, cycle_max_lr=0.1)),
    ("OneCycle", dict(cycle_min_lr=0.01, cycle_max_lr=0.1, cycle_first_step_size=20, cycle_second_step_size=31)),
    ("OneCycle", dict(cycle_min_lr=0.01, cycle_max_lr=0.1, cycle_first_step_size=20, cycle_momentum=False)),
    ("OneCycle", dict(cycle_min_lr=0.01, cycle_max_lr=0.1, cycle_first_step_size=20, cycle_second_step_size=0)),
    ("OneCycle", dict(cycle_min_lr=0.01, cycle_max_lr=0.1, cycle_first_step_size=24, cycle_first_stair_count=5)),
    (
        "OneCycle",
        dict(cycle_min_lr=0.01, cycle_max_lr=0.1, cycle_first_step_size=20, cycle_second_step_size=30)
        | dict(cycle_first_stair_count=6, cycle_second_stair_count=40, decay_step_size=9, decay_lr_rate=0.5)
        | dict(decay_mom_rate=0.01, cycle_min_mom=0.85, cycle_max_mom=0.95),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_each_scheduler(case, originals):
    name, kwargs = case
    scheduler = getattr(deepspeed, name)(**kwargs)
    compare(theirs(originals["0.19.8"], name, kwargs), scheduler(LR), scheduler.momentum)


LENGTHS = st.integers(1, 60)
LRS = st.floats(1e-9, 0.1)
KWARGS = {
    "WarmupLR": dict(warmup_min_lr=LRS, warmup_max_lr=LRS, warmup_num_steps=LENGTHS),
    "WarmupDecayLR": dict(total_num_steps=LENGTHS, warmup_min_lr=LRS, warmup_num_steps=LENGTHS),
    "WarmupCosineLR": dict(
        total_num_steps=LENGTHS,
        warmup_num_steps=LENGTHS,
        warmup_min_ratio=st.floats(0, 1),
        cos_min_ratio=st.floats(0, 1),
    ),
    "LRRangeTest": dict(
        lr_range_test_step_size=LENGTHS, lr_range_test_step_rate=st.floats(0, 5), lr_range_test_staircase=st.booleans()
    ),
    "OneCycle": dict(
        cycle_min_lr=LRS,
        cycle_max_lr=LRS,
        cycle_first_step_size=LENGTHS,
        cycle_second_step_size=st.integers(0, 60),
        cycle_first_stair_count=st.integers(0, 60),
        cycle_second_stair_count=st.integers(0, 60),
        decay_step_size=st.sampled_from([0, 1, 7, 10.5]),
        decay_lr_rate=st.floats(0, 2),
        decay_mom_rate=st.floats(0, 0.1),
    ),
}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_arguments(originals, data):
    name = data.draw(st.sampled_from(sorted(KWARGS)))
    kwargs = data.draw(st.fixed_dictionaries(KWARGS[name]))
    if name.startswith("Warmup"):
        kwargs["warmup_type"] = data.draw(st.sampled_from(["log", "linear"]))
    scheduler = getattr(deepspeed, name)(**kwargs)
    compare(theirs(originals["0.19.8"], name, kwargs), scheduler(LR), scheduler.momentum)


DIVIDE_BY_0 = (("cycle_second_step_size", 0), ("warmup_num_steps", 20))
"""What earlier releases do with these arguments."""


@pytest.mark.parametrize(
    "case", [case for case in CASES if not ({*DIVIDE_BY_0} & {*case[1].items()})], ids=lambda case: case[0]
)
def test_an_earlier_release(case, originals):
    name, kwargs = case
    config = dict(
        train_batch_size=8,
        optimizer=dict(type="Adam", params=dict(lr=LR)),
        scheduler=dict(type=name, params=kwargs),
    )
    steps = kwargs.get("total_num_steps", STEPS)
    recipe = deepspeed.recipe(config, version="0.15.2", steps=steps)
    assert recipe.clip_norm is None
    expected = theirs(originals["0.15.2"], name, kwargs)
    momentum = recipe.hyperparameters["betas"][0]
    lr = recipe.hyperparameters["lr"]
    if name == "WarmupCosineLR":  # past the end it rises again there
        expected = expected[:, np.minimum(np.arange(STEPS), steps)]
        compare(expected, lambda step: lr(np.minimum(step, steps)))
    else:
        compare(expected, lr, momentum if callable(momentum) else None)


def test_every_scheduler_and_argument_is_there_with_its_default(originals):
    module = originals["0.19.8"]
    for name in module.VALID_LR_SCHEDULES:
        parameters = list(inspect.signature(getattr(module, name)).parameters.values())[1:]
        fields = dataclasses.fields(getattr(deepspeed, name))
        assert [field.name for field in fields] == [parameter.name for parameter in parameters]
        for field, parameter in zip(fields, parameters, strict=True):
            missing = parameter.default is inspect.Parameter.empty
            assert field.default is dataclasses.MISSING if missing else field.default == parameter.default
