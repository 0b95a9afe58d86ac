"""Small config files of kinds that real ones have: the learning rate of each, or why it is refused."""

import textwrap

import pytest

import jaxsched as js
from jaxsched.ports import openmmlab
from jaxsched.recipe import cautions

OLD = "optimizer = dict(type='SGD', lr=0.01, momentum=0.9)\n"
NEW = """
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
train_cfg = dict(by_epoch=True, max_epochs=12)
"""
TWO_EPOCHS = "lr_config = None\nrunner = dict(type='EpochBasedRunner', max_epochs=2)\n"
GAN = "dict(generator=dict(type='Adam', lr=1e-4), disc=dict(type='Adam', lr=4e-4))\n"
STEPPED = "lr_config = dict(policy='step', by_epoch=False, step=[100], gamma=0.5)\n"


def read(folder, text, files=None, **given):
    for name, content in {"c.py": text, **(files or {})}.items():
        (folder / name).write_text(textwrap.dedent(content))
    return openmmlab.read(folder / "c.py", steps_per_epoch=100, **given)


def wrapped(more):
    return NEW.replace("dict(optimizer", f"dict({more}, optimizer")


def with_lr(lr):
    return NEW.replace("lr=0.01", f"lr={lr}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            NEW + "param_scheduler = None\ndefault_hooks = dict(param_scheduler=dict("
            "type='PPYOLOEParamSchedulerHook', warmup_epochs=5, total_epochs=96))",
            {0: 0.0, 500: 0.005, 1000: 0.01, 1199: 0.00998679},
        ),
        (
            OLD + "lr_config = dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False)\ntotal_iters = 60000",
            {0: 0.01, 30000: 1e-4 + 0.0099 * 0.5**0.9},
        ),
        (
            OLD + "lr_config = dict(policy='step', step=[8, 11])\n"
            "runner = dict(type='EpochBasedRunnerAmp', max_epochs=12)\n"
            "optimizer_config = dict(type='DistOptimizerHook', update_interval=1, grad_clip=None, coalesce=True,\n"
            "    bucket_size_mb=-1, use_fp16=True)",
            {799: 0.01, 800: 0.001, 1199: 0.0001},
        ),
        (
            NEW + "param_scheduler = dict(type='MultiStepParamScheduler', param_name='lr', milestones=[8, 11])",
            {799: 0.01, 800: 0.001, 1199: 0.0001},
        ),
        (
            NEW + "param_scheduler = [\n"
            "  dict(type='LinearLR', start_factor=0.05, end=0.5, convert_to_iter_based=True),\n"
            "  dict(type='CosineAnnealingLR', T_max=11.5, begin=0.5, end=12, convert_to_iter_based=True)]",
            {0: 0.0005, 49: 0.01, 50: 0.01, 625: 0.005},
        ),
        ("optimizer = dict(type='Adam', weight_decay=1e-4)\n" + TWO_EPOCHS, {0: 1e-3}),
        (NEW.replace("by_epoch=True", "type='mmengine.EpochBasedTrainLoop'"), {0: 0.01, 1199: 0.01}),
        (wrapped("type='mmengine.OptimWrapper'"), {0: 0.01}),
        (NEW.replace("'SGD'", "'LARS'"), {0: 0.01}),
        (with_lr("{{$LR:0.02}}"), {0: 0.02}),
        (with_lr("float('{{$LR:0.02}}')"), {0: 0.02}),
        (
            "base = dict(lr=0.03)\noptim_wrapper = dict(optimizer=dict(type='SGD', **base))\n"
            "train_cfg = {**dict(by_epoch=True), 'max_epochs': 12 if True else 1}",
            {0: 0.03},
        ),
        ("import math\n" + with_lr("0.01 * math.sqrt(4)"), {0: 0.02}),
        ("xs = ['a'] * 4\n" + with_lr("0.01 * len(xs) / round(2.2)"), {0: 0.02}),
        ("def scaled(x):\n    return x * 2\n" + with_lr("scaled(0.01)"), {0: 0.02}),
    ],
)
def test_the_learning_rate_of(tmp_path, text, expected):
    recipe = read(tmp_path, text)
    got = js.curves(recipe, list(expected))["weight"]["lr"].tolist()
    assert got == pytest.approx(list(expected.values()), rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GAN.replace("dict(gen", "optimizers = dict(gen") + STEPPED + "total_iters = 1000", "give optimizer="),
        # what the originals refuse as well: a factor on a weight decay that is not there
        (wrapped("paramwise_cfg=dict(_delete=True, norm_decay_mult=0.0)"), "needs a weight_decay in the optimizer"),
        ("_base_ = '../third_party/b.py'", "lies outside .*: pass root="),
        ("import os\n" + with_lr("float(os.environ.get('LR', 0.01))"), "would run code. Write the value out"),
        ("n = (k := 12)\n" + NEW.replace("max_epochs=12", "max_epochs=n"), r"max_epochs needs `\(k := 12\)`"),
        ("import torch\n" + with_lr("0.01 * torch.cuda.device_count()"), "calling `torch.cuda.device_count`"),
        ("try:\n    x = 0.01\nexcept Exception:\n    x = 1.0\n" + with_lr("x"), "a try statement is not followed"),
        ("e = 1\nwhile e < 10: e += 1\n" + NEW.replace("=12", "=e"), "a while statement is not followed"),
    ],
)
def test_what_is_refused_says_why(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize("name", ["generator", "disc"])
@pytest.mark.parametrize(
    "text",
    [
        "optimizers = " + GAN + STEPPED + "total_iters = 1000",
        "optimizer = " + GAN + STEPPED + "runner = dict(type='IterBasedRunner', max_iters=1000)",
        "optim_wrapper = dict(generator=dict(optimizer=dict(type='Adam', lr=1e-4)),\n"
        "    disc=dict(optimizer=dict(type='Adam', lr=4e-4)))\n"
        "param_scheduler = dict(type='MultiStepLR', by_epoch=False, milestones=[100], gamma=0.5)\n"
        "train_cfg = dict(type='IterBasedTrainLoop', max_iters=1000)",
    ],
)
def test_each_of_several_optimizers_is_read_by_name(tmp_path, text, name):
    lr = {"generator": 1e-4, "disc": 4e-4}[name]
    recipe = read(tmp_path, text, optimizer=name)
    assert js.curves(recipe, [99, 100])["weight"]["lr"].tolist() == pytest.approx([lr, lr / 2])


def test_a_weight_decay_has_a_scheduler_of_its_own(tmp_path):
    text = NEW.replace("lr=0.01", "lr=0.01, weight_decay=0.05")
    text += "param_scheduler = [dict(type='CosineAnnealingLR'),\n"
    text += "    dict(type='CosineAnnealingParamScheduler', param_name='weight_decay', eta_min=1e-5)]"
    found = js.curves(read(tmp_path, text), [0, 600])["weight"]
    assert found["lr"].tolist() == pytest.approx([0.01, 0.005])
    assert found["weight_decay"].tolist() == pytest.approx([0.05, (0.05 + 1e-5) / 2])


def test_the_layers_of_a_scoped_constructor(tmp_path):
    text = wrapped(
        "constructor='mmdet.LearningRateDecayOptimizerConstructor',"
        " paramwise_cfg=dict(num_layers=6, decay_rate=0.7, decay_type='layer_wise')"
    )
    found = js.curves(read(tmp_path, text), [0])
    assert found["layer_0_decay"]["lr"][0] == pytest.approx(0.01 * 0.7**7)
    text = OLD.replace(
        "momentum=0.9",
        "constructor='LayerDecayOptimizerConstructor', paramwise_cfg=dict(num_layers=12, layer_decay_rate=0.9)",
    )
    found = js.curves(read(tmp_path, text + TWO_EPOCHS), [0])
    assert found["layer_0_decay"]["lr"][0] == pytest.approx(0.01 * 0.9**13)


@pytest.mark.parametrize(
    ("hook", "decay"),
    [
        ("dict(type='mmengine.EMAHook', ema_type='mmdet.ExpMomentumEMA', momentum=2e-4)", 1 - 2e-4),
        ("dict(type='EMAHook', momentum=1e-4, evaluate_on_origin=True)", 1 - 1e-4),
    ],
)
def test_an_average_is_read(tmp_path, hook, decay):
    recipe = read(tmp_path, NEW + f"custom_hooks = [{hook}]")
    assert float(recipe.ema(10**6)) == pytest.approx(decay, abs=6e-8)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (
            OLD + TWO_EPOCHS + "custom_hooks = [dict(type='MEGVIIEMAHook', init_updates=10560, interval=10560)]",
            "unread-hook",
        ),
        (NEW + "custom_hooks = [dict(type='MyLrDecayHook')]", "unread-hook"),
        (
            OLD.replace("momentum=0.9", "paramwise_cfg=dict(custom_keys=dict(theta=dict(wd_mult=0.)))") + TWO_EPOCHS,
            "unknown-key",
        ),
        ("keys = {'norm': 1, 'norm': 2}\n" + NEW, "repeated-key"),
        (NEW + "lr_config = dict(policy='step', step=[8])", "other-generation"),
        (NEW + "custom_hooks = [dict(type='GradientCumulativeOptimizerHook', cumulative_iters=4)]", "unread-hook"),
        (NEW + "optimizer_config = dict(type='GradientCumulativeOptimizerHook')", "other-generation"),
        (NEW + "default_hooks = dict(ema=dict(type='AveragingHook'))", "unread-hook"),
    ],
)
def test_what_is_left_out_and_may_move_something_is_a_caution(tmp_path, text, code):
    recipe = read(tmp_path, text)
    assert code in [found for found, _ in cautions(recipe.notes)]
    assert code in [finding.code for finding in js.lint(recipe)]


def test_bases_are_found_by_what_the_file_says(tmp_path):
    base = OLD + "lr_config = dict(policy='step', step=[8, 11])"
    text = "p = './b'\n_base_ = [f'{p}.py']\nrunner = dict(type='EpochBasedRunner', max_epochs=12)"
    assert js.curves(read(tmp_path, text, {"b.py": base}), [799, 800])["weight"]["lr"].tolist() == pytest.approx(
        [0.01, 0.001]
    )
    text = "_base_ = './b.py'\nif hasattr(_base_, 'data'):\n    model = dict(dp=1)\n"
    text += "hooks = getattr(_base_, 'hooks', [3])\ntrain_cfg = dict(by_epoch=True, max_epochs=hooks[0])"
    assert read(tmp_path, text, {"b.py": NEW}).steps == 300


def test_a_key_that_begins_with_a_dot_names_parameters_of_the_root(tmp_path):
    text = OLD.replace("momentum=0.9", "paramwise_cfg=dict(custom_keys={'.backbone.classifier': dict(lr_mult=10)})")
    recipe = read(tmp_path, text + TWO_EPOCHS)
    params = {"backbone": {"classifier": {"kernel": 1.0}}, "x": {"backbone": {"classifier": {"kernel": 1.0}}}}
    labels = js.groups.labels(params, recipe.rules)
    assert labels["backbone"]["classifier"]["kernel"] == "weight"
    assert labels["x"]["backbone"]["classifier"]["kernel"] == ".backbone.classifier"


OF_MMENGINE = dict(
    optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01)),
    train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=12),
)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (dict(optimizer=dict(type="SGD", lr=0.02)), "optimizer (optim_wrapper has another)"),
        (dict(swa_lr_config=dict(policy="cyclic")), "settings that mmengine does not read: swa_lr_config"),
        (dict(ema_config=dict(decay=0.99)), "settings that mmengine does not read: ema_config"),
        (dict(optimizer=dict(type="SGD", lr=0.01), lr=0.01), None),
    ],
)
def test_what_mmengine_does_not_read_is_said(more, says):
    notes = openmmlab.recipe({**OF_MMENGINE, **more}, steps_per_epoch=10).notes
    assert any(says in note for note in notes) if says else not notes
