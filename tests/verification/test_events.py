"""Event files of TensorBoard: one that its own writer made, and ones built byte by byte, whole and damaged."""

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import jaxsched as js
from jaxsched.cli._app import app
from jaxsched.verification import read_log

RECORDED = Path(__file__).parents[1] / "recorded" / "events.out.tfevents.recorded"


def crc(content):
    """The masked CRC-32C, bit by bit."""
    value = 0xFFFFFFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 * (value & 1))
    value ^= 0xFFFFFFFF
    return struct.pack("<I", (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def record(content):
    length = struct.pack("<Q", len(content))
    return length + crc(length) + content + crc(content)


def field(number, content):
    return bytes([number << 3 | 2, len(content)]) + content


def event(step, tag, value, tensor=False):
    number = struct.pack("<f", value)
    value = field(8, bytes([8, 1]) + field(4, number)) if tensor else bytes([2 << 3 | 5]) + number
    varint = bytes([step & 127 | 128, step >> 7])
    return record(
        bytes([1 << 3 | 1])
        + struct.pack("<d", 1e9)
        + bytes([2 << 3])
        + varint
        + field(5, field(1, field(1, tag.encode()) + value))
    )


RECIPE = js.Recipe("sgd", dict(lr=js.cosine(0.1, 200)), steps=200, steps_per_epoch=20)
LR = np.asarray(js.curves(RECIPE)["weight"]["lr"])


def write(path, pieces):
    path.write_bytes(b"".join([record(b"\x1a\x0dbrain.Event:2"), *pieces]))
    return path


def test_what_its_own_writer_wrote():
    """Recorded with tensorboard 2.21.0: beside the rates a loss, a text and a histogram."""
    log = read_log(RECORDED)
    assert list(log.columns) == ["x/lr0", "x/lr1"]
    assert log.step.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose([float(v) for v in log.columns["x/lr0"]], 0.1 - 0.01 * np.arange(5), rtol=1e-7)
    assert log.said == ()


@pytest.mark.parametrize("tensor", [False, True])
def test_a_run_by_its_steps(tmp_path, tensor):
    pieces = [event(step, "train/lr", LR[step], tensor) for step in range(0, 200, 10)]
    verdict = js.verify(RECIPE, write(tmp_path / "events", pieces))
    assert verdict.ok, verdict
    assert verdict.rows == 20


def test_a_run_of_the_object_detection_api_with_its_float32_cosine(tmp_path):
    """TensorFlow 2 computes ``1 + cos`` in float32, off by 1e-7 of the peak, which is much near the end."""
    cosine = "cosine_decay_learning_rate { learning_rate_base: 0.08 total_steps: 1000 warmup_steps: 0 }"
    optimizer = f"momentum_optimizer {{ learning_rate {{ {cosine} }} }}"
    (tmp_path / "pipeline.config").write_text(f"train_config {{ num_steps: 1000 optimizer {{ {optimizer} }} }}")
    (tmp_path / "train").mkdir()
    lr = np.asarray(js.cosine(0.08, 1000)(np.arange(0, 1000, 50))) + 0.08 * 1e-7
    pieces = [event(50 * i, "learning_rate", x, tensor=True) for i, x in enumerate(lr)]
    path = write(tmp_path / "train" / "events.out.tfevents.1.host.2.3.v2", pieces)
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert "20 of 20 rows reproduced" in result.stdout
    path.rename(path.with_suffix(""))  # a file of another writer
    assert "20 of 20 rows reproduced" not in CliRunner().invoke(app, ["verify", str(tmp_path)]).stdout


def test_keras_counts_epochs(tmp_path):
    recipe = js.Recipe("sgd", dict(lr=js.per_epoch(js.cosine(0.1, 10), 20)), steps=200, steps_per_epoch=20)
    lr = np.asarray(js.curves(recipe)["weight"]["lr"])
    path = write(tmp_path / "events", [event(e, "epoch_learning_rate", lr[20 * e], True) for e in range(10)])
    assert js.verify(recipe, path).ok


def test_damage_is_said(tmp_path):
    pieces = [event(step, "lr", LR[step]) for step in range(50)]
    pieces[20] = pieces[20][:-6] + bytes([pieces[20][-6] ^ 1]) + pieces[20][-5:]
    log = read_log(write(tmp_path / "a", [*pieces, pieces[7][:25]]))
    assert log.rows == 49
    assert log.said == ("record 21 is damaged and passed over", "the file is cut off after 51 records")
    broken = b"".join(pieces[:10]) + b"x" * 40 + b"".join(pieces[10:])
    assert read_log(write(tmp_path / "b", [broken])).said == ("the file is damaged or cut off after 11 records",)
    huge = record(b"")[:12]
    (tmp_path / "c").write_bytes(struct.pack("<Q", 2**60) + crc(struct.pack("<Q", 2**60)) + huge)
    with pytest.raises(ValueError, match="no column has a learning rate"):
        read_log(tmp_path / "c")


@pytest.mark.parametrize("seed", range(30))
def test_no_damage_raises_anything_else(tmp_path, seed):
    random = np.random.default_rng(seed)
    content = bytearray(b"".join(event(step, "lr", LR[step]) for step in range(20)))
    for _ in range(random.integers(1, 6)):
        at = int(random.integers(12, len(content)))
        content[at] = int(random.integers(256))
    (tmp_path / "a").write_bytes(content)
    with contextlib.suppress(ValueError):
        assert read_log(tmp_path / "a").rows <= 20


def test_a_yolo_run_with_nothing_but_an_event_file(tmp_path):
    """Its step is the epoch, which the file does not say."""
    args = dict(task="detect", mode="train", epochs=9, batch=16, optimizer="SGD", lr0=0.01, lrf=0.01)
    (tmp_path / "args.yaml").write_text("\n".join(f"{name}: {value}" for name, value in args.items()))
    recipe = js.ports.ultralytics.recipe(args, steps_per_epoch=40, version="8.3.0")
    lr = js.curves(recipe, np.arange(39, 360, 40))["weight"]["lr"]
    write(tmp_path / "events.out.tfevents.1.host", [event(e, "lr/pg0", x) for e, x in enumerate(lr, 1)])
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "9 of 9 epochs reproduced" in result.stdout
