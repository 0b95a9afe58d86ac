"""timm's arguments as a recipe: worked by hand, and what it refuses. The schedulers are compared in tests/parity."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import timm

ADAMW = dict(opt="adamw", lr=1e-3, weight_decay=0.05, epochs=10, warmup_epochs=2)
TREE = {"stem": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "head": {"kernel": jnp.ones((2, 2))}}


def test_epochs_are_held_and_updates_are_not():
    by_epoch = js.curves(timm.recipe(ADAMW, steps_per_epoch=4))["decay"]["lr"]
    assert len(set(by_epoch[:4])) == 1
    assert by_epoch[0] == pytest.approx(1e-5)
    by_update = js.curves(timm.recipe({**ADAMW, "sched_on_updates": True}, steps_per_epoch=4))["decay"]["lr"]
    np.testing.assert_allclose(by_update[:8], 1e-5 + np.arange(8) / 8 * (1e-3 - 1e-5), rtol=1e-6)


def test_the_jump_where_warm_up_ends():
    lr = timm.CosineLRScheduler(t_initial=10, warmup_t=5)(1.0)
    assert [round(float(lr(t)), 3) for t in (4, 5, 10, 11)] == [0.8, 0.5, 0.0, 0.0]
    lr = timm.CosineLRScheduler(t_initial=10, warmup_t=5, warmup_prefix=True)(1.0)
    assert [round(float(lr(t)), 3) for t in (4, 5, 10, 15)] == [0.8, 1.0, 0.5, 0.0]


def test_a_milestone_acts_one_epoch_early():
    lr = timm.MultiStepLRScheduler(decay_t=[3], decay_rate=0.1)(1.0)
    assert [round(float(lr(t)), 3) for t in (1, 2, 3)] == [1.0, 0.1, 0.1]


def test_accumulation_ends_with_the_epoch():
    recipe = timm.recipe({**ADAMW, "grad_accum_steps": 3, "sched_on_updates": True}, steps_per_epoch=8)
    assert recipe.accumulate.mean
    assert np.flatnonzero(js.report.update_steps(recipe, np.arange(16))).tolist() == [2, 5, 7, 10, 13, 15]
    lr = js.curves(recipe, [2, 5, 7, 10])["decay"]["lr"]  # updates 0, 1, 2, 3 of 6 in the warm-up of 2 epochs
    np.testing.assert_allclose(lr, 1e-5 + np.arange(4) / 6 * (1e-3 - 1e-5), rtol=1e-6)
    tx = recipe.build()
    params = {"kernel": jnp.ones((2, 2))}
    state = tx.init(params)
    _, state = tx.update(params, state, params)
    assert not js.did_update(state)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (dict(opt="sgd"), 0.1 * 1024 / 256),
        (dict(opt="adamw"), 0.1 * 2),
        (dict(opt="sgd", lr_base_scale="sqrt", lr_base=0.5, lr_base_size=1024), 0.5),
        (dict(opt="lamb", lr_base_scale="linear"), 0.4),
    ],
)
def test_lr_from_the_batch_size(args, expected):
    args = {"batch_size": 128, "grad_accum_steps": 4, "sched": "none", **args}
    recipe = timm.recipe(args, steps_per_epoch=8, world_size=2)
    assert js.curves(recipe, [0])["decay"]["lr"] == pytest.approx(expected)
    assert recipe.batch_size == 256
    assert "1024 / " in recipe.origin["lr"]


def test_a_file_of_a_run():
    case = Path(__file__).parents[2] / "recorded" / "cases" / "timm_args.yaml"
    recipe = timm.recipe(case, images=12_900)  # 100 batches of 128; the rest is dropped
    assert (recipe.optimizer, recipe.steps, recipe.steps_per_epoch) == ("adamw", 10_000, 100)
    lr = js.curves(recipe, [0, 500, 5000, 9999])["decay"]["lr"]
    expected = [1e-5, *(0.5e-3 * (1 + np.cos(np.pi * epoch / 100)) for epoch in (5, 50, 99))]
    np.testing.assert_allclose(lr, expected, rtol=1e-5)
    assert js.curves(recipe, [0])["no_decay"]["weight_decay"] == 0


@pytest.mark.parametrize("name", ["None", "none", None])
def test_no_schedule_by_its_names(name):
    recipe = timm.recipe({**ADAMW, "sched": name}, steps_per_epoch=4)
    assert np.ptp(js.curves(recipe)["decay"]["lr"]) == 0


@pytest.mark.parametrize(
    ("opt", "ours", "says"),
    [
        ("nesterov", "sgd", None),
        ("fusedadamw", "adamw", "opt=fusedadamw is apex's; here it is adamw"),
        ("rmsproptf", "rmsprop", None),
    ],
)
def test_optimizers_by_their_other_names(opt, ours, says):
    recipe = timm.recipe({**ADAMW, "opt": opt}, steps_per_epoch=4)
    assert recipe.optimizer == ours
    assert recipe.notes[0].startswith(says) if says else recipe.notes == ()
    recipe.build()


def test_the_average_of_releases_before_1_0():
    """Their ModelEmaV2 averages from the first update on; an args.yaml of theirs has no model_ema_warmup."""
    old = dict(model_ema=True, model_ema_decay=0.9, model_ema_force_cpu=False)
    assert [float(timm.recipe(old, steps_per_epoch=4).ema(k)) for k in (0, 1)] == pytest.approx([0.9, 0.9])
    new = {**old, "model_ema_warmup": False}
    assert [float(timm.recipe(new, steps_per_epoch=4).ema(k)) for k in (0, 1)] == pytest.approx([0.0, 0.9])


def test_lion():
    recipe = timm.recipe({**ADAMW, "opt": "lion", "opt_betas": [0.8, 0.95]}, steps_per_epoch=4)
    assert (recipe.optimizer, recipe.by_group()["decay"]["betas"]) == ("lion", (0.8, 0.95))


def test_rmsproptf_is_tensorflows():
    group = timm.recipe({**ADAMW, "opt": "rmsproptf", "opt_eps": 1e-3, "momentum": 0.8}, steps_per_epoch=4).by_group()
    expected = dict(alpha=0.9, eps=0.0, eps_root=1e-3, initial_scale=1.0, lr_in_momentum=True, momentum=0.8)
    assert {name: group["decay"][name] for name in expected} == expected


def test_layers():
    recipe = timm.recipe({**ADAMW, "layer_decay": 0.5}, steps_per_epoch=4, layers=["stem/**", "middle/**", "head/**"])
    assert js.groups.labels(TREE, recipe.rules) == {
        "stem": {"kernel": "layer_0_decay", "bias": "layer_0_no_decay"},
        "head": {"kernel": "layer_2_decay"},
    }
    curves = js.curves(recipe, [20])
    assert curves["layer_0_decay"]["lr"] == pytest.approx(curves["layer_2_decay"]["lr"] / 4)
    frozen = timm.recipe(
        {**ADAMW, "layer_decay": 0.5, "layer_decay_no_opt_scale": 0.3}, steps_per_epoch=4, layers=["stem/**", "a", "b"]
    )
    assert frozen.groups["layer_0_decay"] is None
    assert js.Recipe.from_json(frozen.to_json()) == frozen


def test_clipping_and_length_and_notes(tmp_path):
    path = tmp_path / "args.yaml"
    path.write_text(
        "opt: sgd\nlr: 5e-1\nclip_grad: 1.0\nepochs: 10\ncooldown_epochs: 5\nmodel: resnet50\nmixup: 0.2\n"
        "opt_kwargs: {}\nlr_noise: null\n"
    )
    recipe = timm.recipe(path, steps_per_epoch=4)
    assert (recipe.clip_norm, recipe.clip_value, recipe.steps) == (1.0, None, 60)
    assert recipe.notes == ("not part of a recipe: model, mixup",)
    assert timm.recipe(dict(clip_grad=2.0, clip_mode="value"), steps_per_epoch=4).clip_value == 2.0


@pytest.mark.parametrize(
    ("args", "more", "message"),
    [
        (dict(head_lr=1), {}, "'head_lr' is not known, and its name says that it changes the schedule"),
        (dict(opt="sgdp"), {}, "opt must be one of sgd"),
        (dict(sched="cos"), {}, "sched must be one of cosine"),
        (dict(epochs=0), {}, "epochs must be a whole number >= 1"),
        (dict(epochs=2.5), {}, "epochs must be a whole number"),
        (dict(lr="fast"), {}, "lr must be a number"),
        (dict(lr_noise=[0.4, 0.9]), {}, "lr_noise"),
        (dict(clip_grad=0.0), {}, "args: clip_grad must be positive, or null for none"),
        (dict(clip_grad=1.0, clip_mode="agc"), {}, "clip_mode must be 'norm' or 'value'"),
        (dict(layer_decay=0.5), {}, "layers="),
        (dict(opt_kwargs={"eps": 1}), {}, "opt_kwargs"),
        (dict(sched_on_updates="yes"), {}, "true or false"),
        (dict(sched="plateau", sched_on_updates=True), {}, "on epochs only"),
        (dict(sched="wsd", decay_epochs=50), {}, "decay_epochs"),
        (dict(decay_milestones=3), {}, "must be a list"),
        (dict(opt_betas=[0.9]), {}, "two numbers"),
        (dict(lr=None, lr_base_scale="log"), {}, "lr_base_scale"),
        ({}, dict(steps_per_epoch=0), "steps_per_epoch"),
        ({}, dict(world_size=0), "world_size"),
    ],
)
def test_what_is_refused(args, more, message):
    with pytest.raises((ValueError, TypeError), match=message):
        timm.recipe({**ADAMW, **args}, **{"steps_per_epoch": 4, **more})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: timm.CosineLRScheduler(0), "t_initial must be positive"),
        (lambda: timm.CosineLRScheduler(3, noise_range_t=2), "noise"),
        (lambda: timm.CosineLRScheduler(10, cycle_mul=1.0001, cycle_limit=10**6), "at most 1000"),
        (lambda: timm.TanhLRScheduler(10, lb=3, ub=1), "lb must be below"),
        (lambda: timm.TanhLRScheduler(10, warmup_t=1.5), "must be whole"),
        (lambda: timm.StepLRScheduler(3, warmup_t=1.5), "must be whole"),
        (lambda: timm.MultiStepLRScheduler([5, 3]), "ascend"),
        (lambda: timm.WSDLRScheduler(10, 11), "decay_t"),
        (lambda: timm.WSDLRScheduler(10, 5, decay_fn="log"), "decay_fn must be one of"),
        (lambda: timm.WSDLRScheduler(10, 5, stable_fn="rsqrt"), "stable_timescale"),
        (lambda: timm.PlateauLRScheduler(mode="up"), "mode"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()(0.1)
