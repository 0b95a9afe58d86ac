"""TrainingArguments as a recipe: worked by hand, and what it refuses. The schedules are compared in tests/parity."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import huggingface

ARGS = dict(learning_rate=0.5, num_train_epochs=2, warmup_steps=4)


def test_updates_and_not_batches_are_counted():
    plain = js.curves(huggingface.recipe(ARGS, steps_per_epoch=4))["decay"]["lr"]
    np.testing.assert_allclose(plain, [0, 0.125, 0.25, 0.375, 0.5, 0.375, 0.25, 0.125])
    recipe = huggingface.recipe({**ARGS, "gradient_accumulation_steps": 3}, steps_per_epoch=10)  # 4 updates an epoch
    due = np.flatnonzero(js.report.update_steps(recipe))
    assert due.tolist() == [2, 5, 8, 9, 12, 15, 18, 19]
    np.testing.assert_allclose(js.curves(recipe, due)["decay"]["lr"], plain)
    assert recipe.accumulate.mean
    recipe.build()


def test_length_by_updates_or_by_epochs():
    assert huggingface.recipe({**ARGS, "num_train_epochs": 1.5}, steps_per_epoch=5).steps == 8
    assert huggingface.recipe({**ARGS, "max_steps": 7}, steps_per_epoch=5).steps == 7
    accumulated = {**ARGS, "max_steps": 7, "gradient_accumulation_steps": 2}
    assert huggingface.recipe(accumulated, steps_per_epoch=5).steps == 2 * 5 + 2


@pytest.mark.parametrize(
    ("warmup", "expected"),
    [(dict(warmup_steps=0.3), 3), (dict(warmup_steps=2.9), 2), (dict(warmup_ratio=0.25), 3), (dict(warmup_steps=0), 0)],
)
def test_warm_up(warmup, expected):
    args = {**ARGS, "warmup_steps": 0, **warmup}
    assert f"warm-up {expected} of 10" in huggingface.recipe(args, steps_per_epoch=5).origin["lr"]


def test_groups_and_options():
    recipe = huggingface.recipe({**ARGS, "weight_decay": 0.1, "adam_beta2": 0.95}, steps_per_epoch=4, world_size=2)
    tree = {"dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "layer_norm": {"scale": jnp.ones(2)}}
    labels = js.groups.labels(tree, recipe.rules)
    assert labels == {"dense": {"kernel": "decay", "bias": "no_decay"}, "layer_norm": {"scale": "no_decay"}}
    assert (recipe.optimizer, recipe.clip_norm, recipe.batch_size) == ("adamw", 1.0, 16)
    assert recipe.by_group()["decay"]["betas"] == (0.9, 0.95)
    assert recipe.by_group()["no_decay"]["weight_decay"] == 0
    assert huggingface.recipe({**ARGS, "max_grad_norm": 0}, steps_per_epoch=4).clip_norm is None
    assert js.Recipe.from_json(recipe.to_json()) == recipe


def test_from_a_file(tmp_path):
    path = tmp_path / "training_args.json"
    path.write_text(json.dumps({**ARGS, "lr_scheduler_type": "cosine", "output_dir": "x", "bf16": True, "fp16": False}))
    recipe = huggingface.recipe(path, steps_per_epoch=4)
    assert recipe.notes == ("not part of a recipe: output_dir, bf16",)
    assert not js.diff(recipe, huggingface.recipe({**ARGS, "lr_scheduler_type": "cosine"}, steps_per_epoch=4))


@pytest.mark.parametrize(
    ("name", "ours", "says"),
    [
        ("adamw_torch_fused", "adamw", None),
        ("adamw_hf", "adamw", "before the bias correction"),
        ("adamw_bnb_8bit", "adamw", "in another precision"),
        ("paged_adamw_32bit", "adamw", "in another precision or place"),
        ("rmsprop_bnb", "rmsprop", "in fewer bits"),
        ("adafactor", "adafactor", None),
        ("lion_32bit", "lion", None),
        ("paged_lion_8bit", "lion", "in fewer bits"),
    ],
)
def test_optimizers_by_their_names(name, ours, says):
    recipe = huggingface.recipe({**ARGS, "optim": name, "weight_decay": 0.01}, steps_per_epoch=4)
    assert recipe.optimizer == ours
    assert says in recipe.notes[0] if says else recipe.notes == ()
    recipe.build()


def test_yaml_as_others_keep_it(tmp_path):
    case = Path(__file__).parents[2] / "recorded" / "cases" / "hf.yaml"
    recipe = huggingface.recipe(case, images=1600)
    assert (recipe.steps, recipe.steps_per_epoch, recipe.batch_size) == (100, 100, 16)
    np.testing.assert_allclose(js.curves(recipe, [0, 10, 55])["decay"]["lr"], [0, 2e-5, 1e-5], rtol=1e-6, atol=1e-12)
    axolotl = dict(micro_batch_size=2, num_epochs=3, optimizer="adamw_bnb_8bit", learning_rate=2e-4, warmup_steps=10)
    recipe = huggingface.recipe({**axolotl, "base_model": "x"}, steps_per_epoch=100)
    assert (recipe.steps, recipe.batch_size) == (300, 2)
    assert "cosine" in recipe.origin["lr"]
    assert recipe.notes[-1] == "not part of a recipe: base_model"


def test_schedule_arguments_as_a_command_line_gives_them():
    args = {**ARGS, "lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": '{"min_lr": 0.1}'}
    assert js.curves(huggingface.recipe(args, steps_per_epoch=4), [7])["decay"]["lr"][0] > 0.1


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 100_000, '{"a":' * 100_000, "1" * 10_000])
def test_bad_files(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bad.json"):
        huggingface.recipe(path, steps_per_epoch=4)


@pytest.mark.parametrize(
    ("args", "more", "message"),
    [
        (dict(head_lr=1), {}, "'head_lr' is not known, and its name says that it changes the schedule"),
        (dict(learning_rate="fast"), {}, "learning_rate must be a number"),
        (dict(lr_scheduler_type="cosin"), {}, "name must be one of"),
        (dict(lr_scheduler_type="greedy", lr_scheduler_kwargs={"max_lr": [1.0, 2.0]}), {}, "max_lr must be one number"),
        (dict(lr_scheduler_type="greedy", lr_scheduler_kwargs={"mode": "up"}), {}, "mode must be one of min, max"),
        (dict(lr_scheduler_kwargs={"num_cycles": 2}), {}, "its further arguments are none"),
        (dict(lr_scheduler_kwargs=[1]), {}, "must be a dict"),
        (dict(lr_scheduler_type="cosine_with_min_lr"), {}, "exactly one of min_lr"),
        (dict(optim="galore_adamw"), {}, "optim must be one of"),
        (dict(optim_args="beta=1"), {}, "optim_args"),
        (dict(num_train_epochs=0), {}, "num_train_epochs"),
        (dict(max_steps=1.5), {}, "max_steps"),
        ({}, dict(steps_per_epoch=0), "steps_per_epoch"),
        ({}, dict(world_size=0), "world_size"),
    ],
)
def test_what_is_refused(args, more, message):
    with pytest.raises((ValueError, TypeError), match=message):
        huggingface.recipe({**ARGS, **args}, **{"steps_per_epoch": 4, **more})


def test_a_wave_rises_again_past_its_end_as_there():
    lr = huggingface.get_scheduler("cosine", 0, 10)(1.0)
    assert [round(float(lr(step)), 4) for step in (0, 10, 20)] == [1.0, 0.0, 1.0]


def test_warmup_steps_win_over_a_ratio():
    recipe = huggingface.recipe({**ARGS, "warmup_steps": 3, "warmup_ratio": 0.5}, steps_per_epoch=4)
    assert "warm-up 3 of" in recipe.origin["lr"]
    assert recipe.notes == ("warmup_steps 3 takes the place of warmup_ratio 0.5, as in transformers 4",)


@pytest.mark.parametrize("name", ["use_galore", "use_badam", "use_muon"])
def test_other_optimizers_of_llama_factory_are_refused(name):
    script = {**ARGS, "model_name_or_path": "m", "stage": "sft"}
    assert not huggingface.recipe({**script, name: False}, steps_per_epoch=4).notes[0].startswith("caution")
    with pytest.raises(ValueError, match=f"{name}=True is not ported"):
        huggingface.recipe({**script, name: True}, steps_per_epoch=4)


def test_an_lr_that_a_script_may_have_of_its_own_is_said():
    """TRL's trainers do not begin with the lr of TrainingArguments."""
    script = {name: value for name, value in ARGS.items() if name != "learning_rate"}
    recipe = huggingface.recipe({**script, "model_name_or_path": "m", "beta": 0.1}, steps_per_epoch=4)
    assert recipe.notes[0].startswith("caution no-lr: args: learning_rate is missing; 5e-05, that of TrainingArguments")


def test_every_argument_of_seven_releases_is_known():
    """From 4.0 to 5.0: a file that has one, set to something, is not told that it is unknown."""
    names = (Path(__file__).parents[2] / "recorded" / "training_arguments.txt").read_text().split("\n\n")[1].split()
    assert len(names) == 145
    unset = {"adafactor", "max_steps", "optim_args", "warmup_ratio", *huggingface._recipe.DEFAULTS}
    recipe = huggingface.recipe({name: 1 for name in names if name not in unset}, steps_per_epoch=10)
    assert not js.recipe.cautions(recipe.notes)
