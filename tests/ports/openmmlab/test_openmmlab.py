"""OpenMMLab's configs as recipes: lengths, optimizers, clipping, accumulation, scaling, notes and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import openmmlab

OLD = dict(
    optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001),
    optimizer_config=dict(grad_clip=None),
    lr_config=dict(policy="step", step=[8, 11], warmup="linear", warmup_iters=500, warmup_ratio=0.001),
    runner=dict(type="EpochBasedRunner", max_epochs=12),
)
NEW = dict(
    optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001)),
    param_scheduler=[
        dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
        dict(type="MultiStepLR", begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
    ],
    train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=12, val_interval=1),
    auto_scale_lr=dict(enable=False, base_batch_size=16),
)


def changed(config, path, value):
    """A copy with one entry replaced, or removed (by ``...``)."""
    name, _, rest = path.partition(".")
    result = dict(config)
    if rest:
        result[name] = changed(result.get(name, {}), rest, value)
    elif value is ...:
        del result[name]
    else:
        result[name] = value
    return result


def lr(recipe, *steps, group="weight"):
    return js.curves(recipe, list(steps))[group]["lr"].tolist()


def test_the_1x_schedule_of_both_generations():
    """They differ by one iteration: the old warm-up is whole at iteration 500, the new one at 499."""
    old, new = (openmmlab.recipe(config, steps_per_epoch=1000) for config in (OLD, NEW))
    assert lr(old, 0, 250, 500, 7999, 8000, 11000) == pytest.approx([2e-5, 0.01001, 0.02, 0.02, 0.002, 0.0002])
    assert lr(new, 0, 499, 500, 7999, 8000, 11000) == pytest.approx([2e-5, 0.02, 0.02, 0.02, 0.002, 0.0002])
    assert lr(old, 499)[0] == pytest.approx(0.02 * (1 - 0.002 * 0.999))
    for recipe in (old, new):
        assert (recipe.optimizer, recipe.steps, recipe.steps_per_epoch) == ("sgd", 12000, 1000)
        assert recipe.hyperparameters["momentum"] == 0.9
        assert recipe.hyperparameters["weight_decay"] == 0.0001


def test_the_old_warmup_falls_with_a_milestone_that_it_runs_into():
    recipe = openmmlab.recipe(OLD, steps_per_epoch=50)
    before, after = lr(recipe, 399, 400)
    assert after / before == pytest.approx(0.1, rel=0.01)


def test_a_run_by_iteration():
    old = {**OLD, "runner": dict(type="IterBasedRunner", max_iters=90000)}
    old["lr_config"] = dict(policy="step", step=[60000, 80000])
    assert openmmlab.recipe(old, steps_per_epoch=7330).steps == 90000
    assert lr(openmmlab.recipe(old, steps_per_epoch=7330), 59999, 60000) == pytest.approx([0.02, 0.002])
    new = changed(NEW, "train_cfg", dict(type="IterBasedTrainLoop", max_iters=90000))
    new["param_scheduler"] = dict(type="MultiStepLR", by_epoch=False, milestones=[60000])
    assert lr(openmmlab.recipe(new, steps_per_epoch=7330), 59999, 60000) == pytest.approx([0.02, 0.002])


def test_total_epochs_stands_for_the_runner_of_older_configs():
    assert openmmlab.recipe({**changed(OLD, "runner", ...), "total_epochs": 3}, steps_per_epoch=10).steps == 30


def test_a_milestone_beyond_the_end_of_its_scheduler_never_comes():
    """As in faster-rcnn_r50-caffe_fpn_ms-2x_coco.py, whose rate never falls."""
    config = {**NEW, "param_scheduler": [dict(type="MultiStepLR", end=12, milestones=[16, 23])]}
    config["train_cfg"] = dict(type="EpochBasedTrainLoop", max_epochs=24)
    assert set(lr(openmmlab.recipe(config, steps_per_epoch=10), *range(240))) == {np.float32(0.02)}


def test_clipping_of_both_generations():
    old = {**OLD, "optimizer_config": dict(grad_clip=dict(max_norm=35, norm_type=2))}
    assert openmmlab.recipe(old, steps_per_epoch=10).clip_norm == 35
    for clip, norm, value in ((dict(max_norm=0.1), 0.1, None), (dict(type="value", clip_value=0.5), None, 0.5)):
        recipe = openmmlab.recipe(changed(NEW, "optim_wrapper.clip_grad", clip), steps_per_epoch=10)
        assert (recipe.clip_norm, recipe.clip_value) == (norm, value)


@pytest.mark.parametrize("every", [2, 5])
def test_accumulation_averages_and_ends_with_what_is_left(every):
    old = {**OLD, "optimizer_config": dict(type="GradientCumulativeOptimizerHook", cumulative_iters=every)}
    for config in (old, changed(NEW, "optim_wrapper.accumulative_counts", every)):
        recipe = openmmlab.recipe({**config, "custom_hooks": []}, steps_per_epoch=1)
        assert recipe.accumulate.mean
        expected = {i for i in range(12) if (i + 1) % every == 0} | {11}
        assert set(np.flatnonzero(js.report.update_steps(recipe))) == expected


def test_learning_rates_are_scaled_only_when_a_batch_size_is_given():
    recipe = openmmlab.recipe(NEW, steps_per_epoch=1000, batch_size=64)
    assert lr(recipe, 1000)[0] == pytest.approx(0.08)
    assert recipe.batch_size == 64
    assert "auto_scale_lr: learning rates x 64 / 16 = 4" in recipe.notes
    with pytest.raises(ValueError, match="auto_scale_lr is enabled: pass batch_size="):
        openmmlab.recipe(changed(NEW, "auto_scale_lr.enable", True), steps_per_epoch=10)
    with pytest.raises(ValueError, match=r"no auto_scale_lr\.base_batch_size"):
        openmmlab.recipe(OLD, steps_per_epoch=10, batch_size=64)


def test_momentum_schedules():
    old = {**OLD, "momentum_config": dict(policy="step", step=[4])}
    assert js.curves(openmmlab.recipe(old, steps_per_epoch=10), [39, 40])["weight"]["momentum"].tolist() == [
        np.float32(0.9),
        np.float32(0.45),
    ]
    new = changed(NEW, "optim_wrapper.optimizer", dict(type="AdamW", lr=1e-3, betas=(0.8, 0.95), weight_decay=0.05))
    new["param_scheduler"] = [dict(type="StepMomentum", step_size=4, gamma=0.5)]
    recipe = openmmlab.recipe(new, steps_per_epoch=10)
    assert js.curves(recipe, [39, 40])["weight"]["momentum"].tolist() == pytest.approx([0.8, 0.4])
    assert recipe.hyperparameters["betas"][1] == 0.95


def test_what_a_config_holds_beside_is_noted():
    config = {
        **OLD,
        "fp16": dict(loss_scale="dynamic"),
        "custom_hooks": [dict(type="NumClassCheckHook"), dict(type="YOLOXModeSwitchHook", num_last_epochs=15)],
    }
    notes = openmmlab.recipe(config, steps_per_epoch=10).notes
    assert "fp16: mixed precision is not part of a recipe" in notes
    assert "custom_hooks: YOLOXModeSwitchHook is not part of a recipe" in notes


def test_the_groups_of_paramwise_cfg():
    paramwise = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={"backbone": dict(lr_mult=0.1)})
    recipe = openmmlab.recipe(changed(NEW, "optim_wrapper.paramwise_cfg", paramwise), steps_per_epoch=1000)
    groups = js.curves(recipe, [1000])
    assert {name: float(values["lr"][0]) for name, values in groups.items()} == pytest.approx(
        {"backbone": 0.002, "conv_offset": 0.02, "norm": 0.02, "bias": 0.02, "weight": 0.02}
    )
    assert [groups[name]["weight_decay"][0] for name in ("norm", "bias", "backbone")] == pytest.approx([0, 0, 1e-4])


def test_a_recipe_trains_and_is_kept_as_json():
    config = changed(NEW, "optim_wrapper.paramwise_cfg", dict(norm_decay_mult=0.0))
    config["custom_hooks"] = [dict(type="EMAHook", ema_type="ExpMomentumEMA", momentum=1e-4)]
    config["param_scheduler"] = [
        dict(type="mmdet.QuadraticWarmupLR", by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
        dict(type="CosineAnnealingLR", eta_min=0.001, begin=5, T_max=6, end=9, convert_to_iter_based=True),
    ]
    recipe = openmmlab.recipe(config, steps_per_epoch=10)
    assert js.Recipe.from_json(recipe.to_json()) == recipe
    tx = recipe.build()
    params = {"conv": {"kernel": jnp.ones((2, 2))}, "bn": {"scale": jnp.ones(2), "bias": jnp.ones(2)}}
    state = tx.init(params)
    updates, state = jax.jit(tx.update)(params, state, params)
    assert float(js.hyperparams(state)["weight"]["lr"]) == pytest.approx(0.02 / 2500)
    assert float(js.ema_params(state)["bn"]["scale"][0]) == pytest.approx(1 + float(updates["bn"]["scale"][0]))


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({}, ValueError, "neither optim_wrapper nor optimizer"),
        (changed(OLD, "runner", ...), ValueError, "the config has no runner"),
        (changed(NEW, "train_cfg", None), ValueError, "the config has no train_cfg"),
        (changed(OLD, "runner.max_epochs", ...), ValueError, "runner: 'max_epochs' is missing"),
        (changed(NEW, "train_cfg.max_epochs", 0), ValueError, "max_epochs must be a whole number >= 1"),
        (changed(OLD, "runner.max_epochs", 10**9), ValueError, "a run of 10000000000 steps is too long"),
        (changed(OLD, "runner.type", "MyRunner"), ValueError, "type must be one of 'EpochBasedRunner'"),
        (changed(OLD, "optimizer.type", "Sofia"), ValueError, "type 'Sofia' is not an optimizer"),
        (changed(OLD, "optimizer.lr", ...), ValueError, "optimizer: 'lr' is missing"),
        (changed(OLD, "optimizer.lr", "0.02"), TypeError, "lr must be a number, got the string"),
        (changed(OLD, "optimizer.momentun", 0.9), ValueError, "did you mean 'momentum'"),
        (changed(OLD, "optimizer.constructor", "Mine"), ValueError, "'Mine' is not known"),
        (changed(OLD, "optimizer_config.type", "MyHook"), ValueError, "optimizer_config: type 'MyHook' is not known"),
        (changed(OLD, "optimizer_config.grad_clip", {}), ValueError, "grad_clip: 'max_norm' is missing"),
        (changed(OLD, "optimizer_config.grad_clip", dict(max_norm=1, norm_type=1)), ValueError, "norm_type must be 2"),
        (changed(NEW, "optim_wrapper.type", "MyWrapper"), ValueError, "type 'MyWrapper' is not known"),
        (changed(NEW, "optim_wrapper.clip_gard", {}), ValueError, "did you mean 'clip_grad'"),
        (changed(NEW, "optim_wrapper.accumulative_counts", 0), ValueError, "accumulative_counts must be a whole"),
        (changed(NEW, "param_scheduler", dict(type="SomeLR")), ValueError, "type 'SomeLR' is not known"),
        (changed(OLD, "momentum_config", dict(policy="exp")), ValueError, "momentum_config: policy 'exp' is not known"),
    ],
)
def test_bad_configs_name_the_setting(config, error, message):
    with pytest.raises(error, match=message):
        openmmlab.recipe(config, steps_per_epoch=10)


@pytest.mark.parametrize(
    ("paramwise", "message"),
    [
        (dict(norm_decay=0), "did you mean 'norm_decay_mult'"),
        (dict(dwconv_decay_mult=0.0), "dwconv_decay_mult needs depthwise="),
        (dict(custom_keys=dict(head=dict(lr_multt=2))), "did you mean 'lr_mult'"),
        (dict(flat_decay_mult=0.0), "not known to mmcv 1.x"),
    ],
)
def test_bad_paramwise_options_name_the_setting(paramwise, message):
    with pytest.raises(ValueError, match=message):
        openmmlab.recipe(changed(OLD, "optimizer.paramwise_cfg", paramwise), steps_per_epoch=10)


def test_a_decay_mult_needs_a_decay():
    config = changed(changed(OLD, "optimizer.weight_decay", ...), "optimizer.paramwise_cfg", dict(norm_decay_mult=0.0))
    with pytest.raises(ValueError, match="needs a weight_decay"):
        openmmlab.recipe(config, steps_per_epoch=10)


@pytest.mark.parametrize("steps_per_epoch", [0, -1, 1.5, None])
def test_steps_per_epoch_is_a_count(steps_per_epoch):
    with pytest.raises((TypeError, ValueError), match="steps_per_epoch"):
        openmmlab.recipe(OLD, steps_per_epoch=steps_per_epoch)


TEXT = """
optimizer = dict(type='SGD', lr=0.02, momentum=0.9)
lr_config = dict(policy='step', step={step})
runner = dict(type='EpochBasedRunner', max_epochs=12, later=build('x'))
model = dict(backbone=build('resnet'))
custom_hooks = [dict(type='MyHook', argument=build('hook'))]
"""


def test_a_file_is_read_and_its_name_compared(tmp_path):
    path = tmp_path / "faster_rcnn_r50_fpn_2x_coco.py"
    path.write_text(TEXT.format(step=[8, 11]))
    with pytest.warns(UserWarning, match="the name says 2x, which is 24 epochs; the config trains for 12"):
        recipe = openmmlab.read(path, steps_per_epoch=10)
    assert lr(recipe, 79, 80) == pytest.approx([0.02, 0.002])


def test_what_cannot_be_read_is_an_error_only_where_it_touches_the_schedule(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(TEXT.format(step="steps(12)"))
    with pytest.raises(ValueError, match=r"config.py:3: lr_config: step needs `steps\(12\)`"):
        openmmlab.read(path, steps_per_epoch=10)
    path.write_text(TEXT.format(step=(8, 11)))
    with pytest.raises(TypeError, match=r"config.py: lr_config: step must be a positive int or a list"):
        openmmlab.read(path, steps_per_epoch=10)


def test_the_pure_python_style_is_read(tmp_path):
    (tmp_path / "_base_").mkdir()
    (tmp_path / "_base_/schedule.py").write_text(
        "from mmengine.optim.scheduler.lr_scheduler import LinearLR, MultiStepLR\n"
        "from mmengine.optim.optimizer.optimizer_wrapper import OptimWrapper\n"
        "from mmengine.runner.loops import EpochBasedTrainLoop\n"
        "from torch.optim.sgd import SGD\n"
        "train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=12, val_interval=1)\n"
        "param_scheduler = [\n"
        "    dict(type=LinearLR, start_factor=0.001, by_epoch=False, begin=0, end=500),\n"
        "    dict(type=MultiStepLR, begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)]\n"
        "optim_wrapper = dict(type=OptimWrapper,\n"
        "    optimizer=dict(type=SGD, lr=0.02, momentum=0.9, weight_decay=0.0001))\n"
    )
    path = tmp_path / "detector_2x.py"
    path.write_text(
        "from mmengine.config import read_base\n"
        "with read_base():\n    from ._base_.schedule import *\n"
        "from torch.optim.adamw import AdamW\n"
        "max_epochs = 24\n"
        "train_cfg.update(dict(max_epochs=max_epochs))\n"
        "param_scheduler[1].update(dict(end=max_epochs, milestones=[2 * max_epochs // 3, 22]))\n"
        "optim_wrapper.merge(dict(optimizer=dict(_delete_=True, type=AdamW, lr=1e-4, weight_decay=0.05)))\n"
    )
    recipe = openmmlab.read(path, steps_per_epoch=100)
    assert (recipe.optimizer, recipe.steps, recipe.hyperparameters["weight_decay"]) == ("adamw", 2400, 0.05)
    assert lr(recipe, 0, 499, 1599, 1600, 2200) == pytest.approx([1e-7, 1e-4, 1e-4, 1e-5, 1e-6])


@pytest.mark.parametrize(("every", "begin"), [(1, 1), (5, 1), (4, 6), (20, 1), (3, 12)])
def test_metrics_are_reported_after_each_validation(every, begin):
    """mmengine validates after epochs from ``val_begin`` on that ``val_interval`` divides, and after the last."""
    config = changed(
        NEW, "train_cfg", dict(type="EpochBasedTrainLoop", max_epochs=12, val_interval=every, val_begin=begin)
    )
    config["param_scheduler"] = [
        dict(type="ReduceOnPlateauLR", monitor="coco/bbox_mAP", rule="greater", begin=5, end=11)
    ]
    recipe = openmmlab.recipe(config, steps_per_epoch=10)
    validated = [e for e in range(begin, 13) if e % every == 0 or e == 12]
    arguments = recipe.hyperparameters["lr"].arguments
    assert arguments["since"] == sum(e < 5 for e in validated)
    assert arguments["until"] == sum(e < 11 for e in validated)
    assert "param_scheduler[0]: pass 'coco/bbox_mAP' to jaxsched.report_metric after each validation" in recipe.notes
