"""Arguments of DETR and Deformable DETR, worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.cli._source import Given, read
from jaxsched.ports import detr

PARAMS = {
    "backbone": {"0": {"conv": {"kernel": 1.0}}, "neck": {"kernel": 1.0}},
    "encoder": {"sampling_offsets": {"kernel": 1.0}, "kernel": 1.0},
}


def test_the_published_command_line():
    line = "python -m torch.distributed.launch --nproc_per_node=8 --use_env main.py --coco_path /data --lr_drop 100"
    recipe = read(f"{line} --epochs 150".split(), Given({"images": 118_287, "world_size": 8}, "detr"))
    assert recipe.steps_per_epoch == -(-118_287 // 8) // 2
    assert (recipe.batch_size, recipe.clip_norm, recipe.optimizer) == (16, 0.1, "adamw")
    nb = recipe.steps_per_epoch
    curves = js.curves(recipe, [0, 100 * nb - 1, 100 * nb, 150 * nb - 1])
    np.testing.assert_allclose(curves["other"]["lr"], [1e-4, 1e-4, 1e-5, 1e-5], rtol=1e-6)
    np.testing.assert_allclose(curves["backbone"]["lr"], [1e-5, 1e-5, 1e-6, 1e-6], rtol=1e-6)
    assert {group["weight_decay"] for group in recipe.by_group().values()} == {1e-4}
    assert js.groups.labels(PARAMS, recipe.rules)["backbone"]["neck"]["kernel"] == "backbone"
    assert recipe.notes == ("not part of a recipe: coco_path",)
    assert js.Recipe.from_json(recipe.to_json()) == recipe


def test_deformable_detr_has_other_defaults_and_a_third_group():
    recipe = detr.recipe({"lr_drop_epochs": [30]}, steps_per_epoch=10, project="deformable_detr")
    labels = js.groups.labels(PARAMS, recipe.rules)
    assert labels["backbone"] == {"0": {"conv": {"kernel": "backbone"}}, "neck": {"kernel": "other"}}
    assert labels["encoder"] == {"sampling_offsets": {"kernel": "points"}, "kernel": "other"}
    lrs = {name: values["lr"].tolist() for name, values in js.curves(recipe, [399, 400]).items()}
    assert lrs["other"] == pytest.approx([2e-4, 2e-5])
    assert lrs["backbone"] == pytest.approx([2e-5, 2e-6])
    assert lrs["points"] == pytest.approx([2e-5, 2e-6])
    assert recipe.steps == 500
    sgd = detr.recipe({"sgd": True, "clip_max_norm": 0}, steps_per_epoch=1, project="deformable_detr")
    assert (sgd.optimizer, sgd.by_group()["other"]["momentum"], sgd.clip_norm) == ("sgd", 0.9, None)


def test_a_backbone_without_lr_is_frozen_as_there():
    recipe = detr.recipe({"lr_backbone": 0}, steps_per_epoch=1)
    tx, params = recipe.build(), {"backbone": {"w": jnp.ones(1)}, "head": {"w": jnp.ones(1)}}
    grads = {"backbone": {"w": jnp.array([3.0])}, "head": {"w": jnp.array([0.05])}}
    updates, _ = tx.update(grads, tx.init(params), params)
    assert updates["backbone"]["w"] == 0
    alone = detr.recipe({"clip_max_norm": 0}, steps_per_epoch=1).build()
    head = {"head": params["head"]}
    expected, _ = alone.update({"head": grads["head"]}, alone.init(head), head)  # 0.05 is below the norm of 0.1
    np.testing.assert_allclose(updates["head"]["w"], expected["head"]["w"], rtol=1e-6)
    assert "backbone.lr" not in recipe.origin
    frozen = detr.recipe({"frozen_weights": "detr.pth", "masks": True}, steps_per_epoch=1)
    assert any("frozen_weights: only the mask head is trained" in note for note in frozen.notes)


@pytest.mark.parametrize(
    ("args", "project", "message"),
    [
        (dict(lr="fast"), "detr", "args: lr must be a number, got the string 'fast'"),
        (dict(lr_drop=0), "detr", "lr_drop must be a whole number >= 1, got 0"),
        (dict(sgd=True), "detr", "args: sgd is not an argument of DETR; give project='deformable_detr'"),
        (dict(lr_backbone_names="a"), "deformable_detr", "lr_backbone_names must be a list of names, got 'a'"),
        (dict(lr_text_encoder=1e-5), "detr", "is not known, and its name says that it changes the schedule"),
        (dict(onecyclelr=True), "detr", "is not known, and its name says that it changes the schedule"),
        ({}, "dino", "project must be one of detr, deformable_detr, got 'dino'"),
    ],
)
def test_bad_values_are_named(args, project, message):
    with pytest.raises((TypeError, ValueError), match=message):
        detr.recipe(args, steps_per_epoch=2, project=project)
