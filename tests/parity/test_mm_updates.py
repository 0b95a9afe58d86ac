"""Updates of OpenMMLab's runs against the real hooks: accumulation by update_interval, several optimizers."""

import types

import fetch_zoo as zoo
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import openmmlab

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("originals")]


def config(runner, **optimizer_config):
    optimizer = dict(type="SGD", lr=0.1, momentum=0.9)
    return dict(optimizer=optimizer, optimizer_config=optimizer_config, lr_config=None, runner=runner)


@pytest.mark.parametrize(("steps", "every"), [(12, 4), (11, 4), (3, 5)])
def test_update_interval_as_in_mmselfsup(steps, every):
    """The parameter after each batch, whose gradient is the batch's number."""
    hook = zoo.load(zoo.OLDER["mmselfsup"] / "core/hooks/optimizer_hook.py").DistOptimizerHook(update_interval=every)
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    runner = types.SimpleNamespace(
        **dict(optimizer=optimizer, model=torch.nn.Identity(), logger=types.SimpleNamespace()),
        **dict(max_iters=steps, _max_iters=steps, iter=0),
    )
    runner.logger.warning = lambda text: None
    hook.before_run(runner)
    expected = []
    for i in range(steps):
        runner.iter, runner.outputs = i, {"loss": weight * (i + 1)}
        hook.after_train_iter(runner)
        expected.append(float(weight.detach()))

    recipe = openmmlab.recipe(
        config(dict(type="IterBasedRunner", max_iters=steps), type="DistOptimizerHook", update_interval=every),
        steps_per_epoch=4,
    )
    tx = recipe.build()
    params = {"w": np.zeros((), np.float32)}
    state = tx.init(params)
    got = []
    for i in range(steps):
        updates, state = tx.update({"w": np.float32(i + 1)}, state, params)
        params = {"w": params["w"] + updates["w"]}
        got.append(float(params["w"]))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_each_of_several_optimizers_has_the_lr_of_the_real_hook():
    from mmcv.runner.hooks import HOOKS

    bases = {"generator": 1e-4, "disc": 4e-4}
    lr_config = dict(policy="Step", by_epoch=False, step=[10, 25], gamma=0.5, warmup="linear", warmup_iters=5)
    hook = HOOKS.build({"type": "StepLrUpdaterHook", **{k: v for k, v in lr_config.items() if k != "policy"}})
    groups = {name: [dict(lr=base)] for name, base in bases.items()}
    optimizers = {name: types.SimpleNamespace(param_groups=found) for name, found in groups.items()}
    runner = types.SimpleNamespace(optimizer=optimizers, iter=0, epoch=0, max_iters=40, data_loader=range(40))
    hook.before_run(runner)
    expected = {name: [] for name in bases}
    for i in range(40):
        runner.iter = i
        hook.before_train_iter(runner)
        for name, found in groups.items():
            expected[name].append(found[0]["lr"])
    whole = dict(
        optimizer={name: dict(type="Adam", lr=base) for name, base in bases.items()},
        lr_config=lr_config,
        runner=dict(type="IterBasedRunner", max_iters=40),
    )
    for name in bases:
        recipe = openmmlab.recipe(whole, steps_per_epoch=20, optimizer=name)
        np.testing.assert_allclose(js.curves(recipe, range(40))["weight"]["lr"], expected[name], rtol=1e-6)
