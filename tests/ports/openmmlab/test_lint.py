"""What lint finds in OpenMMLab's configs: mistakes that real ones have, and nothing in what is meant."""

import pytest

import jaxsched as js
from jaxsched.ports import openmmlab
from jaxsched.ports.openmmlab import _names

SGD = dict(type="SGD", lr=0.01, momentum=0.9)
BY_EPOCH = dict(by_epoch=True, max_epochs=12)
BY_STEP = dict(type="IterBasedTrainLoop", max_iters=90000)
WARM = dict(type="LinearLR", start_factor=0.001, by_epoch=False, end=500)
SLOW = dict(custom_keys=dict(backbone=dict(lr_mult=0.01)))


def new(*schedulers, loop=BY_EPOCH, **wrapper):
    return dict(optim_wrapper=dict(optimizer=SGD, **wrapper), param_scheduler=list(schedulers), train_cfg=loop)


def old(runner=None, paramwise_cfg=None, **lr_config):
    runner = runner or dict(type="EpochBasedRunner", max_epochs=12)
    return dict(optimizer={**SGD, "paramwise_cfg": paramwise_cfg}, lr_config=lr_config, runner=runner)


def found(config):
    return [(finding.code, finding.severity) for finding in js.lint(openmmlab.recipe(config, steps_per_epoch=100))]


def restarts(**changes):
    return dict(type="CosineRestartLR", restart_weights=[1, 0.5, 0.25], eta_min=1e-6) | changes


ITERATIONS = dict(type="IterBasedRunner", max_iters=9000)


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (new(dict(type="CosineAnnealingLR", T_max=12, end=6)), "length-mismatch"),
        (new(WARM, dict(type="CosineAnnealingLR", T_max=700, begin=500, end=580, by_epoch=False)), "length-mismatch"),
        (new(dict(type="CosineAnnealingLR", T_max=24, end=12, eta_min=1e-5)), "length-mismatch"),
        (new(dict(type="MultiStepLR", milestones=[60000]), loop=BY_STEP), "never-acts"),
        (new(WARM, dict(type="MultiStepLR", milestones=[60000]), loop=BY_STEP), "never-decays"),
        (new(WARM, dict(type="CosineAnnealingLR", T_max=90000), loop=BY_STEP), "never-decays"),
        (old(ITERATIONS, policy="poly", by_epoch=True), "never-acts"),
        (old(ITERATIONS, policy="poly", by_epoch=True, warmup="linear", warmup_iters=500), "never-acts"),
        (new(WARM, dict(type="MultiStepLR", milestones=[3, 11])), "milestone-in-warmup"),
        (old(policy="step", step=[3, 11], warmup="linear", warmup_iters=500), "milestone-in-warmup"),
        (new(dict(type="CosineAnnealingLR", eta_min=1e-3), paramwise_cfg=SLOW), "floor-above-lr"),
        (new(dict(type="PolyLR", eta_min=1e-3, by_epoch=False), paramwise_cfg=SLOW), "floor-above-lr"),
        (old(policy="poly", min_lr=1e-3, paramwise_cfg=SLOW), "floor-above-lr"),
        (
            new() | dict(custom_hooks=[dict(type="GradientCumulativeOptimizerHook", cumulative_iters=4)]),
            "unread-hook",
        ),
    ],
)
def test_a_mistake_is_found_once(config, code):
    assert found(config) == [(code, "warning")]


@pytest.mark.parametrize(
    "config",
    [
        new(restarts(periods=[4, 4, 4])),
        new(restarts(periods=[400, 400, 400], by_epoch=False)),
        new(restarts(periods=[30000] * 3, by_epoch=False), loop=BY_STEP),
        old(policy="CosineRestart", periods=[4, 4, 4], restart_weights=[1, 1, 1], min_lr=1e-6),
        new(dict(type="PolyLR", power=0.9, eta_min=1e-6)),
        new(dict(type="PolyLR", power=3, eta_min=1e-7, begin=2, end=12)),
        new(
            WARM,
            dict(type="CosineAnnealingLR", T_max=7, begin=5, end=10, eta_min=1e-4),
            dict(type="ConstantLR", factor=0.1, begin=10, end=13),
        ),
        new(dict(type="MultiStepLR", milestones=[2, 4], end=6), dict(type="PolyLR", begin=6, end=12, eta_min=1e-5)),
        old(policy="step", step=[6], gamma=1),
        new(dict(type="MultiStepLR", milestones=[6], gamma=1)),
        old(dict(type="DynamicIterBasedRunner", max_iters=900), policy="CosineAnnealing", min_lr=0),
        new() | dict(custom_hooks=[dict(type="SwitchRecipeHook", schedule=[dict(action_epoch=3)])]),
    ],
)
def test_what_is_meant_is_no_finding(config):
    assert [one for one in found(config) if one[1] != "remark"] == []


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (old(policy="step", step=[8, 12]), "milestone-past-end"),
        (new(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0)))), "zero-lr"),
    ],
)
def test_what_may_be_meant_is_a_remark(config, code):
    assert found(config) == [(code, "remark")]


@pytest.mark.parametrize(
    ("name", "epochs", "agrees"),
    [
        ("faster-rcnn_r50_fpn_1x_coco", 12, True),
        ("faster-rcnn_r50_fpn_1x_coco", 24, False),
        ("mask_rcnn_2x", 12, False),
        ("td-hm_res50_8xb64-210e_coco-256x192", 200, False),
        # a width, what was trained before, another data set, another part that agrees
        ("shufflenet-v1-1x_16xb64_in1k", 300, True),
        ("shufflenet_v1_1x_b64x16_linearlr_bn_nowd_imagenet", 300, True),
        ("mask-rcnn_r50_fpn_coco-20e_1x_nuim", 12, True),
        ("dff_faster_rcnn_r50_dc5_1x_imagenetvid", 7, True),
        ("mask_rcnn_r50_caffe_fpn_coco-3x_20e_nuim", 20, True),
    ],
)
def test_the_length_in_a_name(name, epochs, agrees):
    assert (_names.disagreement(name, {}, epochs, 100 * epochs) is None) is agrees


@pytest.mark.parametrize(("steps", "agrees"), [(800_000, True), (800_002, True), (400_000, False)])
def test_iterations_in_a_name_are_round(steps, agrees):
    assert (_names.disagreement("stylegan2_ffhq_256_b4x8_800k", {}, None, steps) is None) is agrees


def test_an_epoch_of_a_repeated_set_may_count_once():
    config = dict(data=dict(train=dict(type="RepeatDataset", times=2)))
    assert [_names.disagreement("pointpillars_2x", config, epochs, 1) is None for epochs in (12, 24, 25)] == [1, 1, 0]
