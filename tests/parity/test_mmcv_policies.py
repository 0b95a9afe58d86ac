"""Each policy and warm-up of mmcv 1.7.2, momentum's too, against the real hooks."""

import itertools

import fetch_zoo as zoo
import numpy as np
import pytest

from jaxsched.ports.openmmlab._context import Run
from jaxsched.ports.openmmlab._policies import curve


@pytest.fixture(scope="module")
def mmcv():
    if not zoo.ZOO.is_dir():
        pytest.skip("run `python tests/parity/fetch_zoo.py` first")
    return zoo.originals()[0]


def real(mmcv, config, run, base, what):
    """What the real hook sets at each iteration, driven as the real runners drive it."""
    return zoo.mmcv_values(config, run, [base], what)[:, 0]


WARMUPS = [
    {},
    dict(warmup="constant", warmup_iters=7, warmup_ratio=0.25),
    dict(warmup="linear", warmup_iters=23, warmup_ratio=0.001),
    dict(warmup="exp", warmup_iters=30, warmup_ratio=0.1),
    dict(warmup="linear", warmup_iters=500, warmup_ratio=0.01),
    dict(warmup="linear", warmup_iters=10),
]
EITHER = [
    dict(policy="fixed"),
    dict(policy="step", step=[8, 11]),
    dict(policy="step", step=[3, 3, 5], gamma=0.5),
    dict(policy="step", step=[11, 8], min_lr=0.005),
    dict(policy="step", step=4, gamma=0.3),
    dict(policy="exp", gamma=0.9),
    dict(policy="poly", power=0.9, min_lr=1e-4),
    dict(policy="Poly"),
    dict(policy="inv", gamma=0.3, power=0.75),
    dict(policy="CosineAnnealing", min_lr=0),
    dict(policy="CosineAnnealing", min_lr_ratio=0.01),
    dict(policy="LinearAnnealing", min_lr=1e-3),
    dict(policy="FlatCosineAnnealing", min_lr_ratio=0.1),
    dict(policy="FlatCosineAnnealing", start_percent=0.0, min_lr=0.001),
    dict(policy="FlatCosineAnnealing", start_percent=1.0, min_lr=0.001),
    dict(policy="FlatCosineAnnealing", start_percent=0.375, min_lr=0.001),
]
OF_PACKAGES = [
    dict(policy="StepFixCosineAnnealing", min_lr=1e-3),
    dict(policy="StepFixCosineAnnealing", min_lr_ratio=0.1, warmup_by_epoch=True, warmup="linear", warmup_iters=3),
    dict(policy="StepFixCosineAnnealing", min_lr=0, warmup_by_epoch=True, warmup="constant", warmup_iters=7),
    dict(policy="CosineAnnealingCooldown", min_lr=1e-3, cool_down_time=7, cool_down_ratio=0.2),
    dict(policy="CosineAnnealingCooldown", min_lr_ratio=0.1, cool_down_time=500),
    dict(policy="Linear", target_lr=1e-4, start=4, interval=3),
    dict(policy="Linear"),
    dict(policy="Linear", start=12),
    dict(
        policy="MultiStage", milestone_lrs=[5e-2, 3e-2], milestone_iters=[0, 6], steps=[[2, 4], [9]], gammas=[0.5, 0.1]
    ),
    dict(
        policy="MultiStage", milestone_lrs=[5e-2, 3e-2], milestone_iters=[3, 6], steps=[[5, 4], [9]], gammas=[0.5, 0.1]
    ),
]
BY_ITERATION = [
    dict(policy="cyclic"),
    dict(policy="cyclic", target_ratio=(10, 1e-4), cyclic_times=3, step_ratio_up=0.4, gamma=0.5),
    dict(policy="cyclic", target_ratio=6.0, cyclic_times=7, step_ratio_up=0.0, gamma=0.9, anneal_strategy="linear"),
    dict(policy="cyclic", target_ratio=(5.0,), by_epoch=False),
    dict(policy="OneCycle", max_lr=0.3),
    dict(policy="OneCycle", max_lr=0.3, total_steps=300, pct_start=0.25, anneal_strategy="linear"),
    dict(policy="OneCycle", max_lr=0.3, three_phase=True, div_factor=10, final_div_factor=100),
    dict(policy="OneCycle", max_lr=0.3, three_phase=True, pct_start=0.6),
    dict(policy="OneCycle", max_lr=0.3, pct_start=0.0),
    dict(policy="OneCycle", max_lr=0.3, pct_start=1.0),
    dict(policy="CosineRestart", by_epoch=False, periods=[50, 100, 200], restart_weights=[1, 0.5, 0.25], min_lr=1e-4),
    dict(policy="YOLOX", by_epoch=False, warmup="exp", warmup_by_epoch=True, warmup_iters=2, warmup_ratio=1)
    | dict(num_last_epochs=3, min_lr_ratio=0.05),
    dict(policy="YOLOX", by_epoch=False, num_last_epochs=3, min_lr=0.001),
]
CASES = [
    *(config | warm for config, warm in itertools.product(EITHER, WARMUPS)),
    *(config | warm | {"by_epoch": False} for config, warm in itertools.product(EITHER, WARMUPS[:3])),
    *(config | warm for config in BY_ITERATION for warm in WARMUPS if "warmup" not in config),
    *(config for config in BY_ITERATION if "warmup" in config),
]
BY_EPOCH = [
    dict(policy="CosineRestart", periods=[4, 6, 10], restart_weights=[1, 0.5, 0.25], min_lr_ratio=0.1),
    dict(policy="step", step=[8], warmup="linear", warmup_iters=2, warmup_by_epoch=True),
]
EPOCHS = Run(steps=12 * 20, steps_per_epoch=20, epochs=12)
ITERATIONS = Run(steps=240, steps_per_epoch=20, epochs=None)


def check(mmcv, config, run, base, what="lr"):
    expected = real(mmcv, config, run, base, what)
    got = np.asarray(curve(config, run, what)(base)(np.arange(run.steps)), np.float64)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6 * 1e-6 * base, err_msg=str(config))


def test_every_policy_with_every_warmup_by_epoch(mmcv):
    for config in CASES + BY_EPOCH:
        check(mmcv, config, EPOCHS, 0.02)


def test_the_policies_of_other_packages(mmcv):
    for config in OF_PACKAGES:
        for warm in [{}] if "warmup" in config else WARMUPS[:4]:
            check(mmcv, config | warm, EPOCHS, 0.02)
            if not config.get("warmup_by_epoch"):
                check(mmcv, config | warm, ITERATIONS, 0.02)


def test_every_policy_with_every_warmup_by_iteration(mmcv):
    for config in CASES:
        if not config.get("warmup_by_epoch"):
            check(mmcv, config, ITERATIONS, 0.02)


def test_by_epoch_where_there_are_no_epochs_never_acts(mmcv):
    config = dict(policy="step", step=[8, 11], by_epoch=True, warmup="linear", warmup_iters=7)
    check(mmcv, config, ITERATIONS, 0.02)
    assert set(real(mmcv, config, ITERATIONS, 0.02, "lr")) == {0.02}


MOMENTUM = [
    dict(policy="step", step=[3, 7]),
    dict(policy="step", step=5, gamma=0.9, min_momentum=0.7),
    dict(policy="CosineAnnealing", min_momentum=0.5),
    dict(policy="CosineAnnealing", min_momentum_ratio=0.5),
    dict(policy="LinearAnnealing", min_momentum_ratio=0.8),
    dict(policy="cyclic"),
    dict(policy="cyclic", target_ratio=(0.85 / 0.95, 1), cyclic_times=2, step_ratio_up=0.3, gamma=0.5),
    dict(policy="OneCycle"),
    dict(policy="OneCycle", base_momentum=0.8, max_momentum=0.9, three_phase=True, anneal_strategy="linear"),
]
DIVIDED = [
    {},
    dict(warmup="constant", warmup_iters=7),
    dict(warmup="linear", warmup_iters=30, warmup_ratio=0.95),
    dict(warmup="exp", warmup_iters=30, warmup_ratio=0.8),
]


@pytest.mark.parametrize("run", [EPOCHS, ITERATIONS])
def test_every_momentum_policy(mmcv, run):
    for config, warm in itertools.product(MOMENTUM, DIVIDED):
        check(mmcv, config | warm, run, 0.9, "momentum")


def test_momentum_may_pass_one_while_it_is_warmed_up(mmcv):
    config = dict(policy="OneCycle", warmup="constant", warmup_iters=5, warmup_ratio=0.9)
    check(mmcv, config, EPOCHS, 0.9, "momentum")
    assert float(curve(config, EPOCHS, "momentum")(0.9)(0)) == pytest.approx(0.95 / 0.9)


BAD = [
    (dict(step=[8]), ValueError, "lr_config: 'policy' is missing"),
    (dict(policy="steep", step=[8]), ValueError, "policy 'steep' is not known"),
    (dict(policy="cosineannealing", min_lr=0), ValueError, "policy 'cosineannealing' is not known"),
    (dict(policy="step"), ValueError, "'step' is missing"),
    (dict(policy="step", step=(8, 11)), TypeError, "step must be a positive int or a list"),
    (dict(policy="step", step=[8, 0]), TypeError, "step must be a positive int or a list"),
    (dict(policy="step", step=[8.5]), TypeError, "step must be a positive int or a list"),
    (dict(policy="step", step=[8], warm="linear"), ValueError, "'warm' is not known; did you mean 'warmup'"),
    (dict(policy="step", step=[8], gamma="0.1"), TypeError, "gamma must be a number, got the string '0.1'"),
    (dict(policy="step", step=[8], warmup="linear"), ValueError, "needs warmup_iters > 0"),
    (dict(policy="step", step=[8], warmup="sine", warmup_iters=5), ValueError, "warmup must be one of"),
    (dict(policy="step", step=[8], warmup="linear", warmup_iters=5, warmup_ratio=0), ValueError, r"in \(0, 1\]"),
    (dict(policy="YOLOX", by_epoch=False, num_last_epochs=1, min_lr=0, warmup_iters=5), ValueError, "name a warmup"),
    (dict(policy="YOLOX", num_last_epochs=1, min_lr=0), ValueError, "needs by_epoch=False"),
    (dict(policy="CosineAnnealing"), ValueError, "exactly one of 'min_lr' and 'min_lr_ratio'"),
    (dict(policy="CosineAnnealing", min_lr=0, min_lr_ratio=0), ValueError, "exactly one of"),
    (dict(policy="FlatCosineAnnealing", min_lr=0, start_percent=1), ValueError, "start_percent must be a float"),
    (dict(policy="CosineRestart", min_lr=0, periods=[5], restart_weights=[1]), ValueError, "end before the run"),
    (dict(policy="CosineRestart", min_lr=0, periods=[5, 9]), ValueError, "2 periods need as many"),
    (dict(policy="cyclic", target_ratio=[10, 1e-4]), TypeError, "target_ratio must be a float or a tuple"),
    (dict(policy="cyclic", by_epoch=True), ValueError, "goes by iteration"),
    (dict(policy="OneCycle", max_lr=[0.1, 0.2]), ValueError, "max_lr differs between the groups"),
    (dict(policy="OneCycle", max_lr=0.1, total_steps=100), ValueError, "total_steps=100 is less than"),
    (dict(policy="OneCycle", max_lr=0.1, pct_start=1), ValueError, "pct_start must be a float"),
    (dict(policy="step", step=[8], min_lr=float("nan")), ValueError, "must be finite"),
]


@pytest.mark.parametrize(("config", "error", "message"), BAD)
def test_bad_settings_name_the_key_and_the_remedy(config, error, message):
    with pytest.raises(error, match=message):
        curve(config, EPOCHS)(0.1)


def test_warmup_by_epoch_needs_epochs():
    with pytest.raises(ValueError, match="warmup_by_epoch needs an EpochBasedRunner"):
        curve(dict(policy="fixed", warmup="linear", warmup_iters=1, warmup_by_epoch=True), ITERATIONS)
