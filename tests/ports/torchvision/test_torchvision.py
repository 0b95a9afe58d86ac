"""Arguments of torchvision's reference scripts. The schedules are compared with torch's in tests/parity."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.cli._source import Given, read
from jaxsched.ports import torchvision
from jaxsched.ports.shared import File, MissingError

LINE = (
    "torchrun --nproc_per_node=8 train.py --model resnet50 -b 128 --lr 0.5 --lr-scheduler cosineannealinglr "
    "--lr-warmup-epochs 5 --lr-warmup-method linear --epochs 600 --wd 0.00002 --norm-weight-decay 0.0 --ra-sampler "
    "--model-ema --label-smoothing 0.1 --mixup-alpha 0.2"
)


def test_a_published_command_line():
    recipe = read(LINE.split(), Given({"images": 1_281_167, "world_size": 8}, "torchvision"))
    nb = recipe.steps_per_epoch
    assert nb == -(-(1_281_167 // 256 * 256 // 8) // 128)
    assert (recipe.steps, recipe.batch_size, recipe.optimizer) == (600 * nb, 1024, "sgd")
    lr = js.curves(recipe, [0, nb - 1, nb, 5 * nb, 600 * nb - 1])["other"]["lr"]
    last = 0.5 * np.sin(np.pi / 2 / 595) ** 2
    np.testing.assert_allclose(lr, [0.005, 0.005, 0.104, 0.5, last], rtol=1e-5)
    assert {name: group["weight_decay"] for name, group in recipe.by_group().items()} == {"norm": 0.0, "other": 2e-5}
    decay = 1 - (1 - 0.99998) * 1024 * 32 / 600
    found = [float(recipe.ema(step)) for step in (0, 1, 32, 5 * nb, 5 * nb + 1, 5 * nb + 32, 6 * nb, 6 * nb + 33)]
    np.testing.assert_allclose(found, [0, 1, 0, 0, 1, decay, decay, 1], rtol=1e-6)
    assert recipe.notes == ("not part of a recipe: model, label_smoothing, mixup_alpha",)
    assert js.Recipe.from_json(recipe.to_json()) == recipe


def test_parameters_with_a_decay_of_their_own():
    args = dict(norm_weight_decay=0.1, bias_weight_decay=0.2, transformer_embedding_decay=0.3, weight_decay=0.4)
    recipe = torchvision.recipe(args, steps_per_epoch=2)
    params = {
        "conv": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
        "bn": {"scale": jnp.ones(2), "bias": jnp.ones(2)},
        "encoder": {"class_token": jnp.ones(2)},
    }
    decays = {name: group["weight_decay"] for name, group in recipe.by_group().items()}
    labels = js.groups.labels(params, recipe.rules)
    assert decays[labels["conv"]["kernel"]] == 0.4
    assert decays[labels["conv"]["bias"]] == 0.2
    assert decays[labels["bn"]["bias"]] == 0.2
    assert decays[labels["bn"]["scale"]] == 0.1
    assert decays[labels["encoder"]["class_token"]] == 0.3


def test_arguments_in_a_file(tmp_path):
    (tmp_path / "args.json").write_text(
        json.dumps(dict(lr=0.1, lr_scheduler="exponentiallr", lr_step_size=30, lr_gamma=0.5))
    )
    recipe = torchvision.recipe(tmp_path / "args.json", images=65)
    assert (recipe.steps_per_epoch, recipe.steps) == (3, 270)
    assert js.curves(recipe, [0, 2, 3, 6])["all"]["lr"].tolist() == pytest.approx([0.1, 0.1, 0.05, 0.025])
    assert torchvision.recipe(tmp_path / "args.json", images=65, world_size=2).steps_per_epoch == 2


def test_repeated_augmentation_has_no_effect_on_a_single_process():
    args = dict(ra_sampler=True, batch_size=100)
    assert torchvision.recipe(args, images=1000).steps_per_epoch == 10
    assert torchvision.recipe({**args, "distributed": True}, images=1000).steps_per_epoch == 8  # 768 images
    assert torchvision.recipe(args, images=1000, world_size=2).steps_per_epoch == 4


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (dict(lr="fast"), "args: lr must be a number, got the string 'fast'"),
        (dict(opt="adam"), "opt must be one of sgd, sgd_nesterov, rmsprop, adamw, got 'adam'"),
        (dict(lr_scheduler="cosine"), "lr_scheduler must be one of steplr, .* got 'cosine'"),
        (dict(lr_warmup_epochs=1, lr_warmup_method="exp"), "lr_warmup_method must be linear or constant, got 'exp'"),
        (dict(lr_scheduler="cosineannealinglr", epochs=5, lr_warmup_epochs=5), "lr_warmup_epochs must be below epochs"),
        (dict(clip_grad_norm=0.0), "clip_grad_norm must be positive, got 0"),
        (dict(lr_backbone=0.1), "'lr_backbone' is not known, and its name says that it changes the schedule"),
    ],
)
def test_bad_values_are_named(args, message):
    with pytest.raises((TypeError, ValueError), match=message):
        torchvision.recipe(args, steps_per_epoch=2, script="classification")
    with pytest.raises(MissingError, match="it does not say how long an epoch is"):
        torchvision.recipe({}, script="classification")


@pytest.mark.parametrize(
    ("line", "images", "script", "nb", "lr"),
    [
        (  # the scripts' READMEs
            "torchrun --nproc_per_node=8 train.py --dataset coco --model ssd300_vgg16 --epochs 120 --lr-steps 80 110 "
            "--aspect-ratio-group-factor 3 --lr 0.002 --batch-size 4 --weight-decay 0.0005 --data-augmentation ssd "
            "--weights-backbone VGG16_Weights.IMAGENET1K_FEATURES",
            117_266,
            "detection",
            3664,  # ceil(117_266 / 8) // 4
            {0: 2e-6, 500: 0.001001, 1000: 0.002, 80 * 3664: 2e-4, 110 * 3664: 2e-5},
        ),
        (
            "train.py --lr 0.02 --dataset coco -b 4 --model fcn_resnet50 --aux-loss --wd 1e-4",
            92_518,
            "segmentation",
            2891,  # ceil(92_518 / 8) // 4
            {0: 0.02, 15 * 2891: 0.02 * 0.5**0.9},
        ),
        (
            "train.py --batch-size 16 --cache-dataset --sync-bn --amp --lr-milestones 20 --lr-gamma 0.5",
            1_000_001,
            "video_classification",
            7813,  # ceil(ceil(1_000_001 / 8) / 16)
            {0: 8e-5, 10 * 7813: 0.08, 20 * 7813 - 1: 0.08, 20 * 7813: 0.04},
        ),
    ],
)
def test_published_command_lines_of_the_other_scripts(line, images, script, nb, lr):
    recipe = read(line.split(), Given({"images": images, "world_size": 8}, "torchvision"))
    assert recipe.steps_per_epoch == nb
    found, expected = js.curves(recipe, list(lr)), np.array(list(lr.values()))
    if script == "segmentation":
        np.testing.assert_allclose(found["aux_classifier"]["lr"], 10 * expected, rtol=1e-5)
        labels = js.groups.labels({"aux_classifier": {"bias": 0}, "classifier": {"bias": 0}}, recipe.rules)
        assert labels == {"aux_classifier": {"bias": "aux_classifier"}, "classifier": {"bias": "other"}}
    np.testing.assert_allclose(found["other" if script == "segmentation" else "all"]["lr"], expected, rtol=1e-5)
    assert js.Recipe.from_json(recipe.to_json()) == recipe
    assert not [note for note in recipe.notes if note.startswith("caution")]


@pytest.mark.parametrize("script", torchvision.DEFAULTS)
def test_all_arguments_of_a_script_identify_it(script):
    args = dict(torchvision.DEFAULTS[script])
    assert torchvision.recipe(args, steps_per_epoch=4) == torchvision.recipe(args, steps_per_epoch=4, script=script)
    assert torchvision.recipe({}, steps_per_epoch=4, script=script).steps == args["epochs"] * 4
    assert any(kind.fits(File(Path("args.json"), json.dumps(args))) for kind in torchvision.KINDS)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (dict(lr=0.1, epochs=9), "it may be of the script for classification, detection, segmentation, video_"),
        (dict(lr_scheduler="cosineannealinglr"), "it may be of the script for classification, detection; give script="),
        (dict(lr_steps=[8], aux_loss=True), "no script has all of these arguments; give script="),
    ],
)
def test_arguments_of_several_scripts_need_its_name(args, message):
    with pytest.raises(MissingError, match=message):
        torchvision.recipe(args, steps_per_epoch=4)
    assert torchvision.recipe(dict(lr=0.1, model="retinanet_resnet50_fpn"), steps_per_epoch=4).steps == 26 * 4


@pytest.mark.parametrize(
    ("script", "args", "message"),
    [
        ("detect", {}, "script must be one of classification, detection, segmentation, video_classification, got"),
        ("detection", dict(opt="rmsprop"), "opt must be one of sgd, sgd_nesterov, adamw, got 'rmsprop'"),
        ("detection", dict(lr_scheduler="steplr"), "lr_scheduler must be one of multisteplr, cosineannealinglr, got"),
        ("detection", dict(lr_warmup_epochs=3), "'lr_warmup_epochs' is not known, and its name says"),
        ("detection", dict(lr_steps=[8, -1]), r"lr_steps\[1\] must be .*got -1"),
        ("segmentation", dict(lr_warmup_epochs=30), r"lr_warmup_epochs must be below epochs \(30\), got 30"),
        ("video_classification", dict(lr_milestones=20), "lr_milestones must be a list of numbers, got 20"),
    ],
)
def test_bad_values_of_the_other_scripts_are_named(script, args, message):
    with pytest.raises((TypeError, ValueError), match=message):
        torchvision.recipe(args, steps_per_epoch=4, script=script)


def test_the_lr_of_video_says_that_it_depends_on_the_processes():
    args = dict(lr_milestones=[3], lr_warmup_epochs=0)
    alone = torchvision.recipe(args, steps_per_epoch=4)
    assert alone.notes == ("the script multiplies lr by world_size, which is not given: 1",)
    both = torchvision.recipe({**args, "world_size": 2}, steps_per_epoch=4)
    assert (both.notes, float(both.by_group()["all"]["lr"](0))) == ((), pytest.approx(0.02))
