"""fvcore's schedulers, live: the same number at every iteration."""

import inspect

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jaxsched.ports import detectron2

fvcore = pytest.importorskip("fvcore.common.param_scheduler")

CASES = {
    "constant": ("ConstantParamScheduler", (0.42,)),
    "cosine": ("CosineParamScheduler", (0.1, 0.0001)),
    "linear": ("LinearParamScheduler", (0.0001, 0.01)),
    "exponential": ("ExponentialParamScheduler", (2.0, 0.02)),
    "polynomial": ("PolynomialDecayParamScheduler", (0.1, 0.9)),
    "multi step": ("MultiStepParamScheduler", ([0.1, 0.01, 0.001], 90, [30, 60])),
    "multi step, even": ("MultiStepParamScheduler", ([1.0, 0.1, 0.01, 0.001], 90)),
    "multi step, unit free": ("MultiStepParamScheduler", ([1.0, 0.1, 0.01], None, [3, 6, 9])),
    "step": ("StepParamScheduler", (120, [0.1, 0.01, 0.001])),
    "fixed gamma": ("StepWithFixedGammaParamScheduler", (0.1, 3, 0.1, 120)),
}


def both(name, arguments):
    return getattr(fvcore, name)(*arguments), getattr(detectron2, name)(*arguments)


def compare(theirs, ours, max_iter, scale=1.0):
    # Arrays of one length only, so that jax compiles each operation once for all tests.
    expected = np.resize([theirs(i / max_iter) for i in range(max_iter)], 96)
    steps = np.resize(np.arange(max_iter), 96)
    assert [ours(i / max_iter) for i in range(0, max_iter, 7)] == [theirs(i / max_iter) for i in range(0, max_iter, 7)]
    # 1e-6 and 1e-12 of the largest value: fvcore's cosine and 1 - where cancel near their ends
    np.testing.assert_allclose(ours.over(max_iter)(steps), expected, rtol=0, atol=1e-6 * scale)
    with jax.enable_x64(True):
        np.testing.assert_allclose(ours.over(max_iter)(steps), expected, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("max_iter", [11, 90])
@pytest.mark.parametrize("case", CASES)
def test_each_class(case, max_iter):
    compare(*both(*CASES[case]), max_iter)


def composite(module, parts, lengths, scaling):
    return module.CompositeParamScheduler([getattr(module, n)(*a) for n, a in parts], list(lengths), scaling)


@settings(max_examples=8, deadline=None)
@given(
    parts=st.lists(st.sampled_from([CASES[k] for k in CASES if k != "constant"]), min_size=1, max_size=3),
    weights=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    scaling=st.lists(st.sampled_from(["rescaled", "fixed"]), min_size=4, max_size=4),
    max_iter=st.sampled_from([11, 90]),
)
def test_composites(parts, weights, scaling, max_iter):
    weights = weights[: len(parts)]
    lengths = [w / sum(weights) for w in weights]
    arguments = (parts, lengths, scaling[: len(parts)])
    theirs, ours = composite(fvcore, *arguments), composite(detectron2, *arguments)
    try:
        [theirs(i / max_iter) for i in range(max_iter)]
    except (IndexError, RuntimeError, TypeError):  # fvcore leaves its own range by the margin of 1e-6
        assume(False)
    compare(theirs, ours, max_iter, scale=2.0)


@settings(max_examples=25, deadline=None)
@given(
    max_iter=st.integers(5, 3_000_000),
    data=st.data(),
)
def test_stairs_come_at_the_same_iteration(max_iter, data):
    at = sorted(data.draw(st.sets(st.integers(1, max_iter - 1), min_size=1, max_size=4)))
    values = [0.5**k for k in range(len(at) + 1)]
    theirs, ours = (m.MultiStepParamScheduler(values, max_iter, at) for m in (fvcore, detectron2))
    near = np.unique(np.clip(np.add.outer(at, np.arange(-5, 3)), 0, max_iter - 1))
    np.testing.assert_array_equal(ours.over(max_iter)(near), [theirs(i / max_iter) for i in near.tolist()])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("MultiStepParamScheduler", ([1.0, 0.1],)),
        ("MultiStepParamScheduler", ([1.0, 0.1], 90, [30, 60])),
        ("MultiStepParamScheduler", ([1.0, 0.1], 90, [90])),
        ("MultiStepParamScheduler", ([1.0, 0.1, 0.01], 90, [60, 30])),
        ("MultiStepParamScheduler", ([1.0, 0.1, 0.01], 2)),
        ("StepParamScheduler", (0, [1.0])),
        ("StepParamScheduler", (1, [])),
        ("StepWithFixedGammaParamScheduler", (0.0, 1, 0.1, 1)),
        ("StepWithFixedGammaParamScheduler", (1.0, 0, 0.1, 1)),
    ],
)
def test_what_fvcore_refuses(name, arguments):
    for module in (fvcore, detectron2):
        with pytest.raises(ValueError):
            getattr(module, name)(*arguments)


def test_composites_that_fvcore_refuses():
    for parts, lengths, scaling in (
        ([], [], []),
        ([CASES["linear"]], [0.5], ["fixed"]),
        ([CASES["linear"]], [1], ["x"]),
    ):
        for module in (fvcore, detectron2):
            with pytest.raises(ValueError):
                composite(module, parts, lengths, scaling)


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES.values()}) + ["CompositeParamScheduler"])
def test_the_same_arguments_and_defaults(name):
    def arguments(function):
        return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]

    assert arguments(getattr(detectron2, name)) == arguments(getattr(fvcore, name))
