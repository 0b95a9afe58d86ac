"""Which system a file is of, told by its content, and the recipe in it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxsched import ports
from jaxsched.ports import shared
from jaxsched.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Given:
    """What the command line says beside the file; None where it says nothing."""

    steps_per_epoch: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    images: int | None = None
    classes: int | None = None
    optimizer: str | None = None
    cos_lr: bool | None = None
    outputs: str | None = None
    strict: bool = True
    """Whether it is an error if the file has no use for something of this, or says otherwise."""

    def names(self) -> list[str]:
        fields = [field.name for field in dataclasses.fields(self) if field.name != "strict"]
        return [name for name in fields if getattr(self, name) is not None]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A system that files are of."""

    title: str
    read: Callable[[Path, Given], Recipe]
    options: tuple[str, ...]
    """The fields of `Given` that it has a use for."""
    required: tuple[str, ...] = ()


def read(path: Path, given: Given, kind: str | None = None) -> Recipe:
    """The recipe in a file.

    Args:
        path: The file.
        given: What is said beside it.
        kind: A name in `KINDS`; told by the content where left out.

    Raises:
        OSError: If the file cannot be read.
        TypeError, ValueError: If its content is of no kind that is known, or the kind finds fault with it.
    """
    name = kind or recognise(path)
    if name not in KINDS:
        raise ValueError(f"--as must be one of {', '.join(KINDS)}, got {name!r}")
    chosen = KINDS[name]
    wrong = [option for option in given.names() if option not in chosen.options]
    if wrong and given.strict:
        raise ValueError(f"{path}: {_flag(wrong[0])} has no meaning for {chosen.title} ({name})")
    passed_over: dict[str, Any] = dict.fromkeys(wrong)
    given = dataclasses.replace(given, **passed_over)
    size = given.batch_size
    if given.steps_per_epoch is None and given.images and size and "steps_per_epoch" in chosen.options:
        given = dataclasses.replace(given, steps_per_epoch=math.ceil(given.images / size))
    missing = [option for option in chosen.required if getattr(given, option) is None]
    if missing:
        raise ValueError(f"{path}: {chosen.title} does not say it, so give {', '.join(map(_flag, missing))}")
    return chosen.read(path, given)


def recognise(path: Path) -> str:
    """Which of `KINDS` a file is of.

    Raises:
        ValueError: If it is of none.
    """
    file = shared.File.read(path)
    text = file.text
    if text.lstrip().startswith("{"):
        if '"$recipe"' in text:
            return "recipe"
        raise ValueError(f'{path}: this JSON is no recipe: it has no "$recipe"')
    if path.suffix == ".py" or re.search(r"^(_base_|model|optimizer|optim_wrapper|train_cfg|runner)\s*=", text, re.M):
        return "openmmlab"
    content = file.content
    names = set(map(str, content))
    if names & {"SOLVER", "_BASE_", "MODEL"}:
        return "detectron2"
    if names & {"task", "mode", "imgsz", "nbs", "epochs", "batch"}:
        return "ultralytics"
    if names & {"lr0", "lrf", "warmup_bias_lr"}:
        return "yolov5"
    raise ValueError(f"{path}: none of the kinds that are known: {_kinds()}; say which with --as")


def _recipe(path: Path, given: Given) -> Recipe:
    recipe = Recipe.from_json(path.read_text(encoding="utf-8"))
    per_epoch = recipe.steps_per_epoch or given.steps_per_epoch
    said = {"steps_per_epoch": given.steps_per_epoch, "batch_size": given.batch_size}
    if given.epochs is not None:
        if per_epoch is None:
            raise ValueError(f"{path}: --epochs needs --steps-per-epoch")
        said["steps"] = given.epochs * per_epoch
    for name, value in said.items():
        known = getattr(recipe, name)
        if given.strict and value is not None and known is not None and known != value:
            raise ValueError(f"{path}: the recipe has {name} {known}, the command line says {value}")
    new = {name: value for name, value in said.items() if value is not None and getattr(recipe, name) is None}
    return recipe.replace(**new)


def _yolov5(path: Path, given: Given) -> Recipe:
    return ports.yolov5.recipe(
        path,
        epochs=_known(given.epochs),
        steps_per_epoch=_known(given.steps_per_epoch),
        batch_size=_known(given.batch_size),
        optimizer=given.optimizer or "SGD",
        cos_lr=bool(given.cos_lr),
    )


def _ultralytics(path: Path, given: Given) -> Recipe:
    content = shared.File.read(path).content
    said = {"epochs": given.epochs, "batch": given.batch_size, "optimizer": given.optimizer, "cos_lr": given.cos_lr}
    args = {**content, **{name: value for name, value in said.items() if value is not None}}
    per_epoch = given.steps_per_epoch
    if per_epoch is None and given.images:
        batch = shared.as_count(f"{path}: batch", args.get("batch", ports.ultralytics.DEFAULTS["batch"]))
        per_epoch = math.ceil(given.images / batch)
    if per_epoch is None:
        raise ValueError(f"{path}: args.yaml does not say it, so give --steps-per-epoch or --images")
    return ports.ultralytics.recipe(
        args, steps_per_epoch=per_epoch, images=given.images, classes=given.classes, outputs=given.outputs or "last"
    )


def _openmmlab(path: Path, given: Given) -> Recipe:
    return ports.openmmlab.read(path, steps_per_epoch=_known(given.steps_per_epoch), batch_size=given.batch_size)


def _detectron2(path: Path, given: Given) -> Recipe:
    return ports.detectron2.recipe(path, steps_per_epoch=given.steps_per_epoch)


_LENGTH = ("steps_per_epoch", "epochs", "batch_size")
KINDS: dict[str, Kind] = {
    "recipe": Kind("a recipe's JSON", _recipe, _LENGTH),
    "yolov5": Kind("a hyp.yaml of YOLOv5", _yolov5, (*_LENGTH, "images", "optimizer", "cos_lr"), _LENGTH),
    "ultralytics": Kind(
        "Ultralytics' args.yaml", _ultralytics, (*_LENGTH, "images", "classes", "optimizer", "cos_lr", "outputs")
    ),
    "openmmlab": Kind(
        "an OpenMMLab config", _openmmlab, ("steps_per_epoch", "batch_size", "images"), ("steps_per_epoch",)
    ),
    "detectron2": Kind("a Detectron2 config", _detectron2, ("steps_per_epoch",)),
}
"""What files can be of, by the name that ``--as`` takes."""


def _known(value: Any) -> Any:
    assert value is not None  # `read` has looked
    return value


def _kinds() -> str:
    return ", ".join(kind.title for kind in KINDS.values())


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")
