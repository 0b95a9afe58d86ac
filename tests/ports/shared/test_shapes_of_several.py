"""The schedules that OpenMMLab's port defines behave as the core's do: jit, vmap, gradients, far past the end, JSON."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import openmmlab
from jaxsched.ports.openmmlab import _ema as _mm_ema
from jaxsched.ports.openmmlab._context import Run
from jaxsched.ports.openmmlab._policies import curve
from jaxsched.ports.openmmlab.mmengine._schedulers import curve as scheduled
from jaxsched.ports.shared import _shapes

RUN = Run(steps=240, steps_per_epoch=20, epochs=12)
WARM = dict(warmup="exp", warmup_iters=30, warmup_ratio=0.1)
YOLOX = dict(policy="YOLOX", by_epoch=False, num_last_epochs=3, min_lr=0.001, warmup="exp", warmup_iters=9)
COSINE = dict(type="CosineAnnealingLR", begin=1, T_max=5, eta_min=0.01, convert_to_iter_based=True)
RESTART = dict(type="CosineRestartLR", periods=[3, 4], restart_weights=[1, 0.5], eta_min=0.01)
HALF = dict(type="ConstantLR", factor=0.5, begin=3, end=7)
SCHEDULES = {
    "step with warm-up": curve(dict(policy="step", step=[8, 11]) | WARM, RUN)(0.1),
    "inverse": curve(dict(policy="inv", gamma=0.3, power=0.75), RUN)(0.1),
    "cyclic": curve(dict(policy="cyclic", cyclic_times=3, gamma=0.5), RUN)(0.1),
    "one cycle": curve(dict(policy="OneCycle", max_lr=0.3, three_phase=True), RUN)(0.1),
    "yolox": curve(YOLOX, RUN)(0.1),
    "cosine and back": scheduled([COSINE], RUN)(0.1),
    "restarts, held": scheduled([RESTART], RUN)(0.1),
    "a table": scheduled([COSINE, HALF], RUN)(0.1),
    "quadratic": scheduled([dict(type="QuadraticWarmupLR", end=5)], RUN)(0.1),
    "behind": _shapes.shifted(js.linear(1.0, 0.0, 50), -7),
    "every third": _mm_ema.every_nth(js.schedules.exponential_ramp(0.9, 20), 3, 1),
    "momentum ramp": _mm_ema.momentum_ramp(0.01, 100),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_it_is_a_schedule_like_any_other(name):
    schedule, at = SCHEDULES[name], jnp.asarray([*range(256), 2**30, 2**31 - 1])
    eager = schedule(at)
    np.testing.assert_allclose(jax.jit(lambda s, step: s(step))(schedule, at), eager, rtol=1e-6, atol=1e-7)
    stacked = jax.jit(jax.vmap(lambda s: s(5)))(js.stack([schedule, schedule]))
    np.testing.assert_allclose(stacked, [eager[5]] * 2, rtol=1e-6)
    assert np.all(np.isfinite(eager) & (eager >= 0))
    slopes = jax.tree.leaves(jax.jit(jax.grad(lambda s: s(9), allow_int=True))(schedule))
    assert all(np.all(np.isfinite(g)) for g in slopes if g.dtype != jax.dtypes.float0)
    recipe = js.Recipe("sgd", {"lr": schedule})
    assert js.Recipe.from_json(recipe.to_json()) == recipe


def test_another_learning_rate_of_one_config_is_no_second_compilation():
    traces = []

    @jax.jit
    def at_100(recipe):
        traces.append(recipe)
        return recipe.hyperparameters["lr"](100)

    for lr in (0.01, 0.02):
        config = dict(
            optimizer=dict(type="SGD", lr=lr),
            lr_config=dict(policy="step", step=[8, 11], warmup="linear", warmup_iters=50),
            runner=dict(type="EpochBasedRunner", max_epochs=12),
        )
        assert float(at_100(openmmlab.recipe(config, steps_per_epoch=100).replace(origin={}))) == pytest.approx(lr)
    assert len(traces) == 1
