"""Plateau against the live schedulers of torch and mmengine, report by report."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxsched as js

torch = pytest.importorskip("torch")
mmengine_optim = pytest.importorskip("mmengine.optim")

REPORTS = 48
BASES = (0.1, 0.004)


@jax.jit
def follow(state, metrics):
    """The states after each report. The settings are arrays in the state: one compilation for all."""
    return jax.lax.scan(lambda s, metric: (js.report_metric(s, metric),) * 2, state, metrics)[1]


def ours(definitions, metrics, dtype):
    rules = [(f"{i}", f"{i}") for i in range(len(definitions))]
    groups = {f"{i}": dict(lr=lr) for i, lr in enumerate(definitions)}
    params = {f"{i}": jnp.ones((), dtype) for i in range(len(definitions))}
    states = follow(js.sgd(rules=rules, groups=groups).init(params), jnp.asarray(metrics, dtype))
    return [js.metric_state(states)[f"{i}"]["lr"] for i in range(len(definitions))]


def optimizer(bases=BASES):
    return torch.optim.SGD([{"params": [torch.zeros(1)], "lr": base} for base in bases], lr=1.0)


def compare(mine, values, bests, bads, cools, rtol):
    values = np.asarray(values)
    for group, state in enumerate(mine):
        np.testing.assert_allclose(state.value, values[:, group], rtol=rtol, atol=0)
        ends = np.finfo(state.best.dtype).min, np.finfo(state.best.dtype).max  # which stand for no best in place of inf
        np.testing.assert_array_equal(np.clip(np.asarray(state.best, np.float64), *ends), np.clip(bests, *ends))
        np.testing.assert_array_equal(state.bad, bads)
        np.testing.assert_array_equal(state.cooldown, cools)


# Sixteenths: exact in float32, so that torch, in float64, is asked the same questions. Thresholds at which no two
# sixteenths are in balance, but for those that are exact too.
METRICS = st.lists(
    st.one_of(
        st.integers(-20, 60).map(lambda n: n / 16),
        st.integers(8, 24).map(lambda n: n / 16),
        st.sampled_from([np.nan, np.inf, -np.inf, 0.0]),
    ),
    min_size=REPORTS,
    max_size=REPORTS,
)
SETTINGS = st.fixed_dictionaries(
    dict(
        mode=st.sampled_from(["min", "max"]),
        factor=st.sampled_from([0.1, 0.5, 0.95, 0.0, -0.5, 0.3]),
        patience=st.integers(0, 6),
        threshold=st.sampled_from([1e-4, 0.0, 0.25, 1.0, 2.0, 1e-2, -0.125]),
        threshold_mode=st.sampled_from(["rel", "abs"]),
        cooldown=st.integers(0, 4),
        min_lr=st.one_of(st.sampled_from([0.0, 1e-3, 0.05]), st.just([0.01, 0.003])),
        eps=st.sampled_from([1e-8, 0.0, 2e-3]),
    )
)


@pytest.mark.parametrize(("dtype", "rtol"), [(jnp.float32, 2e-6), (jnp.float64, 1e-14)])
@settings(max_examples=60, deadline=None)
@given(metrics=METRICS, kwargs=SETTINGS)
def test_torch(dtype, rtol, metrics, kwargs):
    # float32: each reduction rounds once, by half an ulp (6e-8); there are at most 48
    theirs_on = optimizer()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs_on, **kwargs)
    values, bests, bads, cools = [], [], [], []
    for metric in metrics:
        scheduler.step(metric)
        values.append([group["lr"] for group in theirs_on.param_groups])
        bests.append(scheduler.best)
        bads.append(scheduler.num_bad_epochs)
        cools.append(scheduler.cooldown_counter)
    floors = kwargs["min_lr"] if isinstance(kwargs["min_lr"], list) else [kwargs["min_lr"]] * 2
    with jax.enable_x64(dtype == jnp.float64):
        definitions = [
            js.plateau(
                base,
                kwargs["factor"],
                kwargs["patience"],
                threshold=kwargs["threshold"],
                relative=kwargs["threshold_mode"] == "rel",
                maximize=kwargs["mode"] == "max",
                cooldown=kwargs["cooldown"],
                floor=floor,
                least_change=kwargs["eps"],
            )
            for base, floor in zip(BASES, floors, strict=True)
        ]
        compare(ours(definitions, metrics, dtype), values, bests, bads, cools, rtol)


@pytest.mark.parametrize(("begin", "end"), [(0, 10**9), (3, 10**9), (0, 9), (4, 20)])
def test_mmengine_begin_and_end(begin, end):
    metrics = [1.0] * 12 + [2.0] * 20
    theirs_on = optimizer()
    scheduler = mmengine_optim.ReduceOnPlateauLR(
        theirs_on, monitor="loss", factor=0.5, patience=2, cooldown=1, begin=begin, end=end
    )
    values = []
    for metric in metrics:  # an epoch of training, then one of validation: its clock is then at 1 for the first report
        scheduler.step()
        scheduler.step({"loss": metric})
        values.append([group["lr"] for group in theirs_on.param_groups])
    since, until = max(begin - 1, 0), min(end - 1, len(metrics))
    lrs = [js.plateau(base, 0.5, 2, cooldown=1, since=since, until=until) for base in BASES]
    for group, state in enumerate(ours(lrs, metrics, jnp.float32)):
        np.testing.assert_allclose(state.value, np.asarray(values)[:, group], rtol=1e-6)
