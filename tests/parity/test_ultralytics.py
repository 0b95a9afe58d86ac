"""Ultralytics' own training loop, run on a tiny model: lr, momentum, decay, accumulation and updates at each batch."""

import importlib.util
import os
import types

import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import ultralytics

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
if importlib.util.find_spec("ultralytics") is None:
    pytest.skip("ultralytics is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def trainer_class(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ultralytics")
    os.environ.setdefault("YOLO_CONFIG_DIR", str(folder))
    os.environ.setdefault("YOLO_OFFLINE", "true")
    from ultralytics.engine.trainer import BaseTrainer

    class Trainer(BaseTrainer):
        """The real loop and optimizer; the data, model and what is done with results are stubs."""

        def __init__(self, images, classes, **args):
            self.images, self.classes, self.seen, self.stepped = images, classes, [], False
            given = {"model": "tiny.yaml", "data": "none", "device": "cpu", "project": str(folder), "workers": 0}
            super().__init__(overrides={**given, "plots": False, "val": False, "save": False, "amp": False, **args})
            self.add_callback("on_train_batch_start", lambda trainer: setattr(trainer, "stepped", False))
            self.add_callback("on_train_batch_end", lambda trainer: trainer.look())

        def look(self):
            groups = [
                (
                    g["param_group"] + ("_boosted" if len(self.optimizer.param_groups) == 8 and i % 2 == 0 else ""),
                    g["lr"],
                    g["momentum"] if "momentum" in g else g["betas"][0],
                    g["weight_decay"],
                )
                for i, g in enumerate(self.optimizer.param_groups)
            ]
            self.seen.append((groups, self.accumulate, self.stepped))

        def optimizer_step(self):
            self.stepped = True
            super().optimizer_step()

        def get_dataset(self):
            return {"train": "", "val": "", "nc": self.classes, "names": {0: "a"}}

        def setup_model(self):
            self.model = Tiny()

        def get_dataloader(self, path, batch_size=16, rank=0, mode="train"):
            return Loader(self.images, batch_size)

        def get_validator(self):
            return types.SimpleNamespace(metrics=types.SimpleNamespace(keys=[]), dataloader=None)

        def label_loss_items(self, loss_items=None, prefix="train"):
            return [] if loss_items is None else {}

        def preprocess_batch(self, batch):
            return batch

        def validate(self):
            return {}, 0.0

        def save_metrics(self, metrics):
            pass

        def save_model(self):
            return False

        def final_eval(self):
            pass

    return Trainer


class Loader:
    num_workers, drop_last = 0, False

    def __init__(self, images, batch_size):
        self.dataset = self.sampler = range(images)
        self.batch_size = batch_size

    def __len__(self):
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self):
        return iter([{"img": torch.ones(1, 1, 2, 2), "cls": torch.zeros(1)}] * len(self))

    def reset(self):
        pass


class Head(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cv2, self.cv3 = torch.nn.Conv2d(2, 1, 1), torch.nn.Conv2d(2, 1, 1)


class Tiny(torch.nn.Module):
    nc, yaml, args, criterion = 1, {}, None, None  # what the trainer looks for

    def __init__(self):
        super().__init__()
        self.model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2), Head())
        self.stride, self.names = torch.tensor([1]), {0: "a"}

    def forward(self, batch):
        x = self.model[1](self.model[0](batch["img"]))
        loss = self.model[2].cv2(x).mean() + self.model[2].cv3(x).mean()
        return loss, {"loss": loss.detach()}


RUNS = {
    "sgd": dict(images=101, optimizer="SGD", epochs=6, batch=8),
    "cosine": dict(images=90, optimizer="SGD", epochs=7, batch=10, cos_lr=True, lrf=0.2),
    "no warm-up": dict(images=64, optimizer="SGD", epochs=3, batch=16, warmup_epochs=0),
    "one epoch": dict(images=64, optimizer="SGD", epochs=1, batch=4),
    "warm-up to the last epoch": dict(images=40, optimizer="SGD", epochs=3, batch=4, warmup_epochs=9),
    "a fraction of an epoch": dict(images=50, optimizer="SGD", epochs=3, batch=5, warmup_epochs=0.33, nbs=30),
    "capped accumulation": dict(images=12, optimizer="SGD", epochs=2, batch=4, warmup_epochs=1),
    "large batch": dict(images=300, optimizer="SGD", epochs=4, batch=100, warmup_bias_lr=0.3),
    "adamw": dict(images=40, optimizer="AdamW", epochs=4, batch=8, momentum=0.8),
    "adam by another name": dict(images=20, optimizer="adam", epochs=2, batch=8),
    "rmsprop": dict(images=20, optimizer="RMSProp", epochs=3, batch=8),
    "musgd": dict(images=60, optimizer="MuSGD", epochs=4, batch=8),
    "auto, short": dict(images=60, optimizer="auto", epochs=4, batch=8),
    "auto, long": dict(images=40, optimizer="auto", epochs=5, batch=8, nbs=1, fake=2001),
}


@pytest.mark.parametrize("name", RUNS)
def test_every_batch(trainer_class, name, monkeypatch):
    run = dict(RUNS[name])
    if "fake" in run:  # more than 10,000 updates, without running them
        monkeypatch.setattr(trainer_class, "build_optimizer", _of_a_longer_run(trainer_class, run.pop("fake")))
        run["nbs"] = 8
    images = run.pop("images")
    trainer = trainer_class(images=images, classes=7, **run)
    trainer.train()
    recipe = ultralytics.recipe(
        run,
        steps_per_epoch=-(-images // run["batch"]),
        images=20_000 if name == "auto, long" else images,
        classes=7,
        boosted="head/**",
        outputs="first",
    )
    assert recipe.steps == len(trainer.seen)
    curves = js.curves(recipe)
    for i, group in enumerate(trainer.seen[0][0]):
        expected = np.asarray([groups[i][1:] for groups, _, _ in trainer.seen])
        ours = curves[group[0]]
        # float32 beside float64: a few roundings of 6e-8
        np.testing.assert_allclose(ours["lr"], expected[:, 0], rtol=5e-7, atol=1e-9)
        np.testing.assert_allclose(ours["momentum"], expected[:, 1], rtol=5e-7)
        np.testing.assert_allclose(ours["weight_decay"], expected[:, 2], rtol=5e-7)
    assert {g[0] for g in trainer.seen[0][0]} == set(curves)
    if recipe.accumulate is None:
        assert {every for _, every, _ in trainer.seen} == {1}
    else:
        every = np.broadcast_to(js.schedules.value_at(recipe.accumulate.every, np.arange(recipe.steps)), recipe.steps)
        np.testing.assert_array_equal(every, [every for _, every, _ in trainer.seen])
    np.testing.assert_array_equal(js.report.update_steps(recipe), [stepped for _, _, stepped in trainer.seen])


def _of_a_longer_run(trainer_class, iterations):
    build = trainer_class.build_optimizer

    def build_optimizer(self, *args, **kwargs):
        return build(self, *args, **{**kwargs, "iterations": 5 * iterations})

    return build_optimizer


def test_every_argument_is_known(trainer_class):
    from ultralytics.utils import DEFAULT_CFG_DICT

    recipe = ultralytics.recipe(dict(DEFAULT_CFG_DICT), steps_per_epoch=10, images=160, classes=1)
    for name, value in ultralytics.DEFAULTS.items():
        assert DEFAULT_CFG_DICT[name] == value, name
    assert "close_mosaic" in str(recipe.notes)
