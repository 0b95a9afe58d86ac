"""axolotl's YAML files: its names, its defaults, its warm-up; the values are worked by hand."""

import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import huggingface

BASE = dict(
    base_model="m", micro_batch_size=2, gradient_accumulation_steps=4, learning_rate=2e-4, optimizer="adamw_8bit"
)


def lr_of(recipe, updates):
    """The lr at updates of four batches each."""
    return js.curves(recipe, 4 * np.asarray(updates))["decay"]["lr"]


def test_its_defaults():
    """One epoch, a cosine, and 3 % of warm-up, which is at most 100 updates."""
    recipe = huggingface.recipe(BASE, steps_per_epoch=4000)
    assert recipe.steps == 4000
    np.testing.assert_allclose(lr_of(recipe, [0, 15, 30, 515]), [0, 1e-4, 2e-4, 1e-4], rtol=1e-6, atol=1e-12)
    long = huggingface.recipe({**BASE, "num_epochs": 10}, steps_per_epoch=4000)
    np.testing.assert_allclose(lr_of(long, [50, 100]), [1e-4, 2e-4], rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "warmup"),
    [
        (dict(warmup_ratio=0.1), 10),  # of 103 updates: rounded down
        (dict(warmup_steps=7), 7),
        (dict(warmup_steps=1), 2),
        (dict(warmup_steps=0.1), 11),  # the Trainer's own ratio: rounded up
        (dict(warmup_steps=None, warmup_ratio=None), 3),
        (dict(warmup_steps=0), 0),
    ],
)
def test_warmup(settings, warmup):
    recipe = huggingface.recipe({**BASE, **settings}, steps_per_epoch=412)
    lr = lr_of(recipe, np.arange(103))
    assert int(lr.argmax()) == warmup
    assert f"warm-up {warmup} of 103 updates" in recipe.origin["lr"]


def test_a_least_lr_and_a_batch_of_all():
    settings = dict(cosine_min_lr_ratio=0.1, warmup_steps=0, batch_size=16)
    given = {name: value for name, value in BASE.items() if name != "gradient_accumulation_steps"}
    recipe = huggingface.recipe({**given, **settings}, steps_per_epoch=800, world_size=2)
    assert recipe.accumulate.every(0) == 4
    expected = 2e-4 * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * np.array([0, 100, 199]) / 200)))
    np.testing.assert_allclose(lr_of(recipe, [0, 100, 199]), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "setting",
    [dict(relora=True), dict(jagged_restart_steps=150), dict(lr_quadratic_warmup=True), dict(embedding_lr=1e-5)],
)
def test_other_schedules_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        huggingface.recipe({**BASE, **setting}, steps_per_epoch=400)


PLAIN = {**BASE, "gradient_accumulation_steps": 1, "optimizer": "adamw_torch"}


@pytest.mark.parametrize("warmup", [0, 5])
@pytest.mark.parametrize("ratio", [None, 0.1])
def test_rex(warmup, ratio):
    """Its scheduler is made with last_epoch 0, and steps at once: update k has the lr of its step k + 1."""
    settings = dict(lr_scheduler="rex", warmup_steps=warmup, cosine_min_lr_ratio=ratio)
    recipe = huggingface.recipe({**PLAIN, **settings}, steps_per_epoch=40)
    step = np.arange(1, 41)
    z = np.maximum(40 - step, 0) / (40 - warmup)
    r = ratio or 0.0
    expected = np.where(step <= warmup, step / max(warmup, 1), r + (1 - r) * z / (0.1 + 0.9 * z))
    np.testing.assert_allclose(js.curves(recipe)["decay"]["lr"], 2e-4 * expected, rtol=2e-6, atol=1e-12)
    assert js.Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(("warmup", "kwargs"), [(0, {}), (8, {}), (8, dict(pct_start=0.5, anneal_strategy="linear"))])
def test_one_cycle_is_torchs_and_moves_the_first_beta(warmup, kwargs):
    """From max_lr / 25 to max_lr at pct_start * T - 1, and to 1e-4 of the first at T - 1."""
    settings = dict(lr_scheduler="one_cycle", warmup_steps=warmup, lr_scheduler_kwargs=kwargs)
    recipe = huggingface.recipe({**PLAIN, **settings}, steps_per_epoch=40)
    step, top = np.arange(40), kwargs.get("pct_start", warmup / 40) * 40 - 1

    def two_phases(start, peak, end):
        part = np.where(step <= top, step / (top or 1), (step - top) / (39 - top))
        part = part if "anneal_strategy" in kwargs else (1 - np.cos(np.pi * part)) / 2
        return np.where(step <= top, start + (peak - start) * part, peak + (end - peak) * part)

    np.testing.assert_allclose(js.curves(recipe)["decay"]["lr"], two_phases(8e-6, 2e-4, 8e-10), rtol=3e-6)
    np.testing.assert_allclose(recipe.hyperparameters["betas"][0](step), two_phases(0.95, 0.85, 0.95), rtol=1e-6)


def test_what_its_schedules_refuse():
    def read(**settings):
        return huggingface.recipe({**PLAIN, **settings}, steps_per_epoch=40)

    with pytest.raises(ValueError, match="lr_scheduler_kwargs: 'num_cycles' is not known"):
        read(lr_scheduler="rex", lr_scheduler_kwargs=dict(num_cycles=2))
    with pytest.raises(ValueError, match="rex has 40 updates, of which 50 are warm-up"):
        read(lr_scheduler="rex", warmup_steps=50)
    with pytest.raises(ValueError, match="its peak would be at update 39"):
        read(lr_scheduler="one_cycle", warmup_steps=40)
    with pytest.raises(ValueError, match="optim adafactor has no momentum"):
        read(lr_scheduler="one_cycle", optimizer="adafactor", warmup_steps=4)
    held = dict(lr_scheduler_kwargs=dict(cycle_momentum=False), warmup_steps=4)
    still = read(lr_scheduler="one_cycle", optimizer="adafactor", **held)
    assert still.optimizer == "adafactor"
    with pytest.raises(ValueError, match=r"name must be one of .*, got 'rex'"):
        huggingface.recipe(dict(lr_scheduler_type="rex"), steps_per_epoch=40)


def test_settings_of_model_and_data_are_listed_quietly():
    recipe = huggingface.recipe({**BASE, "lora_r": 8, "sample_packing": True}, steps_per_epoch=400)
    assert not js.recipe.cautions(recipe.notes)
    assert any(note == "not part of a recipe: base_model, lora_r, sample_packing" for note in recipe.notes)
    frozen = huggingface.recipe({**BASE, "unfrozen_parameters": ["lm_head.*"]}, steps_per_epoch=400)
    assert [code for code, _ in js.recipe.cautions(frozen.notes)] == ["freeze"]
