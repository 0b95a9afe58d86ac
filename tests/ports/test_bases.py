"""Files that are based on others, in every port that has such: where the others may lie, of what kind, how many."""

import os

import pytest

from jaxsched.ports import detectron2, openmmlab, paddledetection, rtdetr

PORTS = {
    "detectron2": ("yaml", "_BASE_: {}\n", "SOLVER: {BASE_LR: 0.1}\n", "# {}\n", detectron2.recipe),
    "paddledetection": (
        "yml",
        "_BASE_: {}\n",
        "epoch: 2\nLearningRate: {base_lr: 0.1}\n",
        "# {}\n",
        lambda path: paddledetection.recipe(path, steps_per_epoch=10),
    ),
    "rtdetr": (
        "yml",
        "__include__: ['{}']\n",
        "epoches: 2\noptimizer: {type: SGD, lr: 0.1}\nlr_scheduler: {type: MultiStepLR, milestones: [1]}\n",
        "# {}\n",
        lambda path: rtdetr.recipe(path, steps_per_epoch=10),
    ),
    "openmmlab": (
        "py",
        "_base_ = '{}'\n",
        "optimizer = dict(type='SGD', lr=0.1)\nrunner = dict(type='EpochBasedRunner', max_epochs=2)\n",
        "# {}\n",
        lambda path: openmmlab.read(path, steps_per_epoch=10),
    ),
}


@pytest.fixture(params=PORTS)
def port(request, tmp_path):
    """A folder, what the names in it end in, and functions that write and read there."""
    ending, base, whole, filler, read = PORTS[request.param]
    inside = tmp_path / "work" / "recipes"  # the folder above its own is open to a config of Detectron2
    inside.mkdir(parents=True)

    class Port:
        folder = inside

        @staticmethod
        def write(name, *bases, size=0):
            text = "".join(base.format(b if "." in b else f"{b}.{ending}") for b in bases) or whole
            if len(bases) > 1:
                names = [f"{b}.{ending}" for b in bases]
                text = base.replace("['{}']", "{}").replace("'{}'", "{}").format(names)
            (inside / f"{name}.{ending}").write_text(text + filler.format("x" * size), encoding="utf-8")

        @staticmethod
        def path(name):
            return inside / f"{name}.{ending}"

        @staticmethod
        def fails(message):
            with pytest.raises((OSError, ValueError), match=message) as error:
                read(inside / f"a.{ending}")
            assert "\n" not in str(error.value)
            assert len(str(error.value)) < 600

        @staticmethod
        def reads():
            return read(inside / f"a.{ending}")

    return Port


def test_a_base_is_read(port):
    port.write("a", "b")
    port.write("b")
    assert port.reads().hyperparameters["lr"] is not None


def test_a_base_that_is_no_regular_file(port):
    port.write("a", "b")
    os.mkfifo(port.path("b"))
    port.fails("regular file")
    port.path("b").unlink()
    port.path("b").mkdir()
    port.fails("folder")
    port.path("b").rmdir()
    port.path("b").symlink_to("/dev/zero")
    port.fails("outside|regular file")
    port.path("b").unlink()
    port.fails("b\\.|No such file|not found")


def test_a_base_outside_of_the_folder(port, tmp_path):
    ending = port.path("a").suffix
    (tmp_path / f"outside{ending}").write_text("x = 1\n" if ending == ".py" else "x: 1\n")
    for name in (f"../../outside{ending}", f"/etc/passwd{ending}", f"../../../../../../etc/hosts{ending}"):
        port.write("a", name)
        port.fails("outside")
    port.path("b").symlink_to(tmp_path / f"outside{ending}")
    port.write("a", "b")
    port.fails("outside")


def test_a_file_that_is_based_on_itself(port):
    port.write("a", "b")
    port.write("b", "c")
    port.write("c", "a")
    port.fails("itself")


def test_how_many_and_how_large(port):
    port.write("a", "0")
    for i in range(250):
        port.write(str(i), str(i + 1))
    port.fails("more than 200 files")
    for i in range(31):  # each twice: 2**31 readings, if each were followed
        port.write(str(i), str(i + 1), str(i + 1))
    port.write("31")
    port.fails("more than 200 files|more than one base")
    port.write("0", size=2**20)
    port.fails("bytes")
    port.write("0", "1", size=400_000)
    for i in range(1, 8):
        port.write(str(i), str(i + 1), size=400_000)
    port.write("8")
    port.fails("bytes")


def test_a_name_that_is_no_path(port):
    ending = port.path("a").suffix
    for name in (f"~nosuchuser/b{ending}", f"{'x' * 300}{ending}", f"https://example.org/a{ending}"):
        port.write("a", name)
        port.fails("based on|must|not a path|not exist|No such file|File name too long|outside|not found|missing")
