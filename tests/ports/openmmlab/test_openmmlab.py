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
    with pytest.raises(ValueError, match=r"auto_scale_lr: it is enabled, .*; give batch_size="):
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
        (changed(OLD, "runner.type", "MyRunner"), ValueError, "'MyRunner' is not known; known are EpochBasedRunner"),
        (changed(OLD, "optimizer.type", "Sofia"), ValueError, "type 'Sofia' is not an optimizer"),
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
        (dict(dwconv_decay_mult=0.0), "dwconv_decay_mult needs depthwise="),
        (dict(custom_keys=[1]), "custom_keys must be a dict"),
    ],
)
def test_bad_paramwise_options_name_the_setting(paramwise, message):
    with pytest.raises((TypeError, ValueError), match=message):
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


def cautions(recipe):
    return [note for note in recipe.notes if note.startswith("caution")]


@pytest.mark.parametrize(
    ("paramwise", "said"),
    [
        (dict(norm_decay=0), "'norm_decay' is not known; did you mean 'norm_decay_mult'"),
        (dict(custom_keys=dict(head=dict(wd_mult=0.0))), "'wd_mult' is not known; did you mean 'decay_mult'"),
        (dict(flat_decay_mult=0.0), "flat_decay_mult is not known to mmcv 1.x, which ignores it"),
        (dict(_delete=True, norm_decay_mult=0.0), "'_delete' is not known"),
    ],
)
def test_what_the_constructor_ignores_is_ignored_and_said(paramwise, said):
    recipe = openmmlab.recipe(changed(OLD, "optimizer.paramwise_cfg", paramwise), steps_per_epoch=10)
    (note,) = cautions(recipe)
    assert said in note
    assert {finding.code for finding in js.lint(recipe)} >= {"unknown-key"}
    assert {values["weight_decay"] for group, values in recipe.by_group().items() if group != "norm"} == {0.0001}


def test_a_leading_dot_names_a_parameter_of_the_root_alone():
    """The original's name of a root parameter is ``.logit_scale``, that of any other ``backbone.classifier.weight``."""
    keys = {".backbone.classifier": dict(lr_mult=10), ".logit_scale": dict(lr_mult=2)}
    recipe = openmmlab.recipe(changed(OLD, "optimizer.paramwise_cfg", dict(custom_keys=keys)), steps_per_epoch=10)
    classifier = {"classifier": {"kernel": jnp.ones((2, 2))}}
    tree = {"backbone": classifier, "logit_scale": jnp.ones(()), "student": {"backbone": classifier}}
    labels = js.groups.labels(tree, recipe.rules)
    assert labels["backbone"]["classifier"]["kernel"] == "weight"
    assert labels["student"]["backbone"]["classifier"]["kernel"] == ".backbone.classifier"
    assert labels["logit_scale"] == ".logit_scale"


@pytest.mark.parametrize(
    ("where", "hook", "said"),
    [
        ("custom_hooks", [dict(type="MyLrDecayHook")], "MyLrDecayHook may change"),
        ("custom_hooks", [dict(type="MEGVIIEMAHook", init_updates=10560)], "MEGVIIEMAHook may change"),
        ("custom_hooks", [dict(type="Freezer", warmup_epochs=3)], "Freezer may change"),
        ("default_hooks", dict(mean=dict(type="MeanTeacherHook", momentum=0.001)), "MeanTeacherHook may change"),
        ("lr_config", dict(policy="step", step=[3]), "settings of mmcv 1.x, which mmengine does not read: lr_config"),
        ("optimizer_config", dict(grad_clip=None), "which mmengine does not read: optimizer_config"),
    ],
)
def test_what_may_move_a_hyperparameter_and_is_not_read_is_said_loudly(where, hook, said):
    (note,) = cautions(openmmlab.recipe({**NEW, where: hook}, steps_per_epoch=10))
    assert said in note


def test_hooks_that_move_nothing_are_no_findings():
    usual = dict(
        checkpoint=dict(type="CheckpointHook", save_param_scheduler=True),
        param_scheduler=dict(type="ParamSchedulerHook"),
        timer=dict(type="IterTimerHook"),
    )
    hooks = [dict(type="NumClassCheckHook"), dict(type="YOLOXModeSwitchHook", num_last_epochs=15)]
    config = {**NEW, "default_hooks": usual, "custom_hooks": hooks, "optimizer": NEW["optim_wrapper"]["optimizer"]}
    assert not cautions(openmmlab.recipe(config, steps_per_epoch=10))


def test_an_average_in_the_default_hooks_is_read_and_two_are_an_error():
    ema = dict(type="mmengine.EMAHook", ema_type="mmdet.ExpMomentumEMA", momentum=2e-4, evaluate_on_origin=True)
    recipe = openmmlab.recipe({**NEW, "default_hooks": dict(ema=ema)}, steps_per_epoch=10)
    assert recipe.ema == openmmlab.recipe({**NEW, "custom_hooks": [ema]}, steps_per_epoch=10).ema is not None
    with pytest.raises(ValueError, match=r"custom_hooks\[0\] and default_hooks: ema both average"):
        openmmlab.recipe({**NEW, "custom_hooks": [ema], "default_hooks": dict(ema=ema)}, steps_per_epoch=10)


def test_schedulers_that_nothing_steps_are_an_error():
    with pytest.raises(ValueError, match="param_scheduler=None removes the hook"):
        openmmlab.recipe({**NEW, "default_hooks": dict(param_scheduler=None)}, steps_per_epoch=10)
    hook = dict(type="PPYOLOEParamSchedulerHook")
    with pytest.raises(ValueError, match="sets lr, as does param_scheduler"):
        openmmlab.recipe({**NEW, "default_hooks": dict(param_scheduler=hook)}, steps_per_epoch=10)


def test_names_with_a_scope_are_the_same_classes():
    scoped = changed(NEW, "optim_wrapper.type", "mmengine.OptimWrapper")
    scoped = changed(scoped, "optim_wrapper.constructor", "mmengine.DefaultOptimWrapperConstructor")
    scoped = changed(scoped, "train_cfg.type", "mmengine.EpochBasedTrainLoop")
    assert openmmlab.recipe(scoped, steps_per_epoch=10) == openmmlab.recipe(NEW, steps_per_epoch=10)


SEVERAL = dict(
    generator=dict(optimizer=dict(type="Adam", lr=1e-4)), discriminator=dict(optimizer=dict(type="Adam", lr=4e-4))
)


def test_of_several_optimizers_each_has_its_largest_lr():
    config = {
        "optimizer": {name: dict(type="SGD", lr=0.1) for name in ("generator", "discriminator", "third")},
        "lr_config": dict(policy="OneCycle", max_lr=dict(generator=0.2, discriminator=0.4)),
        "runner": dict(type="IterBasedRunner", max_iters=100),
    }
    for name, top in config["lr_config"]["max_lr"].items():
        recipe = openmmlab.recipe(config, steps_per_epoch=10, optimizer=name)
        assert np.max(js.curves(recipe, np.arange(100))["weight"]["lr"]) == pytest.approx(top, rel=1e-3)
    with pytest.raises(ValueError, match="lr_config: max_lr has no value for 'third'; add one"):
        openmmlab.recipe(config, steps_per_epoch=10, optimizer="third")


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("lr_config = dict(policy='Reduce')", "lr_config"),
        ("param_scheduler = [dict(type='MyLR', end=3)]\noptim_wrapper = dict(optimizer=optimizer)", "param_scheduler"),
    ],
)
def test_a_schedule_that_is_not_known_says_how_to_read_the_rest(tmp_path, text, option):
    path = tmp_path / "c.py"
    path.write_text(
        "optimizer = dict(type='SGD', lr=0.1)\nrunner = dict(type='EpochBasedRunner', max_epochs=2)\n"
        f"train_cfg = dict(by_epoch=True, max_epochs=2)\n{text}\n"
    )
    with pytest.raises(ValueError, match=rf"is not known; .* options={{'{option}': None}} \(--option {option}=None\)"):
        openmmlab.read(path, steps_per_epoch=10)
    assert float(openmmlab.read(path, steps_per_epoch=10, options={option: None}).by_group()["weight"]["lr"](3)) == (
        pytest.approx(0.1)
    )


def test_of_several_optimizers_one_is_read_by_name():
    new = dict(optim_wrapper=SEVERAL, train_cfg=dict(type="IterBasedTrainLoop", max_iters=1000))
    new["param_scheduler"] = dict(generator=dict(type="StepLR", step_size=100, by_epoch=False))
    old = dict(optimizers={name: one["optimizer"] for name, one in SEVERAL.items()}, total_iters=1000)
    old["lr_config"] = dict(policy="Step", by_epoch=False, step=[100])
    for config in (new, old, {**old, "optimizer": old["optimizers"]}):
        with pytest.raises(
            ValueError, match=r"several optimizers, 'generator', 'discriminator'.*; give optimizer=\.\.\."
        ):
            openmmlab.recipe(config, steps_per_epoch=10)
        with pytest.raises(ValueError, match="there is no optimizer 'critic'"):
            openmmlab.recipe(config, steps_per_epoch=10, optimizer="critic")
        recipe = openmmlab.recipe(config, steps_per_epoch=10, optimizer="generator")
        assert lr(recipe, 0, 99, 100) == pytest.approx([1e-4, 1e-4, 1e-5])
        assert recipe.steps == 1000
    assert lr(openmmlab.recipe(new, steps_per_epoch=10, optimizer="discriminator"), 500) == pytest.approx([4e-4])
    assert lr(openmmlab.recipe(old, steps_per_epoch=10, optimizer="discriminator"), 500) == pytest.approx([4e-5])
    with pytest.raises(ValueError, match="there is one optimizer"):
        openmmlab.recipe(OLD, steps_per_epoch=10, optimizer="generator")


def test_accumulation_by_update_interval_drops_what_is_left():
    """As in Swin's DistOptimizerHook: an update where ``(i + 1) % update_interval == 0``, else none."""
    hook = dict(type="DistOptimizerHook", update_interval=5, grad_clip=None, coalesce=True, use_fp16=True)
    old = {**OLD, "optimizer_config": hook, "runner": dict(type="EpochBasedRunnerAmp", max_epochs=12)}
    recipe = openmmlab.recipe(old, steps_per_epoch=1)
    assert recipe.accumulate.mean
    assert np.flatnonzero(js.report.update_steps(recipe)).tolist() == [4, 9]
    del hook["use_fp16"]  # and in MMSelfSup's with the last batch as well
    recipe = openmmlab.recipe(old, steps_per_epoch=1)
    assert np.flatnonzero(js.report.update_steps(recipe)).tolist() == [4, 9, 11]


def test_an_unknown_loop_says_what_it_counts_by_its_name():
    config = changed(OLD, "runner", dict(type="MyIterBasedRunner", max_iters=90))
    recipe = openmmlab.recipe(config, steps_per_epoch=10)
    assert (recipe.steps, [note[:22] for note in cautions(recipe)]) == (90, ["caution unknown-loop: "])


def test_an_optimizer_without_lr_has_that_of_torch():
    recipe = openmmlab.recipe(changed(OLD, "optimizer", dict(type="Adam")), steps_per_epoch=1000)
    assert lr(recipe, 1000) == pytest.approx([0.001])
    assert "lr is not set: it is torch's default, 0.001" in cautions(recipe)[0]


def test_the_weight_decay_moves_with_a_scheduler_of_its_own():
    config = {**NEW, "param_scheduler": [NEW["param_scheduler"][0]]}
    config["param_scheduler"] = [
        dict(type="CosineAnnealingParamScheduler", param_name="weight_decay", eta_min=1e-5, T_max=12),
        dict(type="MultiStepParamScheduler", param_name="lr", milestones=[8, 11]),
    ]
    config = changed(config, "optim_wrapper.paramwise_cfg", dict(norm_decay_mult=0.0))
    recipe = openmmlab.recipe(config, steps_per_epoch=10)
    curves = js.curves(recipe, [0, 60, 80])
    assert curves["weight"]["lr"].tolist() == pytest.approx([0.02, 0.02, 0.002])
    assert curves["weight"]["weight_decay"][:2].tolist() == pytest.approx([1e-4, 5.5e-5])
    assert curves["norm"]["weight_decay"][:2].tolist() == pytest.approx([0.0, 5e-6])
    assert js.Recipe.from_json(recipe.to_json()) == recipe
    # MMPretrain's own leaves a decay of 0 alone
    config["param_scheduler"] = [dict(type="CosineAnnealingWeightDecay", eta_min=1e-5, T_max=12)]
    curves = js.curves(openmmlab.recipe(config, steps_per_epoch=10), [0, 60])
    assert curves["weight"]["weight_decay"].tolist() == pytest.approx([1e-4, 5.5e-5])
    assert curves["norm"]["weight_decay"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (dict(type="ReduceOnPlateauLR", threshold=-1.0), "threshold must be in"),
        (dict(type="ReduceOnPlateauLR", min_value=0.005), "min_value=0.005 beside other schedulers is not read"),
        (dict(type="CosineAnnealingLR", T_max=0), "T_max must be positive"),
        (dict(type="StepParamScheduler", step_size=3), "'param_name' is missing"),
    ],
)
def test_bad_schedulers_name_the_setting(scheduler, message):
    config = {**NEW, "param_scheduler": [dict(type="MultiStepLR", milestones=[8]), scheduler]}
    with pytest.raises(ValueError, match=message):
        openmmlab.recipe(config, steps_per_epoch=10)


def test_a_plateau_may_follow_schedulers_that_lead_to_a_value():
    warm = dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=10)
    cosine = dict(type="CosineAnnealingLR", T_max=4, eta_min=0.01, begin=1, end=5)
    plateau = dict(type="ReduceOnPlateauLR", monitor="loss", begin=5)
    recipe = openmmlab.recipe({**NEW, "param_scheduler": [warm, cosine, plateau]}, steps_per_epoch=10)
    alone = openmmlab.recipe({**NEW, "param_scheduler": [warm, cosine]}, steps_per_epoch=10)
    assert lr(recipe, 0, 9, 30, 119) == pytest.approx(lr(alone, 0, 9, 30, 119))
    with pytest.raises(ValueError, match="begin ReduceOnPlateau where it ends"):
        openmmlab.recipe({**NEW, "param_scheduler": [cosine, {**plateau, "begin": 2}]}, steps_per_epoch=10)


def test_fractions_of_an_epoch_become_steps():
    config = {
        **NEW,
        "param_scheduler": [
            dict(type="LinearLR", start_factor=0.05, end=0.5, convert_to_iter_based=True),
            dict(type="CosineAnnealingLR", T_max=11.5, begin=0.5, end=12, convert_to_iter_based=True),
        ],
    }
    recipe = openmmlab.recipe(config, steps_per_epoch=100)
    assert lr(recipe, 0, 49, 625) == pytest.approx([0.001, 0.02, 0.01])


def test_a_gradient_clip_is_a_dict():
    with pytest.raises(TypeError, match=r"grad_clip must be a dict such as dict\(max_norm=35, norm_type=2\), got 2.0"):
        openmmlab.recipe(changed(OLD, "optimizer_config.grad_clip", 2.0), steps_per_epoch=10)


def test_options_change_a_config(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(TEXT.format(step=[8, 11]))
    options = {"optimizer.lr": 0.5, "lr_config.step.0": 4, "optimizer.constructor": None}
    recipe = openmmlab.read(path, steps_per_epoch=10, options=options)
    assert lr(recipe, 39, 40) == pytest.approx([0.5, 0.05])
    with pytest.raises(ValueError, match="'9' is not a position in a list of 2"):
        openmmlab.read(path, steps_per_epoch=10, options={"lr_config.step.9": 4})


def test_bases_are_named_by_what_stands_above_and_asked_what_they_have(tmp_path):
    (tmp_path / "b.py").write_text("optimizer = dict(type='SGD', lr=0.01)\nlr_config = dict(policy='step', step=[8])\n")
    path = tmp_path / "c.py"
    path.write_text(
        "p = './b'\n_base_ = [f'{p}.py']\nepochs = 3\nif hasattr(_base_, 'model'):\n    epochs = 4\n"
        "runner = dict(type='EpochBasedRunner', max_epochs=epochs)\n"
    )
    assert openmmlab.read(path, steps_per_epoch=10).steps == 30


@pytest.mark.parametrize(
    ("scheduler", "finds"),
    [
        (dict(type="MultiStepLR", milestones=[60000, 80000]), True),
        (dict(type="MultiStepLR", milestones=[60000, 80000], by_epoch=False), False),
        (dict(type="LinearMomentum", start_factor=0.5, end=500, by_epoch=False), False),
        ([], False),
    ],
)
def test_a_schedule_that_never_comes_is_said_and_found_by_lint(scheduler, finds):
    config = {**NEW, "param_scheduler": scheduler, "train_cfg": dict(type="IterBasedTrainLoop", max_iters=90000)}
    assert ("never-acts" in {one.code for one in js.lint(openmmlab.recipe(config, steps_per_epoch=100))}) == finds


@pytest.mark.parametrize(("policy", "finds"), [("poly", True), ("fixed", False)])
def test_so_is_a_policy_by_epoch_in_a_run_by_iteration(policy, finds):
    settings = dict(policy=policy, **(dict(power=0.9, by_epoch=True) if policy == "poly" else {}))
    config = {**OLD, "lr_config": settings, "runner": dict(type="IterBasedRunner", max_iters=90000)}
    assert ("never-acts" in {one.code for one in js.lint(openmmlab.recipe(config, steps_per_epoch=100))}) == finds
