"""Each scheduler of mmengine 0.10.7, alone and together with others, against the real ones."""

import itertools

import fetch_zoo as zoo
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxsched as js
from jaxsched.ports.openmmlab._context import Run
from jaxsched.ports.openmmlab.mmengine._schedulers import curve

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def mmengine():
    if not zoo.ZOO.is_dir():
        pytest.skip("run `python tests/parity/fetch_zoo.py` first")
    return zoo.originals()[1]


EPOCHS = Run(steps=12 * 20, steps_per_epoch=20, epochs=12)
ITERATIONS = Run(steps=240, steps_per_epoch=20, epochs=None)


def check(config, run, base=0.02, what="lr"):
    expected = zoo.mmengine_values(config, run, [base], what)[:, 0]
    got = np.asarray(curve(config, run, what)(base)(np.arange(run.steps)), np.float64)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6 * 1e-6 * base, err_msg=str(config))


KINDS = [
    dict(type="ConstantLR"),
    dict(type="ConstantLR", factor=0.5),
    dict(type="ConstantLR", factor=1),
    dict(type="LinearLR"),
    dict(type="LinearLR", start_factor=0.001, end_factor=0.5),
    dict(type="LinearLR", start_factor=1.0, end_factor=0.25),
    dict(type="LinearLR", start_factor=1.0, end_factor=0.0),
    dict(type="MultiStepLR", milestones=[2, 4]),
    dict(type="MultiStepLR", milestones=[0, 3, 3, 5, 100], gamma=0.5),
    dict(type="MultiStepLR", milestones=[6, 1], gamma=0.3),
    dict(type="StepLR", step_size=2),
    dict(type="StepLR", step_size=3, gamma=0.9),
    dict(type="ExponentialLR", gamma=0.8),
    dict(type="CosineAnnealingLR"),
    dict(type="CosineAnnealingLR", eta_min=0.001),
    dict(type="CosineAnnealingLR", T_max=4, eta_min=0.002),
    dict(type="CosineAnnealingLR", T_max=3),
    dict(type="CosineAnnealingLR", T_max=20, eta_min_ratio=0.1),
    dict(type="PolyLR"),
    dict(type="PolyLR", power=0.9, eta_min=0.001),
    dict(type="PolyLR", power=2),
    dict(type="OneCycleLR", eta_max=0.3),
    dict(type="OneCycleLR", eta_max=0.3, three_phase=True, pct_start=0.25, anneal_strategy="linear"),
    dict(type="CosineRestartLR", periods=[3, 2], restart_weights=[1, 0.5], eta_min=0.001),
    dict(type="CosineRestartLR", periods=[2, 4, 20], restart_weights=[0.9, 0.5, 0.25], eta_min_ratio=0.1),
    dict(type="QuadraticWarmupLR"),
    dict(type="mmdet.QuadraticWarmupLR"),
]
WINDOWS = [
    {},
    dict(begin=3, end=9),
    dict(end=7),
    dict(begin=4, end=30),
    dict(begin=11, end=12),
]
CLOCKS = [
    dict(by_epoch=True),
    dict(by_epoch=False),
    dict(by_epoch=True, convert_to_iter_based=True),
]


def alone():
    for kind, window, clock in itertools.product(KINDS, WINDOWS, CLOCKS):
        if kind["type"] == "OneCycleLR" and window.get("end") in (9, 7, 12):
            continue  # too short for its phases
        if kind["type"] == "OneCycleLR" and clock == CLOCKS[0]:
            continue
        yield kind | window | clock


def test_every_scheduler_in_every_window_by_every_clock(mmengine):
    for config in alone():
        check(config, EPOCHS)


def test_every_scheduler_where_the_run_counts_iterations(mmengine):
    for config in alone():
        check(config, ITERATIONS)


def test_one_cycle_by_epoch(mmengine):
    run = Run(steps=60 * 3, steps_per_epoch=3, epochs=60)
    check(dict(type="OneCycleLR", eta_max=0.3, pct_start=0.25), run)
    check(dict(type="OneCycleLR", eta_max=0.3, total_steps=70, begin=5, end=50), run)


TOGETHER = [
    [
        dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
        dict(type="MultiStepLR", milestones=[8]),
    ],
    [dict(type="ConstantLR", factor=0.1, by_epoch=False, end=50), dict(type="MultiStepLR", milestones=[1, 8])],
    [
        dict(type="QuadraticWarmupLR", by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
        dict(type="CosineAnnealingLR", eta_min=0.001, begin=5, T_max=9, end=9, convert_to_iter_based=True),
        dict(type="ConstantLR", by_epoch=True, factor=1, begin=9, end=12),
    ],
    [
        dict(type="LinearLR", start_factor=1e-5, by_epoch=False, begin=0, end=100),
        dict(type="CosineAnnealingLR", eta_min=0.001, begin=6, end=12, T_max=6, convert_to_iter_based=True),
    ],
    # an interpolation that something moves: the recursion
    [
        dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=100),
        dict(type="CosineAnnealingLR", eta_min=0.001, convert_to_iter_based=True),
    ],
    [
        dict(type="CosineAnnealingLR", eta_min=0.001),
        dict(type="MultiStepLR", milestones=[4, 8]),
    ],
    [dict(type="CosineRestartLR", periods=[4, 8], restart_weights=[1, 1], eta_min=0), dict(type="StepLR", step_size=2)],
    # two courses, and factors before, between and after them
    [
        dict(type="CosineAnnealingLR", eta_min=0.004, end=4),
        dict(type="MultiStepLR", milestones=[5, 11]),
        dict(type="PolyLR", eta_min=0.0001, begin=6, end=10),
        dict(type="ConstantLR", by_epoch=False, begin=235, end=239),
    ],
    [dict(type="ConstantLR", factor=0.5, end=1), dict(type="CosineAnnealingLR", eta_min=0.002)],
    [dict(type="MultiStepLR", milestones=[0, 9], gamma=0.5), dict(type="CosineAnnealingLR", eta_min=0.002, end=8)],
    [
        dict(type="OneCycleLR", eta_max=0.3, by_epoch=False, end=100),
        dict(type="CosineAnnealingLR", eta_min_ratio=0.5, begin=6),
    ],
    [
        dict(type="CosineAnnealingLR", eta_min_ratio=0.5, begin=6),
        dict(type="OneCycleLR", eta_max=0.3, by_epoch=False, end=100),
    ],
    [
        dict(type="LinearLR", start_factor=1.0, end_factor=0.0, end=3),
        dict(type="CosineAnnealingLR", eta_min=0.01, begin=3),
    ],
]


def test_lists_of_schedulers_that_act_on_each_others_value(mmengine):
    for config in TOGETHER:
        for run in (EPOCHS, ITERATIONS):
            for order in itertools.permutations(config):
                try:
                    zoo.mmengine_values(order, run, [0.02])
                except ValueError:  # a window that begins after the only epoch of a run by iteration
                    with pytest.raises(ValueError, match="end must be larger than begin"):
                        curve(order, run)
                else:
                    check(order, run)


METRICS = [3.0, 2.0, 2.0, 2.5, 1.9999, 2.0, 2.0, 1.0, 1.5, 1.5, 1.5, 1.5]
PLATEAUS = [
    dict(patience=1),
    dict(patience=0, factor=0.5, cooldown=2, begin=2, min_value=0.004),
    dict(patience=1, rule="greater", threshold=0.1),
    dict(patience=1, threshold_rule="abs", threshold=0.6),
    dict(patience=0, begin=3, end=6),
]


@pytest.mark.parametrize("settings", PLATEAUS)
@pytest.mark.parametrize("validated", [range(1, 13), (4, 8, 12)])
def test_reduce_on_plateau_report_by_report(mmengine, settings, validated):
    config = dict(type="ReduceOnPlateauLR", **settings)
    before = [dict(type="ConstantLR", factor=0.5, by_epoch=False, end=20)]
    if not settings.get("min_value"):  # a floor acts on what all make together
        before = [dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=20), dict(type="CosineAnnealingLR")]
    expected = zoo.mmengine_plateau([*before, config], EPOCHS, 0.02, dict(zip(validated, METRICS, strict=False)))

    tx = js.sgd(lr=curve([*before, config], EPOCHS, "lr", lambda epoch: sum(e < epoch for e in validated))(0.02))
    params = {"w": jnp.zeros(())}
    state = tx.init(params)
    update = jax.jit(tx.update)
    got = []
    metrics = iter(METRICS)
    for epoch in range(12):
        for _ in range(EPOCHS.steps_per_epoch):
            _, state = update(params, state, params)
            got.append(float(js.hyperparams(state)["weight"]["lr"]))
        if epoch + 1 in validated:
            state = js.report_metric(state, next(metrics))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


MOMENTUM = [
    {**kind, "type": kind["type"].replace("LR", "Momentum")}
    for kind in KINDS
    if not kind["type"].startswith(("OneCycle", "mmdet"))
]


def test_every_momentum_twin(mmengine):
    for kind, clock in itertools.product(MOMENTUM, CLOCKS):
        check(kind | dict(begin=1, end=10) | clock, EPOCHS, 0.9, "momentum")


GENERIC = [
    {**kind, "type": kind["type"].removesuffix("LR") + "ParamScheduler"}
    for kind in KINDS
    if not kind["type"].startswith(("OneCycle", "mmdet"))
]


@pytest.mark.parametrize(("what", "base"), [("weight_decay", 0.05), ("lr", 0.02)])
def test_every_generic_scheduler(mmengine, what, base):
    for kind, clock in itertools.product(GENERIC, CLOCKS):
        check(kind | dict(begin=1, end=10, param_name=what) | clock, EPOCHS, base, what)


def test_a_cosine_of_a_fraction_of_epochs(mmengine):
    for length in (4.5, 7.25):
        config = dict(type="CosineAnnealingLR", T_max=length, eta_min=0.001, begin=0.5, convert_to_iter_based=True)
        check(config, EPOCHS, 0.02)


def test_the_schedulers_of_other_packages(mmengine):
    for config in (
        dict(type="ConstantLR", factor=2.5, begin=2, end=8),
        dict(type="PolyLRRatio", eta_min_ratio=0.1, power=0.9, begin=1, end=11),
        dict(type="PolyLRRatio", eta_min=0.001, end=12),
    ):
        scope, file = ("mmpose", "constant_lr") if "factor" in config else ("mmseg", "poly_ratio_scheduler")
        made = getattr(zoo.of_package(scope, f"engine/schedulers/{file}.py"), config["type"])
        torch = pytest.importorskip("torch")
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
        scheduler = made(optimizer=optimizer, **{key: value for key, value in config.items() if key != "type"})
        expected = []
        for _ in range(12):
            expected.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
        named = None if "eta_min" in config else scope  # only MMSegmentation has a PolyLRRatio
        got = curve(config, EPOCHS, scope=named)(0.02)(np.arange(12) * EPOCHS.steps_per_epoch)
        np.testing.assert_allclose(got, expected, rtol=1e-6, err_msg=str(config))


def test_momentum_and_lr_schedulers_of_one_list_do_not_meet(mmengine):
    config = [dict(type="MultiStepLR", milestones=[4]), dict(type="StepMomentum", step_size=5)]
    check(config, EPOCHS)
    check(config, EPOCHS, 0.9, "momentum")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_list_equals_mmengine(mmengine, data):
    entries = []
    kinds = st.sampled_from([kind for kind in KINDS if "OneCycle" not in kind["type"]])
    for kind in data.draw(st.lists(kinds, min_size=1, max_size=4)):
        clock = data.draw(st.sampled_from(CLOCKS))
        unit = 12 if clock.get("by_epoch") else 240
        begin = data.draw(st.integers(0, unit - 2))
        end = data.draw(st.integers(begin + 1, unit + 5))
        entries.append(kind | clock | dict(begin=begin, end=end))
    try:
        zoo.mmengine_values(entries, EPOCHS, [0.02])
    except ZeroDivisionError:  # a factor that reached 0
        return
    check(entries, EPOCHS)


def test_what_would_be_a_huge_table_is_refused():
    config = [dict(type="CosineAnnealingLR", eta_min=0.1, by_epoch=False), dict(type="StepLR", step_size=1)]
    with pytest.raises(ValueError, match="tabulated, for 5000000 steps at most, and these go on for 100000000"):
        curve(config, Run(steps=10**8, steps_per_epoch=10**4, epochs=10**4))(0.1)


BAD = [
    (dict(milestones=[8]), ValueError, "param_scheduler: 'type' is missing"),
    (dict(type="StepsLR"), ValueError, "type 'StepsLR' is not known"),
    (dict(type="OneCycleMomentum"), ValueError, "type 'OneCycleMomentum' is not known"),
    (dict(type="ReduceOnPlateauLR", by_epoch=False), ValueError, "goes by epoch"),
    (dict(type="ReduceOnPlateauLR", min_value=[0.1, 0.2]), ValueError, "min_value differs between the groups"),
    (
        [dict(type="ReduceOnPlateauLR"), dict(type="CosineAnnealingLR", eta_min=0.1)],
        ValueError,
        "continues from the reduced value.*eta_min=0.*begin ReduceOnPlateau where it ends",
    ),
    ([dict(type="ReduceOnPlateauLR"), dict(type="ReduceOnPlateauLR")], ValueError, "more than one ReduceOnPlateau"),
    (dict(type="MultiStepLR"), ValueError, "'milestones' is missing"),
    (dict(type="MultiStepLR", milestones=8), TypeError, "milestones must be a list"),
    (dict(type="MultiStepLR", milestones=[8.5]), ValueError, "it would never be reached"),
    (dict(type="MultiStepLR", milestone=[8], milestones=[8]), ValueError, "did you mean 'milestones'"),
    (dict(type="LinearLR", start_factor=2), ValueError, r"start_factor must be in \[0, 1\]"),
    (dict(type="LinearLR", start_factor=0), ValueError, "start_factor must be positive"),
    (dict(type="ConstantLR", factor=2), ValueError, r"factor must be in \(0, 1\]"),
    (dict(type="ConstantLR", begin=5, end=5), ValueError, "end must be larger than begin"),
    (dict(type="ConstantLR", by_epoch=False, convert_to_iter_based=True), ValueError, "needs by_epoch=True"),
    (dict(type="CosineAnnealingLR", eta_min=0.1, eta_min_ratio=0.1), ValueError, "exactly one of"),
    (dict(type="CosineRestartLR", periods=[3]), ValueError, "exactly one of"),
    (dict(type="CosineRestartLR", periods=[3, 4], eta_min=0), ValueError, "2 periods need as many"),
    (dict(type="OneCycleLR", eta_max=[0.1, 0.2]), ValueError, "eta_max differs between the groups"),
    (dict(type="ConstantLR", last_step=5), ValueError, "last_step=5 resumes a run"),
    (dict(type="ConstantLR", factor="1"), TypeError, "factor must be a number, got the string"),
    ("ConstantLR", TypeError, "must hold names and values"),
]


@pytest.mark.parametrize(("config", "error", "message"), BAD)
def test_bad_settings_name_the_key_and_the_remedy(config, error, message):
    with pytest.raises(error, match=message):
        curve(config, EPOCHS)(0.1)


def of_mmyolo(*schedulers):
    return {
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.02}, "constructor": "YOLOv5OptimizerConstructor"},
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": EPOCHS.epochs},
        "param_scheduler": list(schedulers),
    }


def test_one_cycle_with_a_value_for_each_group(mmengine):
    """MMYOLO's constructor makes three groups, weights, norms and biases; the wrapper adds the optimizer's defaults."""
    import torch
    from mmengine.optim import OneCycleLR, OptimWrapper

    entry = dict(eta_max=[0.1, 0.3, 0.2, 0.05], total_steps=EPOCHS.steps, by_epoch=False, end=EPOCHS.steps)
    wrapper = OptimWrapper(
        torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(3)], lr=0.02)
    )
    made = OneCycleLR(wrapper, **entry)
    expected = []
    for _ in range(EPOCHS.steps - 1):
        expected.append([group["lr"] for group in wrapper.optimizer.param_groups])
        made.step()
    recipe = js.ports.openmmlab.recipe(of_mmyolo({"type": "OneCycleLR", **entry}), steps_per_epoch=20)
    groups = recipe.by_group()
    for values, name in zip(np.transpose(expected), ("weight", "norm", "bias"), strict=True):
        got = np.asarray(groups[name]["lr"](np.arange(EPOCHS.steps - 1)), np.float64)
        np.testing.assert_allclose(got, values, rtol=1e-6, err_msg=name)


def test_a_plateau_with_a_floor_for_each_group(mmengine):
    import torch
    from mmengine.optim import OptimWrapper, ReduceOnPlateauLR

    entry = dict(monitor="loss", patience=0, min_value=[0.001, 0.004, 0.015], end=EPOCHS.epochs)
    wrapper = OptimWrapper(
        torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(3)], lr=0.02)
    )
    made = ReduceOnPlateauLR(wrapper, **entry)
    made.step({"loss": 1.0})
    made.step({"loss": 2.0})
    expected = [group["lr"] for group in wrapper.optimizer.param_groups]
    recipe = js.ports.openmmlab.recipe(of_mmyolo({"type": "ReduceOnPlateauLR", **entry}), steps_per_epoch=20)
    params = {"conv": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "bn": {"scale": jnp.ones(2)}}
    tx = recipe.build()
    state = tx.init(params)
    for loss in (1.0, 2.0):
        state = js.report_metric(state, loss)
    _, state = tx.update(params, state, params)
    got = [js.hyperparams(state)[name]["lr"] for name in ("weight", "norm", "bias")]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (dict(type="OneCycleLR", eta_max=[1, 2, 3]), "eta_max needs 4 values, of weight, norm, bias, and one for"),
        (
            dict(type="ReduceOnPlateauLR", min_value=[0.1, 0.2]),
            "min_value needs 3 values, of weight, norm, bias, got 2",
        ),
    ],
)
def test_a_list_of_another_length_than_the_groups(entry, message):
    with pytest.raises(ValueError, match=message):
        js.ports.openmmlab.recipe(of_mmyolo(entry), steps_per_epoch=20)
