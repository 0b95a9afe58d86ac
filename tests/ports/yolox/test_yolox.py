"""Exp files: what is read of them, and what is refused. The schedules are compared with YOLOX's in tests/parity."""

import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import yolox

HEAD = "import os\nfrom yolox.exp import Exp as MyExp\n"
EXP = f"""{HEAD}

class Exp(MyExp):
    def __init__(self):
        super(Exp, self).__init__()
        self.num_classes = 3
        self.max_epoch = 5
        self.warmup_epochs = 1
        self.no_aug_epochs = 2
        self.basic_lr_per_img = 1.0 / 8
        self.min_lr_ratio = 0.5
        self.data_dir = os.environ["DATA"]

    def get_model(self):
        return build(self.num_classes)
"""


@pytest.fixture
def read(tmp_path):
    def read(text, **options):
        path = tmp_path / "exp.py"
        path.write_text(text)
        return yolox.recipe(path, **{"batch_size": 8, "steps_per_epoch": 2, **options})

    return read


def test_worked_by_hand(read):
    recipe = read(EXP)
    curves = js.curves(recipe)
    np.testing.assert_allclose(curves["weight"]["lr"], [0, 0.25, 1, 0.926777, 0.75, 0.573223, 0.5, 0.5, 0.5, 0.5], 1e-6)
    assert {name: values["weight_decay"] for name, values in recipe.by_group().items()} == {
        "weight": 5e-4,
        "norm": 0.0,
        "bias": 0.0,
    }
    assert recipe.by_group()["bias"]["nesterov"]
    np.testing.assert_allclose(float(recipe.ema(0)), 0.9998 * -np.expm1(-1 / 2000), rtol=1e-6)
    assert recipe.notes[1:] == ("not part of a recipe: num_classes, data_dir",)
    assert js.Recipe.from_json(recipe.to_json()) == recipe
    recipe.build()
    values = dict(max_epoch=5, warmup_epochs=1, no_aug_epochs=2, basic_lr_per_img=1 / 8, min_lr_ratio=0.5)
    assert not js.diff(recipe, yolox.recipe(values, batch_size=8, steps_per_epoch=2))


def test_length_from_images(read):
    assert read(EXP, steps_per_epoch=None, images=17).steps_per_epoch == 3
    assert read(EXP, steps_per_epoch=None, images=17, world_size=2).steps_per_epoch == 2  # 8 images each, by 4
    assert read(EXP.replace("self.max_epoch = 5", "self.ema = False")).ema is None


def test_the_first_step_has_the_lr_of_the_optimizer(read):
    recipe = read(EXP.replace("self.num_classes = 3", 'self.scheduler = "cos"'))
    np.testing.assert_allclose(js.curves(recipe, [0, 1])["norm"]["lr"], [0.0, 0.5 * (1 + np.cos(np.pi / 10))], 1e-6)


INHERITED = EXP.replace("class Exp(MyExp)", "class Base(MyExp)").replace("super(Exp, self)", "super()")


@pytest.mark.parametrize(
    ("body", "peak"),
    [
        ("super().__init__()\n        self.basic_lr_per_img = self.basic_lr_per_img * 2", 2.0),
        ("super().__init__()\n        n = 4\n        self.basic_lr_per_img = n / 8", 4.0),
        ("super().__init__()\n        a = self.basic_lr_per_img = FACTOR / 8", 3.0),
        ("Base.__init__(self)\n        self.basic_lr_per_img = (lr or 1)\n        self.basic_lr_per_img = lr", 8.0),
        (
            "super().__init__()\n        if self.depth:\n            self.width = 1\n        self.x = f(self.depth)",
            1.0,
        ),
    ],
)
def test_what_is_followed(body, peak, read):
    text = f"{INHERITED}\nFACTOR = 3.0\n\n\nclass Exp(Base):\n    def __init__(self, lr=1.0):\n        {body}\n"
    np.testing.assert_allclose(js.curves(read(text), [2])["weight"]["lr"], [peak], rtol=1e-6)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "self.max_epoch = int(os.environ['E'])",
            r"exp.py:14: max_epoch is `int\(os.environ\['E'\]\)`, which is not known",
        ),
        ("if os.environ:\n            self.max_epoch = 3", r"max_epoch is `self.max_epoch`"),
        ("for self.max_epoch in range(3): pass", "max_epoch is"),
        ("self.max_epoch += 1", "max_epoch is"),
        ("self.max_epoch, self.ema = 3, False", "max_epoch is|ema is"),
        ("self.change()", "max_epoch is"),
        ("setattr(self, 'max_epoch', 3)", "may set anything"),
        ("self.__dict__.update(max_epoch=3)", "may set anything"),
        ("self.max_epoch = 10 ** 10 ** 10", "max_epoch is"),
        ("self.max_epoch = 0", "max_epoch must be a whole number >= 1"),
        ("self.momentum = 1.5", "momentum must be in"),
        ("self.ema = 'yes'", "ema must be true or false"),
        ("self.scheduler = 'yoloxsemiwarmcos'", "name must be one of yoloxwarmcos, warmcos, cos, multistep"),
        ("self.scheduler = 'multistep'", "'milestones' missing"),
        ("self.warmup_epochs = 0.3", "warmup_epochs x iters_per_epoch must be a whole number"),
        ("self.max_epochs = 3", "did you mean 'max_epoch'"),
        ("self.head_lr = 3", "'head_lr' is not known, and its name says"),
    ],
)
def test_what_is_not_known_or_wrong(line, message, read):
    change = "\n    def change(self):\n        self.max_epoch = 3\n"
    with_line = EXP.replace('self.data_dir = os.environ["DATA"]', line) + change
    if "did you mean" in message:
        assert any("did you mean 'max_epoch'" in note for note in read(with_line).notes)
        return
    with pytest.raises((ValueError, TypeError), match=message):
        read(with_line)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Exp(", "exp.py:1: it is not Python"),
        ("x = 1", "has no class Exp"),
        (EXP.replace("from yolox.exp import", "from my.exp import"), "derived from my.exp.Exp, whose settings are not"),
        ("class Exp(Exp):\n    pass", "derived from Exp, whose settings are not"),
        (EXP.replace("        super(Exp, self).__init__()\n", ""), r"does not call super\(\).__init__\(\); add it"),
        (
            EXP.replace("        super(", "        self.max_epoch = 3\n        super("),
            r"is assigned before super\(\).__init__\(\)",
        ),
        (EXP + "\n    def get_optimizer(self, batch_size):\n        return 3\n", "get_optimizer is the file's own"),
        (EXP + "\n    def get_lr_scheduler(self, lr, n):\n        return f(lr)\n", "more than a call of LRScheduler"),
        (
            EXP + "\n    def get_lr_scheduler(self, lr, n):\n        return LRScheduler('cos', lr / 2, n, 5)\n",
            "passes another lr than its own",
        ),
        (
            EXP + "\n    def get_lr_scheduler(self, lr, n):\n        return LRScheduler(NAME, lr, n, 5)\n",
            "name is `NAME`, which is not known",
        ),
    ],
)
def test_files_that_are_refused(text, message, read):
    with pytest.raises(ValueError, match=message):
        read(text)


def test_a_class_attribute_is_said_to_have_no_effect(read):
    recipe = read(EXP.replace("class Exp(MyExp):", "class Exp(MyExp):\n    momentum = 0.5\n    names = ()"))
    assert recipe.by_group()["weight"]["momentum"] == 0.9
    assert any("momentum of the class has no effect" in note for note in recipe.notes)


def test_options():
    for options in (dict(batch_size=0), dict(batch_size=1.5), dict(batch_size=8, world_size=0)):
        with pytest.raises(ValueError, match="must be a whole number"):
            yolox.recipe({}, steps_per_epoch=3, **options)
    with pytest.raises(ValueError, match=r"give steps_per_epoch=\.\.\. or images=\.\.\."):
        yolox.recipe({}, batch_size=8)
    with pytest.raises(TypeError, match="path to an Exp file"):
        yolox.recipe(3, batch_size=8)
