"""Settings inside archives: ``training_args.bin`` and ``.keras``, read without executing anything."""

import dataclasses
import enum
import io
import json
import os
import pickle
import zipfile

import pytest

import jaxsched as js
from jaxsched.ports import shared


class SchedulerType(enum.Enum):
    COSINE = "cosine"


class Device:
    def __reduce__(self):
        return Device, ("cuda", 0)


@dataclasses.dataclass
class TrainingArguments:
    learning_rate: float = 1e-3
    lr_scheduler_type: SchedulerType = SchedulerType.COSINE
    num_train_epochs: float = 2
    per_device_train_batch_size: int = 4
    weight_decay: float = 0.1
    warmup_steps: int = 0
    lr_scheduler_kwargs: dict = dataclasses.field(default_factory=lambda: {"num_cycles": 0.5})
    device: Device = dataclasses.field(default_factory=Device)
    _n_gpu: int = 1


def archive(path, name, content):
    with zipfile.ZipFile(path, "w") as members:
        members.writestr(name, content)
    return path


def saved(path, value):
    return archive(path, "training_args/data.pkl", pickle.dumps(value, protocol=2))


def test_training_arguments_as_torch_saves_them(tmp_path):
    file = shared.File.read(saved(tmp_path / "training_args.bin", TrainingArguments()))
    assert file.content == {
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "weight_decay": 0.1,
        "warmup_steps": 0,
        "lr_scheduler_kwargs": {"num_cycles": 0.5},
        "device": None,
    }
    recipe = js.ports.huggingface.recipe(tmp_path / "training_args.bin", steps_per_epoch=10)
    written = {k: v for k, v in file.content.items() if v is not None}
    assert recipe.replace(origin={}) == js.ports.huggingface.recipe(written, steps_per_epoch=10).replace(origin={})


def test_a_keras_model(tmp_path):
    content = {"module": "keras", "class_name": "Sequential", "compile_config": {"optimizer": {"class_name": "SGD"}}}
    path = archive(tmp_path / "model.keras", "config.json", json.dumps(content))
    assert js.ports.keras.recipe(path).optimizer == "sgd"


class Executes:
    def __reduce__(self):
        return os.mkdir, (f"{os.environ['EXECUTED']}",)


def test_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.setenv("EXECUTED", str(tmp_path / "executed"))
    path = saved(tmp_path / "training_args.bin", {"learning_rate": 0.1, "optim": Executes()})
    assert shared.File.read(path).content["learning_rate"] == 0.1
    assert not (tmp_path / "executed").exists()


def many_times():
    text = "x" * 100_000
    return {f"name{i}": [text] * 100 for i in range(100)}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (many_times(), "its settings are too large"),
        ({"learning_rate": 10**5000}, "Exceeds the limit"),
        ([0.1], "archive without readable settings"),
    ],
)
def test_hostile_pickles(value, said, tmp_path):
    with pytest.raises(ValueError, match=said) as error:
        shared.File.read(saved(tmp_path / "training_args.bin", value))
    assert "training_args.bin: " in str(error.value)
    assert len(str(error.value)) < 500


def test_hostile_archives(tmp_path):
    whole = saved(tmp_path / "whole.bin", TrainingArguments()).read_bytes()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("config.json", b" " * 100 * 2**20)
    for name, content, said in [
        ("cut.bin", whole[: len(whole) // 2], "missing or too large"),
        ("other.bin", whole.replace(b"data.pkl", b"data.xyz"), "neither a data.pkl"),
        ("bomb.keras", stream.getvalue(), "config.json has more than 1048576 bytes"),
        ("damaged.bin", whole.replace(b"learning_rate", b"\xff" * 13), "archive without readable settings"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=said):
            shared.File.read(tmp_path / name)
