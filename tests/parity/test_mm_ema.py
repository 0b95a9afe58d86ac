"""EMA hooks: the decay at each update, from the real averages and hooks as they move one number."""

from types import SimpleNamespace

import fetch_zoo as zoo
import numpy as np
import pytest

from jaxsched.ports import openmmlab

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")
STEPS = 60


def averaged(decays, values):
    """What `jaxsched.ema` makes of the values: it starts at the first parameters, here 0."""
    average, result = 0.0, []
    for decay, value in zip(decays, values, strict=True):
        average = decay * average + (1 - decay) * value
        result.append(average)
    return np.asarray(result)


def decays(config):
    recipe = openmmlab.recipe(config, steps_per_epoch=10)
    return np.asarray(recipe.ema(np.arange(STEPS)), np.float64)


VALUES = np.random.default_rng(0).normal(size=STEPS)


@pytest.mark.parametrize(
    "hook",
    [
        dict(momentum=0.1),
        dict(momentum=0.01, begin_iter=7),
        dict(momentum=0.01, begin_epoch=3),
        dict(momentum=0.05, interval=3),
        dict(ema_type="ExpMomentumEMA", momentum=1e-4),
        dict(ema_type="mmdet.ExpMomentumEMA", momentum=2e-4, gamma=20, begin_iter=5),
        dict(ema_type="MomentumAnnealingEMA", momentum=0.01, gamma=10),
        dict(ema_type="StochasticWeightAverage"),
    ],
)
def test_mmengine(originals, hook):
    from mmengine.hooks import EMAHook
    from mmengine.registry import MODELS

    with zoo.instead("mmdet", "mmdet.registry", by=lambda _: __import__("mmengine.registry").registry):
        zoo.load(zoo.ZOO / "mmdet3/mmdet/models/layers/ema.py")
    assert "ExpMomentumEMA" in MODELS.module_dict
    real = EMAHook(**{**hook, "ema_type": hook.get("ema_type", "ExponentialMovingAverage").rpartition(".")[2]})
    model = torch.nn.Linear(1, 1, bias=False).double()
    model.weight.data.zero_()
    runner = SimpleNamespace(model=model, iter=0, epoch=0, max_epochs=6, max_iters=STEPS)
    real.before_run(runner)
    expected = []
    for step, value in enumerate(VALUES):
        runner.iter, runner.epoch = step, step // 10
        model.weight.data.fill_(value)
        real.after_train_iter(runner, step)
        expected.append(float(real.ema_model.module.weight))

    config = {
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}},
        "train_cfg": {"by_epoch": True, "max_epochs": 6},
        "custom_hooks": [{"type": "EMAHook", "priority": 49, "update_buffers": True, **hook}],
    }
    np.testing.assert_allclose(averaged(decays(config), VALUES), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "hook",
    [
        dict(type="EMAHook"),
        dict(type="EMAHook", momentum=0.3, interval=2, warm_up=10),
        dict(type="ExpMomentumEMAHook", momentum=0.0001, resume_from=None),
        dict(type="ExpMomentumEMAHook", momentum=0.001, total_iter=30, interval=4),
        dict(type="LinearMomentumEMAHook", momentum=0.2, warm_up=20),
    ],
)
def test_mmcv_and_mmdetection_2(originals, hook):
    from mmcv.runner.hooks import HOOKS

    zoo.load(zoo.ZOO / "mmdet2/mmdet/core/hook/ema.py")
    real = HOOKS.build(dict(hook))
    model = torch.nn.Linear(1, 1, bias=False).double()
    model.weight.data.zero_()
    runner = SimpleNamespace(model=model, iter=0)
    real.before_run(runner)
    expected = []
    for step, value in enumerate(VALUES):
        runner.iter = step
        model.weight.data.fill_(value)
        real.after_train_iter(runner)
        expected.append(float(dict(model.named_buffers())["ema_weight"]))
    config = {
        "optimizer": {"type": "SGD", "lr": 0.1},
        "runner": {"type": "EpochBasedRunner", "max_epochs": 6},
        "custom_hooks": [{"priority": 49, **hook}],
    }
    np.testing.assert_allclose(averaged(decays(config), VALUES), expected, rtol=1e-6, atol=1e-6)


NETWORK = {"type": "ExponentialMovingAverageHook", "module_keys": "generator_ema"}


def of_mmediting(hook, optimizer="generator"):
    config = {
        "optimizers": {"generator": {"type": "Adam", "lr": 1e-4}, "discriminator": {"type": "Adam", "lr": 1e-4}},
        "total_iters": STEPS,
        "runner": {"type": "IterBasedRunner", "max_iters": STEPS},
        "custom_hooks": [{**NETWORK, **hook}],
    }
    return openmmlab.recipe(config, steps_per_epoch=10, optimizer=optimizer)


@pytest.mark.parametrize(
    "hook",
    [
        dict(interval=1),
        dict(interval=1, interp_cfg=dict(momentum=0.9), start_iter=7),
        dict(interval=3, interp_cfg=dict(momentum=0.8), module_keys=("generator_ema",), start_iter=4),
    ],
)
def test_mmediting(originals, hook):
    real = zoo.load(zoo.ZOO / "mmedit/mmedit/core/hooks/ema.py").ExponentialMovingAverageHook(
        **{key: value for key, value in {**NETWORK, **hook}.items() if key != "type"}
    )
    model = torch.nn.Module()
    model.generator, model.generator_ema = (torch.nn.Linear(1, 1, bias=False).double() for _ in range(2))
    model.generator_ema.weight.data.zero_()
    expected = []
    for step, value in enumerate(VALUES):
        model.generator.weight.data.fill_(value)
        real.after_train_iter(SimpleNamespace(model=model, iter=step))
        expected.append(float(model.generator_ema.weight))
    decay = np.asarray(of_mmediting(hook).ema(np.arange(STEPS)), np.float64)
    np.testing.assert_allclose(averaged(decay, VALUES), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ({}, "interval=-1 never averages"),
        (
            dict(interval=1, momentum_policy="rampup"),
            "momentum_policy is read as 'fixed' only: take the hook out, and set",
        ),
        (dict(interval=1, interp_mode="slerp"), "interp_mode is read as 'lerp' only"),
        (dict(interval=1, interp_cfg=dict(beta=1)), "'beta' is not known"),
    ],
)
def test_what_of_mmediting_is_not_read(hook, said):
    with pytest.raises(ValueError, match=said):
        of_mmediting(hook)


def test_the_other_network_is_not_averaged():
    assert of_mmediting(dict(interval=1), "discriminator").ema is None
