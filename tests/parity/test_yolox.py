"""YOLOX, live: its schedules, its Exp files executed beside ours read, its groups and its average."""

import importlib
import importlib.util
import itertools
import math
import sys
import types

import fetch_zoo as zoo
import jax
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import yolox

torch = pytest.importorskip("torch")

SOURCES = zoo.ZOO / "yolox"
NB = 6


@pytest.fixture(scope="module")
def original():
    """YOLOX's schedules and experiments, without its models, data and operators."""
    if not SOURCES.is_dir():
        pytest.skip("run `python tests/parity/fetch_zoo.py` first")
    schedules = zoo.load(SOURCES / "yolox/utils/lr_scheduler.py")
    package, utils = types.ModuleType("yolox"), types.ModuleType("yolox.utils")
    package.__path__, utils.LRScheduler = [str(SOURCES / "yolox")], schedules.LRScheduler
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "yolox", package)
        patch.setitem(sys.modules, "yolox.utils", utils)
        importlib.import_module("yolox.exp.yolox_base")
        yield schedules
        for name in [name for name in sys.modules if name.startswith("yolox.exp")]:
            del sys.modules[name]


STEPS = 60
"""Arrays of one length only, so that jax compiles each operation once for all tests."""


def compare(theirs, ours):
    expected = np.asarray([theirs(step) for step in range(1, STEPS)])
    for double in (False, True):
        with jax.enable_x64(double):
            mine = np.asarray(ours(np.arange(STEPS)), np.float64)[1:]  # YOLOX does not ask for step 0
            np.testing.assert_allclose(mine, expected, rtol=0, atol=(1e-14 if double else 1e-6) * expected.max())


CASES = [
    ("yoloxwarmcos", dict(warmup_epochs=2, no_aug_epochs=3, min_lr_ratio=0.05, warmup_lr_start=0.01)),
    ("yoloxwarmcos", dict(warmup_epochs=0, no_aug_epochs=0)),
    ("yoloxwarmcos", dict(warmup_epochs=1.5, no_aug_epochs=1)),
    ("yoloxwarmcos", dict(warmup_epochs=5, no_aug_epochs=9)),
    ("yoloxwarmcos", dict(warmup_epochs=0, no_aug_epochs=12)),
    ("warmcos", dict(warmup_epochs=2)),
    ("warmcos", dict(warmup_epochs=3, warmup_lr_start=0.2, no_aug_epochs=2)),
    ("cos", dict()),
    ("multistep", dict(milestones=[7, 3, 3, 9.5], gamma=0.3)),
    ("multistep", dict(milestones=[])),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_each_schedule(case, original):
    name, kwargs = case
    theirs = original.LRScheduler(name, 0.1, NB, 10, **kwargs)
    compare(theirs.update_lr, yolox.LRScheduler(name, 0.1, NB, 10, **kwargs))


def test_many_lengths(original):
    for warm, free, epochs in itertools.product((0, 1, 4), (0, 2, 6), (5, 8)):
        kwargs = dict(warmup_epochs=warm, no_aug_epochs=free, min_lr_ratio=0.05)
        theirs = original.LRScheduler("yoloxwarmcos", 0.1, NB, epochs, **kwargs)
        compare(theirs.update_lr, yolox.LRScheduler("yoloxwarmcos", 0.1, NB, epochs, **kwargs))


OWN = """
import os
from yolox.exp import Exp as MyExp

BASE = 0.02


class Small(MyExp):
    def __init__(self):
        super(Small, self).__init__()
        self.depth, self.width = 0.33, 0.5
        self.max_epoch = 12
        self.warmup_epochs = 1


class Exp(Small):
    def __init__(self, factor=2):
        super().__init__()
        divisor = 32.0
        self.basic_lr_per_img = BASE / divisor * factor
        self.no_aug_epochs = self.max_epoch // 4
        self.warmup_lr = -(-1e-6)
        self.exp_name = os.path.split(os.path.realpath(__file__))[1].split(".")[0]
        if self.depth > 1:
            self.train_ann = "other.json"
        self.ema = False
        self.weight_decay: float = 1e-3
"""
STAIRS = '''
from yolox.exp import Exp as MyExp


class Exp(MyExp):
    def __init__(self):
        super().__init__()
        self.max_epoch = 10
        self.scheduler = "multistep"
        self.milestones = [4, 8]

    def get_lr_scheduler(self, lr, iters_per_epoch):
        """By stairs."""
        from yolox.utils import LRScheduler

        scheduler = LRScheduler(
            self.scheduler, lr, iters_per_epoch, self.max_epoch, milestones=self.milestones, gamma=0.5
        )
        return scheduler
'''


def files(folder):
    found = [path for path in sorted((SOURCES / "exps/default").glob("*.py")) if path.name != "__init__.py"]
    for name, text in {"own.py": OWN, "stairs.py": STAIRS}.items():
        (folder / name).write_text(text)
        found.append(folder / name)
    return found


def test_experiments(original, tmp_path):
    """Each file is executed, and read: the same values, lr at each iteration, groups and momentum."""
    for path in files(tmp_path):
        spec = importlib.util.spec_from_file_location(f"exp_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        exp = module.Exp()
        recipe = yolox.recipe(path, batch_size=16, steps_per_epoch=NB)
        exp.model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1))
        optimizer = exp.get_optimizer(16)
        theirs = exp.get_lr_scheduler(exp.basic_lr_per_img * 16, NB)
        assert recipe.steps == exp.max_epoch * NB
        curves = js.curves(recipe)
        steps = np.r_[1 : min(recipe.steps, 400), recipe.steps - 1]
        expected = [theirs.update_lr(step) for step in steps]
        np.testing.assert_allclose(curves["weight"]["lr"][steps], expected, rtol=0, atol=1e-6 * max(expected))
        assert curves["weight"]["lr"][0] == np.float32(optimizer.param_groups[0]["lr"])
        norm, weight, bias = optimizer.param_groups
        for name, group in {"norm": norm, "weight": weight, "bias": bias}.items():
            ours = recipe.by_group()[name]
            assert [ours[key] for key in ("momentum", "nesterov", "weight_decay")] == [
                group[key] for key in ("momentum", "nesterov", "weight_decay")
            ]
        assert (recipe.ema is not None) == exp.ema


def test_the_average_of_the_trainer(original):
    module = zoo.load(SOURCES / "yolox/utils/ema.py")
    assert "ModelEMA(model, 0.9998)" in (SOURCES / "yolox/core/trainer.py").read_text()
    ema = module.ModelEMA(torch.nn.Linear(1, 1), 0.9998)
    ours = yolox.recipe({}, batch_size=1, steps_per_epoch=1).ema
    for update in (1, 2, 100, 5000):
        # the decay of the first updates is small, and 1 - exp loses its digits in float64: 1e-13 of 5e-4
        np.testing.assert_allclose(float(ours(update - 1)), ema.decay(update), rtol=1e-6)
        assert math.isclose(ema.decay(update), 0.9998 * -math.expm1(-update / 2000), rel_tol=1e-10)


def test_the_defaults(original):
    exp = importlib.import_module("yolox.exp.yolox_base").Exp()
    for name, value in yolox.DEFAULTS.items():
        assert getattr(exp, name) == value, name
