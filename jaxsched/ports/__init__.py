"""Recipes of other systems, read into a `Recipe`; each under its own names, and imported when it is first used."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxsched.ports import big_vision as big_vision
    from jaxsched.ports import darknet as darknet
    from jaxsched.ports import deepspeed as deepspeed
    from jaxsched.ports import detectron2 as detectron2
    from jaxsched.ports import detr as detr
    from jaxsched.ports import huggingface as huggingface
    from jaxsched.ports import keras as keras
    from jaxsched.ports import modelgarden as modelgarden
    from jaxsched.ports import openmmlab as openmmlab
    from jaxsched.ports import paddledetection as paddledetection
    from jaxsched.ports import pycls as pycls
    from jaxsched.ports import rfdetr as rfdetr
    from jaxsched.ports import rtdetr as rtdetr
    from jaxsched.ports import scenic as scenic
    from jaxsched.ports import shared
    from jaxsched.ports import swin as swin
    from jaxsched.ports import tfod as tfod
    from jaxsched.ports import timm as timm
    from jaxsched.ports import torch as torch
    from jaxsched.ports import torchvision as torchvision
    from jaxsched.ports import ultralytics as ultralytics
    from jaxsched.ports import yolov5 as yolov5
    from jaxsched.ports import yolov6 as yolov6
    from jaxsched.ports import yolox as yolox


def __getattr__(name: str) -> ModuleType:
    if name not in __dir__():
        from jaxsched.checks import did_you_mean

        raise AttributeError(
            f"jaxsched.ports has no {name!r}; it has {', '.join(__dir__())}{did_you_mean(name, __dir__())}"
        )
    return importlib.import_module(f"{__name__}.{name}")


def kinds() -> tuple[shared.Kind, ...]:
    """The kinds of files that the ports read, then those that are recognised and refused by name."""
    modules = [importlib.import_module(f"{__name__}.{name}") for name in (*__dir__(), "_elsewhere")]
    found = [kind for module in modules for kind in getattr(module, "KINDS", ())]
    return tuple(sorted(found, key=lambda kind: kind.refusal is not None))


def __dir__() -> list[str]:
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if not name.startswith("_") and name != "shared")
