"""Arguments of torchvision's script for classification. The schedules are compared with torch's in tests/parity."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.cli._source import Given, read
from jaxsched.ports import torchvision
from jaxsched.ports.shared import MissingError

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
        (
            dict(lr_steps=[16, 22], lr_scheduler="multisteplr"),
            "lr_steps is an argument of torchvision's script for det",
        ),
        (dict(aux_loss=True), "aux_loss is an argument of torchvision's script for segmentation"),
        (dict(lr_backbone=0.1), "'lr_backbone' is not known, and its name says that it changes the schedule"),
    ],
)
def test_bad_values_are_named(args, message):
    with pytest.raises((TypeError, ValueError), match=message):
        torchvision.recipe(args, steps_per_epoch=2)
    with pytest.raises(MissingError, match="it does not say how long an epoch is"):
        torchvision.recipe({})
