"""Configs that name torch's classes: worked by hand, and what is refused. Lightning's runs are in tests/parity."""

import copy
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import torch

SGD = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.5, "momentum": 0.9}}
STEP = {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 1, "gamma": 0.5}}
CONFIG = {"optimizer": SGD, "lr_scheduler": STEP, "trainer": {"max_epochs": 3}}
HYDRA = {
    "epochs": 3,
    "model": {
        "optimizer": {"_target_": "torch.optim.adamw.AdamW", "_partial_": True, "params": "???", "lr": "5e-1"},
        "scheduler": {
            "_target_": "torch.optim.lr_scheduler.CosineAnnealingLR",
            "optimizer": "${..optimizer}",
            "T_max": "${epochs}",
            "eta_min": 0.25,
        },
    },
    "trainer": {"_target_": "lightning.pytorch.Trainer", "max_epochs": "${epochs}"},
}
CASES = Path(__file__).parents[2] / "recorded" / "cases"


def lr(recipe):
    return js.curves(recipe)["all"]["lr"]


def test_the_command_line_of_lightning():
    recipe = torch.read(CONFIG, steps_per_epoch=2)
    np.testing.assert_allclose(lr(recipe), [0.5, 0.5, 0.25, 0.25, 0.125, 0.125])
    assert (recipe.optimizer, recipe.by_group()["all"]["momentum"], recipe.notes) == ("sgd", 0.9, ())
    assert js.Recipe.from_json(recipe.to_json()) == recipe
    recipe.build()
    assert not js.diff(recipe, torch.read({"fit": CONFIG}, steps_per_epoch=2))


def test_hydra():
    recipe = torch.read(HYDRA, steps_per_epoch=1, interval="epoch")
    np.testing.assert_allclose(lr(recipe), [0.5, 0.4375, 0.3125], rtol=1e-6)
    assert recipe.optimizer == "adamw"
    assert recipe.by_group()["all"]["weight_decay"] == 0.01  # torch's default
    assert "there may be groups" in recipe.notes[0]
    with pytest.raises(ValueError, match=r"how often model.scheduler is stepped; give interval=\.\.\."):
        torch.read(HYDRA, steps_per_epoch=1)
    at_the_top = {
        "optimizer": HYDRA["model"]["optimizer"],
        "lr_scheduler": {"_target_": f"{LR}.StepLR", "step_size": 1},
    }
    with pytest.raises(ValueError, match=r"how often lr_scheduler is stepped"):  # only Lightning's own decides that
        torch.read(at_the_top, steps_per_epoch=1)


def test_interval_and_frequency_beside_the_scheduler_or_in_it():
    beside = copy.deepcopy(HYDRA)
    beside["model"] |= {"interval": "epoch", "frequency": 2}
    inside = copy.deepcopy(HYDRA)
    inside["model"]["scheduler"] |= {"interval": "epoch", "frequency": 2}
    for config in (beside, inside):
        np.testing.assert_allclose(lr(torch.read(config, steps_per_epoch=1)), [0.5, 0.5, 0.4375], rtol=1e-6)
    by_step = torch.read(beside, steps_per_epoch=2, interval="step")
    np.testing.assert_allclose(lr(by_step), [0.5, 0.5, 0.4375, 0.4375, 0.3125, 0.3125], rtol=1e-6)


def test_what_the_trainer_says():
    trainer = {"max_steps": 5, "accumulate_grad_batches": 2, "gradient_clip_val": 0.5}
    recipe = torch.read({**CONFIG, "trainer": trainer}, steps_per_epoch=4)
    assert (recipe.clip_norm, recipe.clip_value, recipe.steps) == (0.5, None, 10)
    assert (recipe.accumulate.every, recipe.accumulate.mean) == (2, True)
    by_value = {**trainer, "gradient_clip_algorithm": "value"}
    assert torch.read({**CONFIG, "trainer": by_value}, steps_per_epoch=4).clip_value == 0.5
    uneven = torch.read({**CONFIG, "trainer": trainer}, steps_per_epoch=5)
    assert "divides 1 gradients by 2 there" in uneven.notes[-1]
    assert torch.read({**CONFIG, "trainer": {}}, steps_per_epoch=4).steps == 4000  # 1000 epochs
    assert torch.read({**CONFIG, "trainer": {"max_epochs": -1}}, steps_per_epoch=4).steps is None
    assert torch.read({**CONFIG, "trainer": {"max_epochs": -1}}, steps_per_epoch=4, epochs=2).steps == 8
    assert torch.read(CONFIG, steps_per_epoch=4, steps=7).steps == 7
    average = {"class_path": "lightning.pytorch.callbacks.StochasticWeightAveraging"}
    notes = torch.read({**CONFIG, "trainer": {"max_epochs": 2, "callbacks": [average]}}, steps_per_epoch=4).notes
    assert notes[0] == "not part of a recipe: callbacks"
    assert notes[1].startswith("caution left-out")


def test_nested_schedulers_and_momentum():
    module = "torch.optim.lr_scheduler"
    warm = {"_target_": f"{module}.LinearLR", "start_factor": 0.5, "total_iters": 2}
    cosine = {"_target_": f"{module}.CosineAnnealingLR", "T_max": 2}
    decay = {"_target_": f"{module}.ExponentialLR", "gamma": 0.5}
    chain = {"_target_": f"{module}.ChainedScheduler", "schedulers": [cosine, decay]}
    nested = {"_target_": f"{module}.SequentialLR", "schedulers": [warm, chain], "milestones": [2], "interval": "epoch"}
    recipe = torch.read({**CONFIG, "lr_scheduler": nested}, steps_per_epoch=1, epochs=5)
    np.testing.assert_allclose(lr(recipe), [0.25, 0.375, 0.5, 0.125, 0.0], atol=1e-8)
    cycle = {"class_path": f"{module}.OneCycleLR", "init_args": {"max_lr": 1, "total_steps": 5}}
    for name, key in (("SGD", "momentum"), ("Adam", "betas")):
        optimizer = {"class_path": f"torch.optim.{name}", "init_args": {}}
        config = {**CONFIG, "optimizer": optimizer, "lr_scheduler": cycle}
        recipe = torch.read(config, steps_per_epoch=1, epochs=5)
        assert recipe.hyperparameters[key]
        np.testing.assert_allclose(js.curves(recipe, [0, 4])["all"]["momentum"], [0.95, 0.95])
    config["optimizer"] = {"class_path": "torch.optim.Adagrad", "init_args": {}}
    with pytest.raises(ValueError, match="cycles the momentum, which adagrad does not have"):
        torch.read(config, steps_per_epoch=1, epochs=5)


@pytest.mark.parametrize("path", ["torch.optim.lr_scheduler", "lightning.pytorch.cli", "pytorch_lightning.cli"])
def test_plateau(path):
    plateau = {"class_path": f"{path}.ReduceLROnPlateau", "init_args": {"monitor": "val/loss", "patience": 0}}
    recipe = torch.read({**CONFIG, "lr_scheduler": plateau}, steps_per_epoch=2)
    assert recipe.notes[-1].endswith("report val/loss with js.report_metric once per epoch")
    tx, params = recipe.build(), {"w": jnp.ones(1)}
    state = tx.init(params)
    for metric in (1.0, 2.0):
        _, state = tx.update(params, state, params)
        state = js.report_metric(state, metric)
    _, state = tx.update(params, state, params)
    np.testing.assert_allclose(js.hyperparams(state)["all"]["lr"], 0.05)


def test_several_are_told_apart():
    config = {**CONFIG, "g": {"optimizer": SGD}, "scheduler": {"_target_": "diffusers.DDPMScheduler"}}
    with pytest.raises(ValueError, match=r"has 2 optimizers: optimizer, g.optimizer; say which with optimizer="):
        torch.read(config, steps_per_epoch=1)
    with pytest.raises(ValueError, match="has 2 schedulers: lr_scheduler, scheduler"):
        torch.read(config, steps_per_epoch=1, optimizer="g.optimizer")
    assert lr(torch.read(config, steps_per_epoch=1, optimizer="g.optimizer", scheduler="lr_scheduler"))[1] == 0.25
    assert lr(torch.read(config, steps_per_epoch=1, optimizer="optimizer", scheduler="none"))[1] == 0.5
    with pytest.raises(ValueError, match=r"no optimizer at 'g\.optim'"):
        torch.read(config, steps_per_epoch=1, optimizer="g.optim")


def test_files(tmp_path):
    recipe = torch.read(CASES / "lightning.yaml", steps_per_epoch=20)
    assert (recipe.optimizer, recipe.steps) == ("adamw", 2000)
    assert "steps-as-epochs" in [finding.code for finding in js.lint(recipe)]  # stepped once per epoch, as there
    path = tmp_path / "config.yaml"
    path.write_text("defaults: [_self_, {model: net}]\noptimizer: {_target_: torch.optim.Adam, lr: 1e-3}\n")
    notes = torch.read(path, steps=5).notes
    assert notes[0].endswith("lr is constant, unless the program makes one")
    assert "give the config that a run leaves in .hydra/config.yaml" in notes[1]


def scheduler(name, **arguments):
    return {**CONFIG, "lr_scheduler": {"class_path": name, "init_args": arguments}}


def optimizer(name, **arguments):
    return {**CONFIG, "optimizer": {"_target_": name, **arguments}}


LR = "torch.optim.lr_scheduler"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"trainer": {"max_epochs": 3}}, "names no optimizer of torch: it is made in code"),
        (optimizer("torch.optim.LBFGS"), "must be one of torch's SGD, Adam"),
        (optimizer("torch.optim.Adam", beta=1), "'beta' is not known"),
        (optimizer("torch.optim.Adam", lr="fast"), "lr"),
        (optimizer("torch.optim.Adam", _args_=[1]), "_args_ has no names"),
        (optimizer("torch.optim.SGD", params={"_target_": "detectron2.solver.build"}), "'params' is not known"),
        (optimizer("timm.optim.create_optimizer_v2"), "not a class of torch; write the recipe with js.Recipe"),
        (optimizer("torch.optim.SGD", lr="${lr}"), r"is '\$\{lr\}', which the file does not have; write the value"),
        (optimizer("torch.optim.SGD", lr="${eval:1+1}"), "only its own program can evaluate"),
        (optimizer("torch.optim.SGD", lr="???"), "is to be filled in"),
        ({**optimizer("torch.optim.SGD", lr="${a}"), "a": "${b}", "b": "${a}"}, "refers to itself"),
        (scheduler(f"{LR}.StepLR"), "'step_size' missing; add it"),
        (scheduler(f"{LR}.StepLR", step_size=0), "step_size must be"),
        (scheduler(f"{LR}.StepLR", stepsize=1), "did you mean 'step_size'"),
        (scheduler(f"{LR}.CosineLR", T_max=3), "must be one of torch's"),
        (scheduler(f"{LR}.LambdaLR", lr_lambda={"_target_": "os.system"}), "no code of a config is run"),
        (scheduler(f"{LR}.SequentialLR", schedulers=[3], milestones=[]), r"schedulers\[0\] must name a class"),
        (scheduler("transformers.get_cosine_schedule_with_warmup"), "with js.ports.huggingface.get_scheduler"),
        (scheduler("timm.scheduler.CosineLRScheduler", t_initial=3), "with js.ports.timm"),
        (
            scheduler("my.Warmup", main={"class_path": "lightning.pytorch.cli.ReduceLROnPlateau", "init_args": {}}),
            "my.Warmup is not a class of torch",
        ),
        ({**CONFIG, "lr_multiplier": {"_target_": "detectron2.solver.WarmupParamScheduler"}}, "has 2 schedulers"),
        ({**CONFIG, "trainer": {"accumulate_grad_batches": {0: 8}}}, "accumulate_grad_batches must be a number"),
        ({**CONFIG, "trainer": {"gradient_clip_algorithm": "l2"}}, "must be one of 'norm', 'value'"),
        ({**CONFIG, "trainer": {"max_epochs": 0}}, "max_epochs must be"),
        ({**CONFIG, "trainer": {"max_epochs": "${x"}}, "only its own program"),
        (scheduler(f"{LR}.StepLR", step_size=1, interval="batch"), "must be one of 'epoch', 'step'"),
        (scheduler(f"{LR}.StepLR", step_size=1, interval="step", frequency=3), "frequency must be 1, or divide"),
    ],
)
def test_what_is_refused(config, message):
    with pytest.raises((ValueError, TypeError), match=message):
        torch.read(config, steps_per_epoch=4)


def test_an_epoch_is_needed_where_it_counts():
    for config in (CONFIG, {**CONFIG, "lr_scheduler": None}):
        with pytest.raises(ValueError, match=r"give steps_per_epoch=\.\.\."):
            torch.read(config)
    by_step = scheduler(f"{LR}.StepLR", step_size=1, gamma=0.5, interval="step") | {"trainer": {"max_steps": 3}}
    np.testing.assert_allclose(lr(torch.read(by_step)), [0.5, 0.25, 0.125])
    with pytest.raises(ValueError, match=r"give steps_per_epoch=\.\.\."):
        torch.read({**by_step, "trainer": {"max_steps": 3, "accumulate_grad_batches": 2}})


def test_references_that_multiply_are_bounded():
    config = {**optimizer("torch.optim.SGD", lr="${a0}"), **{f"a{i}": [f"${{a{i + 1}}}"] * 2 for i in range(40)}}
    with pytest.raises(ValueError, match="refers to itself, or to too many values"):
        torch.read({**config, "a40": 1}, steps_per_epoch=4)
