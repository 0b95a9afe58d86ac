"""Configs of DeepSpeed: worked by hand, and what is refused. The schedules are compared in tests/parity."""

import json
from pathlib import Path

import numpy as np
import pytest

import jaxsched as js
from jaxsched.cli._source import recognise
from jaxsched.ports import deepspeed
from jaxsched.ports.shared import File

ADAM = dict(type="AdamW", params=dict(lr=0.5, weight_decay=0.1))
WARMUP = dict(type="WarmupDecayLR", params=dict(warmup_max_lr=1.0, warmup_num_steps=2, total_num_steps=6))
LINE = dict(type="WarmupDecayLR", params={**WARMUP["params"], "warmup_type": "linear"})
CONFIG = dict(train_batch_size=8, gradient_clipping=1.0, optimizer=ADAM, scheduler=LINE)
CASES = Path(__file__).parents[2] / "recorded" / "cases"


def test_worked_by_hand():
    recipe = deepspeed.recipe(CONFIG, version="0.19.8")
    np.testing.assert_allclose(js.curves(recipe)["all"]["lr"], [0, 0, 0.5, 1, 0.75, 0.5])
    assert (recipe.optimizer, recipe.clip_norm, recipe.steps, recipe.batch_size) == ("adamw", 1.0, 6, 8)
    assert recipe.by_group()["all"]["weight_decay"] == 0.1
    assert recipe.notes == ()
    assert js.Recipe.from_json(recipe.to_json()) == recipe
    recipe.build()


def test_updates_and_not_batches_are_counted():
    config = {**CONFIG, "train_batch_size": 16, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 2}
    recipe = deepspeed.recipe(config, version="0.19.8")
    assert (recipe.batch_size, recipe.steps) == (8, 12)  # two processes
    assert (recipe.accumulate.every, recipe.accumulate.mean) == (2, True)
    due = np.flatnonzero(js.report.update_steps(recipe))
    np.testing.assert_allclose(js.curves(recipe, due)["all"]["lr"], [0, 0, 0.5, 1, 0.75, 0.5])


@pytest.mark.parametrize(
    ("sizes", "processes", "expected"),
    [
        (dict(train_batch_size=32), 4, (32, 1)),
        (dict(train_micro_batch_size_per_gpu=8), 4, (32, 1)),
        (dict(train_micro_batch_size_per_gpu=8, gradient_accumulation_steps=3), None, (8, 3)),
        (dict(train_batch_size=32, train_micro_batch_size_per_gpu=4), 2, (8, 4)),
        (dict(train_batch_size=32, gradient_accumulation_steps=4), 2, (8, 4)),
        (dict(train_batch_size="auto", train_micro_batch_size_per_gpu=4), None, (4, 1)),
    ],
)
def test_batch_sizes(sizes, processes, expected):
    config = {key: value for key, value in CONFIG.items() if key != "train_batch_size"}
    recipe = deepspeed.recipe({**config, **sizes}, world_size=processes)
    assert (recipe.batch_size, recipe.accumulate.every if recipe.accumulate else 1) == expected


def test_an_auto_that_is_known():
    params = {**LINE["params"], "warmup_min_lr": "auto"}
    sizes = {"train_batch_size": "auto", "train_micro_batch_size_per_gpu": 8, "zero_optimization": {"stage": "auto"}}
    recipe = deepspeed.recipe({**CONFIG, **sizes, "scheduler": {**LINE, "params": params}}, version="0.19.8")
    np.testing.assert_allclose(js.curves(recipe)["all"]["lr"], [0, 0, 0.5, 1, 0.75, 0.5])


def test_length():
    plain = {**CONFIG, "scheduler": dict(type="WarmupLR", params=dict(warmup_num_steps=2))}
    assert deepspeed.recipe(plain, epochs=3, images=81).steps == 3 * 11
    assert deepspeed.recipe({**plain, "dataloader_drop_last": True}, epochs=3, images=81).steps == 3 * 10
    assert deepspeed.recipe(plain, steps=5).steps == 5
    with pytest.raises(ValueError, match=r"how long the run is; give steps=\.\.\. or epochs"):
        deepspeed.recipe(plain)


def test_momentum_of_one_cycle():
    cycle = dict(cycle_min_lr=0.5, cycle_max_lr=1.0, cycle_first_step_size=2, cycle_min_mom=0.5, cycle_max_mom=0.75)
    config = {**CONFIG, "scheduler": dict(type="OneCycle", params=cycle)}
    curves = js.curves(deepspeed.recipe(config, steps=6))["all"]
    np.testing.assert_allclose(curves["momentum"], [0.5, 0.625, 0.5, 0.625, 0.75, 0.75])
    assert deepspeed.recipe(config, steps=6).hyperparameters["betas"][1] == 0.99
    for optimizer in (dict(type="Adam", params=dict(torch_adam=True)), dict(type="NAdam")):
        betas = deepspeed.recipe({**config, "optimizer": optimizer}, steps=6).hyperparameters["betas"]
        assert (float(betas[0](2)), betas[1]) == (0.5, 0.99)
    torch = {**config, "optimizer": dict(type="SGD", params=dict(lr=0.1, momentum=0.9))}  # which has no betas
    assert deepspeed.recipe(torch, steps=6).by_group()["all"]["momentum"] == 0.9


@pytest.mark.parametrize(
    ("name", "params", "ours", "values"),
    [
        ("Adam", dict(lr="1e-3"), "adamw", dict(lr=1e-3, weight_decay=0.0)),
        ("adam", dict(adam_w_mode=False, weight_decay=0.1), "adam", dict(weight_decay=0.1)),
        ("ADAMW", dict(adam_w_mode=False), "adamw", dict(weight_decay=0.0)),
        ("AdamW", dict(torch_adam=True, amsgrad=True), "adamw", dict(weight_decay=0.01, amsgrad=True)),
        ("Adagrad", dict(lr=0.1), "adagrad", dict(lr=0.1, eps=1e-10)),
        ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True, fused=True), "sgd", dict(momentum=0.9, nesterov=True)),
        ("RMSprop", dict(alpha=0.9), "rmsprop", dict(alpha=0.9)),
    ],
)
def test_optimizers(name, params, ours, values):
    config = {**CONFIG, "optimizer": dict(type=name, params=params)}
    config.pop("scheduler")
    recipe = deepspeed.recipe(config, steps=5)
    assert recipe.optimizer == ours
    assert values.items() <= recipe.by_group()["all"].items()
    assert recipe.notes[-1].endswith("lr is constant, unless the script makes one")


def test_warm_up_to_the_lr_of_an_optimizer_that_does_not_say_it():
    scheduler = dict(type="WarmupLR", params=dict(warmup_num_steps=2))
    config = {**CONFIG, "optimizer": dict(type="Adagrad"), "scheduler": scheduler}
    np.testing.assert_allclose(js.curves(deepspeed.recipe(config, steps=6), [5])["all"]["lr"], [0.01])


def test_adam_is_said_to_be_adamw():
    config = {**CONFIG, "optimizer": dict(type="Adam", params=dict(weight_decay=0.1))}
    assert "decouples weight_decay" in deepspeed.recipe(config, version="0.19.8").notes[0]


def test_releases():
    config = {key: value for key, value in CONFIG.items() if key != "gradient_clipping"}
    recipe = deepspeed.recipe(config)
    (note,) = recipe.notes
    assert "with 0.17.1 to 0.19.2 gradients are not clipped" in note
    assert "with 0.15.2 gradients are not clipped, update 0 has the optimizer's lr" in note
    assert "version-open" in [finding.code for finding in js.lint(recipe)]
    assert recipe.clip_norm == 1.0
    assert deepspeed.recipe(config, version="0.19.2").clip_norm is None
    first = js.curves(deepspeed.recipe(config, version="0.15.2"), [0, 1])["all"]["lr"]
    np.testing.assert_array_equal(first, [0.5, 0.0])


def test_from_a_file_with_settings_of_other_things(tmp_path):
    path = tmp_path / "ds_config.json"
    path.write_text(
        json.dumps(
            {**CONFIG, "gradient_accumulation_steps": 1, "zero_optimization": {"stage": 2}, "fp16": {"x": 1}, "foo": 1}
        )
    )
    notes = deepspeed.recipe(path, version="0.19.8").notes
    assert notes[0] == "not part of a recipe: zero_optimization, fp16"
    assert notes[1].endswith("not known, and left out: foo")
    assert deepspeed.recipe(CASES / "ds.json").steps == 1000
    assert recognise(File.read(path)).name == "deepspeed"  # with names of TrainingArguments in it


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(optimizer=dict(type="AdamW", params=dict(lr="auto"))), r"optimizer.params.lr \(learning_rate\)"),
        (
            dict(scheduler=dict(type="WarmupLR", params=dict(warmup_num_steps="auto", warmup_max_lr="auto"))),
            r"numbers of scheduler.params.warmup_num_steps \(warmup_steps\), scheduler.params.warmup_max_lr",
        ),
        (dict(gradient_clipping="auto"), r"numbers of gradient_clipping \(max_grad_norm\)$"),
        (dict(train_batch_size="auto"), r"train_batch_size \(per_device_train_batch_size x"),
        (dict(optimizer=dict(type="auto")), "must be one of torch's"),
        (dict(optimizer=None), "must hold names and values"),
        (dict(optimizer=dict(type="Lamb")), "bounds the ratio of norms"),
        (dict(optimizer=dict(type="OneBitAdam")), "in one bit"),
        (dict(optimizer=dict(type="sgd")), "must be one of torch's SGD, Adam"),
        (dict(optimizer=dict(type="LBFGS")), "must be one of torch's"),
        (dict(optimizer=dict(type="SGD", params=dict(momentun=0.9))), "did you mean 'momentum'"),
        (dict(optimizer=dict(type="Adam", params=dict(beta=[0.9, 0.99]))), "'beta' is not known"),
        (dict(optimizer=dict(type="Adam", params=dict(betas=[0.9]))), "must be two numbers"),
        (dict(optimizer=dict(type="Adam", params=dict(bias_correction=False))), "bias_correction must be true"),
        (dict(optimizer=dict(type="Adam", params=dict(max_grad_norm=1.0))), "write gradient_clipping"),
        (dict(scheduler=dict(type="WarmupDecayLR", params=dict(warmup_num_steps=5))), "'total_num_steps' missing"),
        (dict(scheduler=dict(type="CosineAnnealingLR", params={})), "scheduler of torch is in js.ports.torch"),
        (dict(scheduler=dict(type="WarmupLR", params=dict(warmup_steps=5))), "'warmup_steps' is not known"),
        (dict(scheduler=dict(type="WarmupLR", params=dict(warmup_num_steps=0))), "warmup_num_steps must be"),
        (dict(scheduler=dict(type="WarmupLR", params=dict(warmup_type="cosine"))), "warmup_type must be one of"),
        (dict(scheduler=dict(type="WarmupLR", params=dict(warmup_min_lr=[0, 1]))), "one for each group"),
        (dict(scheduler=dict(type="WarmupLR", params=dict(last_batch_iteration=3))), "last_batch_iteration must be -1"),
        (dict(train_batch_size=32, train_micro_batch_size_per_gpu=4), r"give world_size=\.\.\."),
        (
            dict(train_batch_size=30, train_micro_batch_size_per_gpu=4, gradient_accumulation_steps=2),
            "must be 4 x 2 x 3",
        ),
        (dict(train_batch_size=None), "is missing; add one"),
        (dict(gradient_allreduce_op="sum"), "depends on the number of devices"),
        (dict(managed_gradient_accumulation=False), "the script decides"),
        (dict(lr_scheduler=dict(type="WarmupLR")), "'lr_scheduler' is not known, and its name says"),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        deepspeed.recipe({**CONFIG, **changes}, steps=5)


def test_what_is_missing_or_grows_too_far():
    with pytest.raises(ValueError, match="made by the script"):
        deepspeed.recipe({"train_batch_size": 8}, steps=5)
    cycle = dict(cycle_min_lr=0.5, cycle_max_lr=1.0, cycle_first_step_size=2, decay_step_size=1, decay_mom_rate=0.1)
    config = {**CONFIG, "scheduler": dict(type="OneCycle", params=cycle)}
    assert deepspeed.recipe(config, steps=6).steps == 6
    with pytest.raises(ValueError, match="takes the momentum to 1 within the run's 7 batches"):
        deepspeed.recipe(config, steps=7)
    for version in ("new", "", 0.15, "1" * 50):
        with pytest.raises(ValueError, match="version must be a release"):
            deepspeed.recipe(CONFIG, version=version)


def test_far_out():
    """Against float64: stairs and lines of two billion updates."""
    steps = 2**31 - 2
    at = np.asarray([0, 1, 2, 999_999, steps // 2, steps - 1, steps])
    log = deepspeed.WarmupLR(warmup_max_lr=0.1, warmup_num_steps=steps)(0.0)(at)
    np.testing.assert_allclose(log[1:], 0.1 * np.log(at[1:]) / np.log(steps), rtol=5e-7, atol=0)
    test = deepspeed.LRRangeTest(lr_range_test_min_lr=0.1, lr_range_test_step_size=steps, lr_range_test_step_rate=3.0)
    np.testing.assert_allclose(test(0.0)(at), 0.1 * (1 + 3.0 * at / steps), rtol=5e-7)
    half, count = steps // 2 - 1, 5_000
    cycle = deepspeed.OneCycle(0.25, 0.5, cycle_first_step_size=half, cycle_first_stair_count=count)(0.0)
    up = np.asarray([0, half // count, half // count + 1, half // 3, half - 1, half])
    exact = [0.25 + 0.25 * (int(step) * count // half) / count for step in up]
    np.testing.assert_allclose(cycle(up), exact, rtol=2e-7)
    np.testing.assert_allclose(cycle(2 * half - up), exact, rtol=2e-7)
