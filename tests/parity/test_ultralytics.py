"""Ultralytics' own training loop, run on a tiny model: lr, momentum, decay, accumulation and updates at each batch."""

import importlib.util
import os

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
    from ultralytics_loop import trainer_class as of

    return of(folder)


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
    trainer = trainer_class(images, **run)
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
