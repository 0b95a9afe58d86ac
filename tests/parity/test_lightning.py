"""Configs of Lightning's command line and of Hydra, live: the same lr at each batch, and the same parameters."""

import importlib
import logging
import sys
import types
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import jaxsched as js
from jaxsched.cli._app import app
from jaxsched.ports import torch as port

torch = pytest.importorskip("torch")

NB = 12
"""Batches in an epoch."""
GRADIENTS = np.random.default_rng(0).normal(size=(NB, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def lightning():
    """Lightning's command line, without torchmetrics, of which it needs two names and which takes seconds to import."""
    pytest.importorskip("jsonargparse")
    stub = types.ModuleType("torchmetrics")
    stub.Metric, stub.MetricCollection = type("Metric", (), {}), type("MetricCollection", (), {})
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setitem(sys.modules, "torchmetrics", stub)
        pytest.importorskip("pytorch_lightning")
        return importlib.import_module("pytorch_lightning.cli")


def run(cli, config, stepping, folder):
    """lr, momentum and parameters before each batch, by Lightning's own command line; it saves its config."""
    pl = importlib.import_module("pytorch_lightning")

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.kernel = torch.nn.Parameter(torch.ones(3))
            self.lrs, self.momenta, self.kernels = [], [], []

        def training_step(self, batch, _):
            (group,) = self.optimizers().param_groups
            self.lrs.append(group["lr"])
            self.momenta.append(group.get("betas", [group.get("momentum")])[0])
            self.kernels.append(self.kernel.detach().numpy().copy())
            return (self.kernel * batch[0][0]).sum()

    class Data(pl.LightningDataModule):
        def train_dataloader(self):
            return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(GRADIENTS)))

    class Own(cli.LightningCLI):
        @staticmethod
        def configure_optimizers(lightning_module, optimizer, lr_scheduler=None):
            if not stepping or lr_scheduler is None:
                return cli.LightningCLI.configure_optimizers(lightning_module, optimizer, lr_scheduler)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": lr_scheduler, **stepping}}

    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = {**quiet, **config["trainer"], "accelerator": "cpu", "default_root_dir": str(folder)}
        made = Own(Model, Data, run=False, seed_everything_default=False, args={**config, "trainer": trainer})
        made.trainer.fit(made.model, made.datamodule)
    model = made.model
    return np.asarray(model.lrs), model.momenta, np.asarray([*model.kernels, model.kernel.detach().numpy()])


def node(name, **arguments):
    module = "torch.optim.lr_scheduler" if name.endswith("LR") or name.startswith("Cosine") else "torch.optim"
    return {"class_path": f"{module}.{name}", "init_args": arguments}


SGD = node("SGD", lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
ADAMW = node("AdamW", lr=0.1, betas=[0.8, 0.99])
STEP = node("StepLR", step_size=2, gamma=0.5)
CYCLE = node("OneCycleLR", max_lr=0.3, total_steps=40)
CASES = {
    "no scheduler": (SGD, None, dict(max_epochs=2), {}),
    "by epoch": (SGD, STEP, dict(max_epochs=5), {}),
    "every second epoch": (SGD, STEP, dict(max_epochs=6), dict(frequency=2)),
    "by step": (ADAMW, CYCLE, dict(max_epochs=3), dict(interval="step")),
    "momentum": (SGD, CYCLE, dict(max_epochs=3), dict(interval="step")),
    "every third step": (SGD, STEP, dict(max_epochs=2), dict(interval="step", frequency=3)),
    "gathered, by step": (ADAMW, CYCLE, dict(max_epochs=3, accumulate_grad_batches=4), dict(interval="step")),
    "gathered, by epoch": (SGD, STEP, dict(max_epochs=3, accumulate_grad_batches=3), {}),
    "a rest, by step": (SGD, STEP, dict(max_epochs=3, accumulate_grad_batches=5), dict(interval="step")),
    "clipped": (SGD, STEP, dict(max_epochs=2, gradient_clip_val=0.5), {}),
    "clipped by value": (ADAMW, None, dict(max_epochs=2, gradient_clip_val=0.5, gradient_clip_algorithm="value"), {}),
    "so many updates": (SGD, STEP, dict(max_steps=7, accumulate_grad_batches=2), {}),
    "updates with a rest": (SGD, STEP, dict(max_steps=7, accumulate_grad_batches=5), dict(interval="step")),
    "both limits": (SGD, STEP, dict(max_steps=1000, max_epochs=2), {}),
}

TRAINED = ("no scheduler", "momentum", "gathered, by step", "gathered, by epoch", "clipped", "clipped by value")
"""Whose parameters are compared too, each for something that the others do not have; each takes a compilation."""


@pytest.mark.parametrize("case", CASES)
def test_a_run_of_lightning(case, lightning, tmp_path):
    optimizer, scheduler, trainer, stepping = CASES[case]
    config = {"optimizer": optimizer, "trainer": trainer, **({"lr_scheduler": scheduler} if scheduler else {})}
    lrs, momenta, kernels = run(lightning, config, stepping, tmp_path)
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    if stepping:
        saved["lr_scheduler"]["init_args"] |= stepping
    recipe = port.read(saved, steps_per_epoch=NB)
    assert recipe.steps == len(lrs)
    curves = js.curves(recipe)["all"]
    np.testing.assert_allclose(curves["lr"], lrs, rtol=2e-6, atol=1e-9)
    np.testing.assert_allclose(curves["momentum"], momenta, rtol=2e-6)
    due = np.flatnonzero(js.report.update_steps(recipe))
    np.testing.assert_array_equal(due, np.flatnonzero((kernels[1:] != kernels[:-1]).any(axis=1)))
    if case not in TRAINED:
        return
    tx, params = recipe.build(), {"kernel": jnp.ones(3)}
    state, update, mine = tx.init(params), jax.jit(tx.update), []
    for step in range(recipe.steps):
        mine.append(params["kernel"])
        updates, state = update({"kernel": GRADIENTS[step % NB]}, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    np.testing.assert_allclose(np.asarray([*mine, params["kernel"]]), kernels, rtol=0, atol=2e-5)


@pytest.mark.parametrize("every", [1, 2])
def test_a_folder_of_lightning_is_verified(every, lightning, tmp_path):
    """Its CSVLogger and LearningRateMonitor write metrics.csv beside the config.yaml that its command line saves."""
    module = "pytorch_lightning"
    logger = {"class_path": f"{module}.loggers.CSVLogger", "init_args": {"save_dir": str(tmp_path)}}
    monitor = {"log_momentum": True, "log_weight_decay": True}
    monitor = {"class_path": f"{module}.callbacks.LearningRateMonitor", "init_args": monitor}
    trainer = dict(max_epochs=5, accumulate_grad_batches=every, logger=logger, callbacks=[monitor], log_every_n_steps=2)
    run(lightning, {"optimizer": SGD, "lr_scheduler": STEP, "trainer": trainer}, {}, tmp_path)
    (log,) = tmp_path.glob("*/version_0/metrics.csv")
    rows = len([line for line in log.read_text().splitlines()[1:] if line.strip(",")])
    result = CliRunner().invoke(app, ["verify", str(log.parent)])
    assert result.exit_code == 0, result.output
    assert f"{rows} of {rows} " in result.stdout


NESTED = """
trainer: {max_epochs: 6, peak: 0.2}
model:
  _target_: my.Module
  optimizer: {_target_: torch.optim.SGD, _partial_: true, lr: "${trainer.peak}", momentum: 0.9}
  lr_scheduler:
    interval: epoch
    scheduler:
      _target_: torch.optim.lr_scheduler.SequentialLR
      milestones: [2]
      schedulers:
        - _target_: torch.optim.lr_scheduler.LinearLR
          start_factor: 0.25
          total_iters: ${...milestones.0}
        - _target_: torch.optim.lr_scheduler.ChainedScheduler
          schedulers:
            - {_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: "${trainer.max_epochs}", eta_min: 1e-3}
            - {_target_: torch.optim.lr_scheduler.ExponentialLR, gamma: 0.9}
"""


def test_nested_schedulers_and_references_as_hydra_reads_them(tmp_path):
    omegaconf, hydra = pytest.importorskip("omegaconf"), pytest.importorskip("hydra.utils")
    path = tmp_path / "config.yaml"
    path.write_text(NESTED)
    config = omegaconf.OmegaConf.load(path)
    resolved = omegaconf.OmegaConf.to_container(config, resolve=True)
    optimizer = hydra.instantiate(config.model.optimizer)([torch.nn.Parameter(torch.zeros(1))])

    def build(found):
        given = {key: value for key, value in found.items() if key != "_target_"}
        if "schedulers" in given:
            given["schedulers"] = [build(member) for member in given["schedulers"]]
        name = hydra.get_class(found["_target_"])
        return name(**given) if name.__name__ == "ChainedScheduler" else name(optimizer, **given)

    recipe = port.read(path, steps_per_epoch=1)
    flat = resolved["model"]["lr_scheduler"]["scheduler"]
    assert flat["schedulers"][0]["total_iters"] == 2
    flat["schedulers"][1] = flat["schedulers"][1]["schedulers"][1]  # torch's own SequentialLR cannot hold a chain
    recipe_flat = port.read({**resolved, "model": resolved["model"]}, steps_per_epoch=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler, lrs = build(flat), []
        for _ in range(6):
            lrs.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
    np.testing.assert_allclose(js.curves(recipe_flat)["all"]["lr"], lrs, rtol=1e-6)
    np.testing.assert_allclose(js.curves(recipe)["all"]["lr"][:3], [0.05, 0.125, 0.2], rtol=1e-6)
