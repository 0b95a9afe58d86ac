"""Ultralytics' loop on a tiny model: what it does at each batch. As a command, that of each release, as JSON.

    python tests/parity/ultralytics_loop.py FOLDER_OF_WHEELS RUNS_AS_JSON

Each wheel is unpacked and imported by itself; nothing is installed. The loop and the optimizer are the release's own;
the data, the model and what is done with results are stubs.
"""

import contextlib
import importlib
import importlib.machinery
import json
import os
import sys
import tempfile
import traceback
import types
import unittest.mock
import zipfile
from pathlib import Path

import packaging.version
import torch

UNUSED = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional", "cpuinfo", "pandas", "seaborn")
UNUSED += ("hub_sdk", "hub_sdk.config", "thop", "torchvision.ops", "torchvision.ops.boxes")
"""What older releases import, and the loop does not use."""

CLASSES = 7


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

    def forward(self, x):
        return self.cv2(x).mean() + self.cv3(x).mean()


class Tiny(torch.nn.Module):
    def __init__(self, dict_of_losses):
        super().__init__()
        self.nc, self.yaml, self.args, self.criterion = CLASSES, {}, None, None  # what the trainer looks for
        self.model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2), Head())
        self.stride, self.names = torch.tensor([1]), {0: "a"}
        self.dict_of_losses = dict_of_losses

    def forward(self, batch):
        if isinstance(batch, torch.Tensor):  # up to 8.0.112 the loss is the trainer's
            return self.model(batch)
        loss = self.model(batch["img"])
        items = {"loss": loss.detach()} if self.dict_of_losses else torch.zeros(1)
        return loss, items


def trainer_class(folder):
    """The trainer of the release that is imported: its loop and its optimizer."""
    version = tuple(int(part) for part in importlib.import_module("ultralytics").__version__.split("."))
    place = "engine" if version >= (8, 0, 136) else "yolo.engine"
    module = importlib.import_module(f"ultralytics.{place}.trainer")
    for check in ("check_det_dataset", "check_cls_dataset"):
        if hasattr(module, check):
            setattr(module, check, lambda *_, **__: {"train": "", "val": "", "nc": CLASSES, "names": {0: "a"}})

    class Trainer(module.BaseTrainer):
        loss_names = ("loss",)

        def __init__(self, images, **args):
            self.images, self.seen, self.stepped = images, [], False
            given = {"model": "tiny.yaml", "data": "none", "device": "cpu", "project": str(folder), "workers": 0}
            super().__init__(overrides={**given, "plots": False, "val": False, "save": False, "amp": False, **args})
            self.add_callback("on_train_batch_start", lambda trainer: setattr(trainer, "stepped", False))
            self.add_callback("on_train_batch_end", lambda trainer: trainer.look())

        def look(self):
            groups = self.optimizer.param_groups
            seen = []
            for i, g in enumerate(groups):
                boosted = "_boosted" if len(groups) == 8 and i % 2 == 0 else ""
                momentum = g["momentum"] if "momentum" in g else g["betas"][0]
                seen.append((self.name_of(g) + boosted, float(g["lr"]), float(momentum), float(g["weight_decay"])))
            self.seen.append((seen, int(self.accumulate), self.stepped))

        def name_of(self, group):
            if "param_group" in group:
                return group["param_group"]
            bias = self.model.model[0].bias
            return "weight" if group["weight_decay"] else "bias" if any(p is bias for p in group["params"]) else "bn"

        def optimizer_step(self):
            self.stepped = True
            super().optimizer_step()

        def get_dataset(self, *_):
            self.data = {"train": "", "val": "", "nc": CLASSES, "names": {0: "a"}}
            return self.data if version >= (8, 3, 200) else ("", "")

        def setup_model(self):
            self.model = Tiny(dict_of_losses=version >= (8, 4, 150))

        def get_dataloader(self, path, batch_size=16, rank=0, mode="train"):
            return Loader(self.images, batch_size)

        def get_validator(self):
            return types.SimpleNamespace(metrics=types.SimpleNamespace(keys=[]), dataloader=None)

        def label_loss_items(self, loss_items=None, prefix="train"):
            return [] if loss_items is None else {}

        def preprocess_batch(self, batch):
            return batch

        def criterion(self, outputs, batch):
            return outputs.mean(), torch.zeros(1)

        def validate(self):
            return {}, 0.0

        def save_metrics(self, metrics):
            pass

        def save_model(self):
            return False

        def final_eval(self):
            pass

        def plot_training_labels(self):
            pass

    return Trainer


def run(images, folder, args):
    trainer = trainer_class(folder)(images, **args)
    trainer.train()
    return trainer.seen


def main(wheels, runs):
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    os.environ["YOLO_CONFIG_DIR"] = str(folder)
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_VERBOSE"] = "false"
    for name in UNUSED:
        sys.modules[name] = unittest.mock.MagicMock(
            __version__="0.28.0", __path__=[], __spec__=importlib.machinery.ModuleSpec(name, None)
        )
    sys.modules["cpuinfo"].get_cpu_info.return_value = {"brand_raw": "a CPU"}
    sys.modules["pkg_resources"] = unittest.mock.MagicMock(parse_version=packaging.version.parse)
    found = {}
    for wheel in sorted(Path(wheels).glob("**/ultralytics-*.whl")):
        release = wheel.name.split("-")[1]
        place = folder / release
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
        for name in [name for name in sys.modules if name.split(".")[0] == "ultralytics"]:
            del sys.modules[name]
        sys.path.insert(0, str(place))
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found[release] = [run(images, folder, args) for images, args in runs]
        except Exception as error:
            found[release] = "".join(traceback.format_exception(error)[-3:])
        sys.path.pop(0)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
