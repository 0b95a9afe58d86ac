"""Every scheduler of torch, stepped live, against its closed form here: lr and momentum, two groups, past the end."""

import inspect
import re
import warnings

import jax
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import jaxsched as js

torch = pytest.importorskip("torch")
lr_scheduler = pytest.importorskip("torch.optim.lr_scheduler")
swa_utils = pytest.importorskip("torch.optim.swa_utils")

ours = js.ports.torch
STEPS = 257  # one length for all: one compilation of each operation
BASES = (0.1, 0.004)


def torch_class(name):
    return getattr(swa_utils if name == "SWALR" else lr_scheduler, name)


def build(tree, optimizer):
    """The torch scheduler that a pair (name, arguments), whose arguments may hold further pairs, describes."""
    name, kwargs = tree
    kwargs = {k: v for k, v in kwargs.items() if k != "steps"}
    if "schedulers" not in kwargs:
        return torch_class(name)(optimizer, **kwargs)
    members = [build(member, optimizer) for member in kwargs.pop("schedulers")]
    if name == "ChainedScheduler":
        return lr_scheduler.ChainedScheduler(members, optimizer=optimizer)
    return torch_class(name)(optimizer, members, **kwargs)


def port(tree):
    name, kwargs = tree
    if "schedulers" in kwargs:
        kwargs = {**kwargs, "schedulers": [port(member) for member in kwargs["schedulers"]]}
    return getattr(ours, name)(**kwargs)


def stepped(tree, steps=STEPS, adam=False):
    """Learning rates and momenta [steps, group] of the live scheduler."""
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": base} for base in BASES]
    optimizer = torch.optim.Adam(groups) if adam else torch.optim.SGD(groups, lr=1.0, momentum=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = build(tree, optimizer)
        lrs, momenta = [], []
        for step in range(steps):
            lrs.append([group["lr"] for group in optimizer.param_groups])
            momenta.append([group["betas"][0] if adam else group["momentum"] for group in optimizer.param_groups])
            if step + 1 < steps:
                scheduler.step()
    return np.asarray(lrs), np.asarray(momenta)


def drift(tree):
    """By what torch's own recursion may be off: CosineAnnealingLR divides by ``1 + cos(pi * t / T_max)``, which comes
    near 0 where ``T_max`` is no whole number."""
    name, kwargs = tree
    off = kwargs["T_max"] % 1 if name == "CosineAnnealingLR" else 0
    return 1e-12 if off == 0 else 1e-12 + 1e-15 / (1 + np.cos(np.pi * (1 - min(off, 1 - off) / kwargs["T_max"])))


def check(tree, steps=STEPS, adam=False, first=0):
    # float32: 1e-6 is a dozen ulp. float64: what torch's own recursions drift by, 5e-13 of the peak.
    lrs, momenta = (values[first:] for values in stepped(tree, steps, adam))
    at = np.arange(first, steps)
    for wide, rtol in ((False, 1e-6), (True, drift(tree))):
        with jax.enable_x64(wide):
            for group, base in enumerate(BASES):
                scheduler = port(tree).for_group(group)
                # what the recursion drifts by is a share of the distance to eta_min, however small the lr is there
                atol = max(1e-12, drift(tree) if wide else 0.0) * np.abs(lrs[:, group]).max()
                np.testing.assert_allclose(scheduler(base)(at), lrs[:, group], rtol=rtol, atol=atol, err_msg=str(tree))
                if scheduler.momentum is None:
                    assert np.all(momenta[:, group] == momenta[0, group])
                else:
                    np.testing.assert_allclose(scheduler.momentum(at), momenta[:, group], rtol=rtol, err_msg=str(tree))


def square_root(step):
    return 1 / (1 + step) ** 0.5


def late(step):
    return 0.1 if step < 20 else 1.0


LEAVES = [
    ("StepLR", dict(step_size=30)),
    ("StepLR", dict(step_size=7, gamma=1.1)),
    ("StepLR", dict(step_size=10, gamma=0.0)),
    ("MultiStepLR", dict(milestones=[100, 30, 30], gamma=0.3)),
    ("MultiStepLR", dict(milestones=[0, 5])),
    ("MultiStepLR", dict(milestones=[])),
    ("ConstantLR", dict()),
    ("ConstantLR", dict(factor=0.25, total_iters=40)),
    ("ConstantLR", dict(factor=0.5, total_iters=0)),
    ("ConstantLR", dict(factor=0.5, total_iters=2.5)),
    ("LinearLR", dict()),
    ("LinearLR", dict(start_factor=1e-3, total_iters=100)),
    ("LinearLR", dict(start_factor=1.0, end_factor=0.0, total_iters=200)),
    ("LinearLR", dict(start_factor=0.5, total_iters=0)),
    ("LinearLR", dict(start_factor=0.5, end_factor=0.9, total_iters=12.5)),
    ("ExponentialLR", dict(gamma=0.97)),
    ("ExponentialLR", dict(gamma=1.0)),
    ("PolynomialLR", dict()),
    ("PolynomialLR", dict(total_iters=250, power=0.9)),
    ("PolynomialLR", dict(total_iters=300, power=2.0)),
    ("PolynomialLR", dict(total_iters=10, power=0.0)),
    ("PolynomialLR", dict(total_iters=0)),
    ("PolynomialLR", dict(total_iters=33.3, power=1.5)),
    ("CosineAnnealingLR", dict(T_max=100)),
    ("CosineAnnealingLR", dict(T_max=300, eta_min=1e-3)),
    ("CosineAnnealingLR", dict(T_max=1, eta_min=0.01)),
    ("CosineAnnealingLR", dict(T_max=12.5, eta_min=1e-4)),
    ("CosineAnnealingLR", dict(T_max=33.37)),
    ("CosineAnnealingLR", dict(T_max=50, eta_min=0.2)),
    ("CosineAnnealingWarmRestarts", dict(T_0=10)),
    ("CosineAnnealingWarmRestarts", dict(T_0=10, T_mult=2, eta_min=1e-3)),
    ("CosineAnnealingWarmRestarts", dict(T_0=2, T_mult=3)),
    ("CosineAnnealingWarmRestarts", dict(T_0=1)),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=20)),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=20, step_size_down=7, mode="triangular2")),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=20, mode="exp_range", gamma=0.99)),
    ("CyclicLR", dict(base_lr=0.0, max_lr=0.1, step_size_up=12.5, step_size_down=7.25, mode="triangular2")),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=8.5, mode="exp_range", gamma=0.995)),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=20, step_size_down=0, mode="triangular2")),
    ("CyclicLR", dict(base_lr=[0.01, 0.02], max_lr=[0.1, 0.05], step_size_up=9, base_momentum=0.7)),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=20, scale_fn=lambda cycle: 1 / cycle)),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, scale_fn=lambda t: 1 / (1 + t), scale_mode="iterations")),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, cycle_momentum=False)),
    ("OneCycleLR", dict(max_lr=0.1, total_steps=STEPS)),
    ("OneCycleLR", dict(max_lr=[0.1, 0.3], total_steps=300, pct_start=0.2, anneal_strategy="linear")),
    ("OneCycleLR", dict(max_lr=0.1, epochs=3, steps_per_epoch=100, three_phase=True)),
    ("OneCycleLR", dict(max_lr=0.1, total_steps=STEPS, three_phase=True, pct_start=0.5, anneal_strategy="linear")),
    ("OneCycleLR", dict(max_lr=0.1, total_steps=STEPS, three_phase=True, pct_start=0.7)),
    ("OneCycleLR", dict(max_lr=0.1, total_steps=STEPS, three_phase=True, pct_start=129 / 257)),
    ("OneCycleLR", dict(max_lr=0.1, total_steps=STEPS, pct_start=0.0)),
    ("OneCycleLR", dict(max_lr=0.1, total_steps=STEPS, pct_start=0.001)),
    ("OneCycleLR", dict(max_lr=0.1, total_steps=STEPS, pct_start=1.0)),
    ("OneCycleLR", dict(max_lr=0.1, total_steps=STEPS, div_factor=10.0, final_div_factor=1.0, base_momentum=0.6)),
    ("OneCycleLR", dict(max_lr=0.1, total_steps=STEPS, cycle_momentum=False)),
    ("SWALR", dict(swa_lr=0.05)),
    ("SWALR", dict(swa_lr=[0.05, 0.2], anneal_epochs=100)),
    ("SWALR", dict(swa_lr=0.5, anneal_epochs=64, anneal_strategy="linear")),
    ("SWALR", dict(swa_lr=0.5, anneal_epochs=0)),
    ("LambdaLR", dict(lr_lambda=square_root)),
    ("LambdaLR", dict(lr_lambda=[late, square_root], steps=STEPS)),
    ("MultiplicativeLR", dict(lr_lambda=lambda step: 0.95, steps=STEPS)),
    ("MultiplicativeLR", dict(lr_lambda=[late, square_root], steps=STEPS)),
]
LINEAR = ("LinearLR", dict(start_factor=0.1, total_iters=20))
CONSTANT = ("ConstantLR", dict(factor=0.1, total_iters=20))
EXPONENTIAL = ("ExponentialLR", dict(gamma=0.97))
COSINE = ("CosineAnnealingLR", dict(T_max=100))
COSINE_FLOOR = ("CosineAnnealingLR", dict(T_max=40, eta_min=0.01))
ONE_CYCLE = ("OneCycleLR", dict(max_lr=0.1, total_steps=200, pct_start=0.25))
CYCLIC = ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=9))
RESTARTS = ("CosineAnnealingWarmRestarts", dict(T_0=17, T_mult=2))


def sequential(schedulers, milestones, **kwargs):
    return ("SequentialLR", dict(schedulers=schedulers, milestones=milestones, **kwargs))


def chained(*schedulers, **kwargs):
    return ("ChainedScheduler", dict(schedulers=list(schedulers), **kwargs))


COMPOSED = [
    sequential([LINEAR, COSINE], [20]),
    sequential([LINEAR, COSINE_FLOOR], [10]),
    sequential([LINEAR, EXPONENTIAL, COSINE_FLOOR], [20, 20]),
    sequential([LINEAR, EXPONENTIAL], [0]),
    sequential([CONSTANT, RESTARTS, ("MultiStepLR", dict(milestones=[0, 9]))], [5, 100]),
    sequential([EXPONENTIAL], []),
    sequential([LINEAR, ONE_CYCLE], [60]),
    sequential([CYCLIC, COSINE], [50]),
    sequential([COSINE, CYCLIC], [50]),
    sequential([LINEAR, ("MultiplicativeLR", dict(lr_lambda=lambda step: 0.9))], [7], steps=STEPS),
    sequential([EXPONENTIAL, ("SWALR", dict(swa_lr=0.05, anneal_epochs=30))], [50], steps=STEPS),
    sequential([EXPONENTIAL, ("SWALR", dict(swa_lr=0.05, anneal_epochs=0))], [50]),
    sequential([RESTARTS, LINEAR], [40]),
    chained(CONSTANT, EXPONENTIAL),
    chained(LINEAR, ("StepLR", dict(step_size=30)), ("PolynomialLR", dict(total_iters=200, power=2.0))),
    chained(EXPONENTIAL),
    chained(COSINE, EXPONENTIAL, steps=STEPS),
    chained(EXPONENTIAL, COSINE_FLOOR, steps=STEPS),
    chained(COSINE_FLOOR, EXPONENTIAL, steps=STEPS),
    chained(LINEAR, COSINE_FLOOR, steps=STEPS),
    chained(RESTARTS, EXPONENTIAL, steps=STEPS),
    chained(("LambdaLR", dict(lr_lambda=late, steps=STEPS)), ("StepLR", dict(step_size=50)), steps=STEPS),
    chained(sequential([LINEAR, COSINE_FLOOR], [20]), ("StepLR", dict(step_size=50)), steps=STEPS),
    chained(EXPONENTIAL, ("SWALR", dict(swa_lr=0.05, anneal_epochs=30)), steps=STEPS),
    chained(EXPONENTIAL, ("MultiplicativeLR", dict(lr_lambda=late)), steps=STEPS),
    chained(LINEAR, ("MultiplicativeLR", dict(lr_lambda=square_root, steps=STEPS))),
]


def named(tree):
    """Without the addresses of functions, so that each worker of pytest-xdist finds the same names."""
    return re.sub(r"<function ([\w.<>]+) at 0x\w+>", r"\1", f"{tree[0]}({tree[1]})")[:120]


@pytest.mark.parametrize("tree", LEAVES, ids=named)
def test_every_scheduler(tree):
    check(tree)


@pytest.mark.parametrize("tree", COMPOSED, ids=named)
def test_compositions(tree):
    check(tree)


def test_a_cycle_in_a_chain_begins_at_its_base():
    check(chained(EXPONENTIAL, CYCLIC, ("StepLR", dict(step_size=10)), steps=STEPS), first=1)
    assert ours.ChainedScheduler([ours.ExponentialLR(0.9), port(CYCLIC)], steps=9)(0.1)(0) == np.float32(0.01)


@pytest.mark.parametrize("tree", [CYCLIC, ONE_CYCLE])
def test_the_first_beta_is_cycled_in_place_of_a_momentum(tree):
    check(tree, steps=200, adam=True)


factors, counts = st.floats(0.05, 1.2), st.integers(1, 300)
unit = st.floats(0.0, 1.0)
DRAWN = {
    "StepLR": dict(step_size=counts, gamma=factors),
    "MultiStepLR": dict(milestones=st.lists(st.integers(0, 300), max_size=6), gamma=factors),
    "ConstantLR": dict(factor=st.floats(0.01, 1.0), total_iters=st.integers(-1, 300)),
    "LinearLR": dict(start_factor=st.floats(0.01, 1.0), end_factor=unit, total_iters=st.integers(0, 300)),
    "ExponentialLR": dict(gamma=st.floats(0.9, 1.01)),
    "PolynomialLR": dict(total_iters=st.integers(0, 300), power=st.integers(5, 150).map(lambda n: n / 50)),
    "CosineAnnealingLR": dict(
        T_max=st.one_of(counts, st.integers(4, 2000).map(lambda n: n / 4), st.integers(10, 900).map(lambda n: n / 10)),
        eta_min=st.floats(0.0, 0.2),
    ),
    "CosineAnnealingWarmRestarts": dict(T_0=counts, T_mult=st.integers(1, 4), eta_min=st.floats(0.0, 0.05)),
    "CyclicLR": dict(
        base_lr=st.floats(0.0, 0.1),
        max_lr=st.floats(0.1, 1.0),
        step_size_up=st.integers(1, 80),
        step_size_down=st.one_of(st.none(), st.integers(1, 80)),
        mode=st.sampled_from(["triangular", "triangular2", "exp_range"]),
        gamma=st.floats(0.98, 1.0),
    ),
    "OneCycleLR": dict(
        max_lr=st.floats(0.01, 1.0),
        total_steps=st.integers(STEPS, 500),
        pct_start=st.floats(0.02, 0.98),
        anneal_strategy=st.sampled_from(["cos", "linear"]),
        three_phase=st.booleans(),
    ),
    "SWALR": dict(
        swa_lr=st.floats(0.01, 1.0),
        anneal_epochs=st.integers(0, 300),
        anneal_strategy=st.sampled_from(["cos", "linear"]),
    ),
}
leaf = st.sampled_from(list(DRAWN)).flatmap(lambda name: st.tuples(st.just(name), st.fixed_dictionaries(DRAWN[name])))


UNEVEN = dict(max_lr=1.0, total_steps=381, pct_start=0.17484074317531004, anneal_strategy="linear", three_phase=True)


@settings(max_examples=100, deadline=None)
@example(tree=("OneCycleLR", UNEVEN))  # phases that end between two steps: at 131.23 in float32 an end is off by 8e-6
@example(tree=("CosineAnnealingLR", {"T_max": 78.25, "eta_min": 0.125}))  # torch's recursion leaves it by 6e-11
@example(tree=("CosineAnnealingLR", {"T_max": 109.75, "eta_min": 0.125}))
@given(tree=leaf)
def test_every_scheduler_drawn(tree):
    try:
        check(tree)
    except ZeroDivisionError:  # torch's, where a T_max that is no whole number has a whole odd multiple
        assume(False)


MULTIPLY = ["StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR", "CosineAnnealingLR"]
# At a milestone torch divides by a total_iters of 0, and for ConstantLR takes it otherwise than at step 0.
DRAWN_LATER = {
    **{name: {**DRAWN[name], "total_iters": counts} for name in ("ConstantLR", "LinearLR", "PolynomialLR")},
    "CosineAnnealingLR": dict(T_max=counts, eta_min=st.floats(0.0, 0.2)),
}
member = st.sampled_from([*MULTIPLY, "CosineAnnealingWarmRestarts"]).flatmap(
    lambda name: st.tuples(st.just(name), st.fixed_dictionaries({**DRAWN, **DRAWN_LATER}[name]))
)


@settings(max_examples=40, deadline=None)
@given(members=st.lists(member, min_size=2, max_size=4), data=st.data())
def test_sequences_drawn(members, data):
    ascending = st.lists(st.integers(0, 250), min_size=len(members) - 1, max_size=len(members) - 1).map(sorted)
    check(sequential(members, data.draw(ascending)))


def test_every_class_of_torch_is_here_with_its_keywords():
    classes = [
        value
        for value in vars(lr_scheduler).values()
        if inspect.isclass(value) and issubclass(value, lr_scheduler.LRScheduler) and value.__name__[0] != "_"
    ]
    names = {c.__name__ for c in [*classes, swa_utils.SWALR]} - {"LRScheduler"}
    assert names >= {"StepLR", "ReduceLROnPlateau", "OneCycleLR", "SWALR"}
    for name in names:
        theirs = inspect.signature(torch_class(name)).parameters
        mine = inspect.signature(getattr(ours, name)).parameters
        assert set(mine) - {"steps"} == set(theirs) - {"optimizer"}, name
        assert [k for k in mine if k != "steps"] == [k for k in theirs if k != "optimizer"], "and in their order"
        for key in set(mine) - {"steps"}:
            if theirs[key].default is not inspect.Parameter.empty:
                assert mine[key].default == theirs[key].default, (name, key)


@pytest.mark.parametrize("tree", [COSINE_FLOOR, ("StepLR", dict(step_size=9)), ONE_CYCLE, RESTARTS, CYCLIC])
def test_last_epoch_goes_on_from_there(tree):
    name, kwargs = tree
    whole, _ = stepped(tree, 200)
    rest = getattr(ours, name)(**kwargs, last_epoch=49)(BASES[0])
    np.testing.assert_allclose(rest(np.arange(150)), whole[50:, 0], rtol=1e-6, atol=1e-12)


def test_plateau_follows_the_scheduler():
    theirs_on = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    kwargs = dict(mode="max", factor=0.5, patience=2, cooldown=1, min_lr=0.02)
    theirs = lr_scheduler.ReduceLROnPlateau(theirs_on, **kwargs)
    state = js.sgd(lr=ours.ReduceLROnPlateau(**kwargs)(0.1)).init({"kernel": np.ones(1, np.float32)})
    for metric in [1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]:
        theirs.step(metric)
        state = js.report_metric(state, metric)
        mine = js.metric_state(state)["weight"]["lr"]
        assert float(mine.value) == pytest.approx(theirs_on.param_groups[0]["lr"], rel=1e-6)
        assert (int(mine.bad), int(mine.cooldown)) == (theirs.num_bad_epochs, theirs.cooldown_counter)
