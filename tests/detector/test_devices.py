"""One device, eight of them, or two processes: the same losses."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from examples.detector.pictures import read_log
from examples.detector.scenes import scenes

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("devices_script.py")
# Programs that run for a second are compiled without care: half the time of these tests.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "--xla_backend_optimization_level=0"}


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments], cwd=ROOT, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def result(process):
    out, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def one():
    return result(start("1"))["whole"]["losses"]


# Sums over the batch are split eight ways, so the last bits differ; nearly every early step is clipped, and each
# then multiplies the difference (golden/yolov5: 3e-4 within eight steps of two correct float32 runs).
RTOL = 1e-4


@pytest.mark.slow
def test_eight_devices_give_the_losses_of_one(one):
    found = result(start("8", "more"))
    assert found["whole"]["devices"] == 8
    np.testing.assert_allclose(found["whole"]["losses"], one, rtol=RTOL)
    assert found["whole"]["split"] == 0
    np.testing.assert_allclose(found["spread"]["losses"], one, rtol=RTOL)
    assert found["spread"]["split"] == 9  # momentum, gathered gradients and averages of three groups
    # Batch norm over two images at a time is another run, but of the same kind.
    other = np.array(found["parts"]["losses"])
    assert np.isfinite(other).all()
    assert abs(other / one - 1).max() > 1e-3


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.slow
def test_two_processes_of_the_command_line_are_one_run(tmp_path):
    scenes(tmp_path / "scenes", {"train": 24, "val": 4})
    common = ["--data", tmp_path / "scenes", "--width", "0.125", "--image-size", "64", "--batch-size", "8",
              "--epochs", "2", "--compilation-cache", "None"]  # fmt: skip

    def command(*more):
        words = [sys.executable, "-m", "examples.detector.train", *map(str, (*common, *more))]
        return subprocess.Popen(
            words, cwd=ROOT, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    cluster = ["--distributed", "--coordinator", free_address(), "--processes", 2]
    both = [command("--out", tmp_path / "two", *cluster, "--process", k) for k in range(2)]
    for process in (*both, command("--out", tmp_path / "one")):
        errors = process.communicate(timeout=400)[1]
        assert process.returncode == 0, errors[-3000:]
    one, two = (read_log(tmp_path / out / "log.csv")["loss"] for out in ("one", "two"))
    assert len(one) == len(two) == 6
    np.testing.assert_allclose(two, one, rtol=RTOL)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(one):
    address = free_address()
    processes = [start("processes", address, str(index)) for index in range(2)]
    for found in map(result, processes):
        assert found["whole"]["devices"] == 2
        np.testing.assert_allclose(found["whole"]["losses"], one, rtol=RTOL)
