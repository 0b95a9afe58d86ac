"""What a run of YOLOv5 left: its hyp.yaml, its opt.yaml, or the folder of both."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared


@dataclasses.dataclass(frozen=True)
class Run:
    """The settings of a run.

    Attributes:
        where: What to call them in errors.
        hyp: The settings of hyp.yaml.
        opt: The arguments of train.py, as opt.yaml holds them; empty where only the hyp is known.
    """

    where: str
    hyp: Mapping[str, Any]
    opt: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @staticmethod
    def read(source: str | os.PathLike[str] | shared.File | Mapping[str, Any]) -> Run:
        """From a folder with opt.yaml or hyp.yaml, a file of either, or the content of either as a dict.

        Raises:
            ValueError: If a folder has neither, or an opt.yaml names a hyp that is not beside it.
        """
        if isinstance(source, str | os.PathLike) and Path(source).is_dir():
            folder = Path(source)
            found = [folder / name for name in ("opt.yaml", "hyp.yaml") if (folder / name).is_file()]
            if not found:
                raise ValueError(f"{short(str(folder))} has neither an opt.yaml nor a hyp.yaml")
            source = found[0]
        where, values = shared.read(source, "hyp")
        if "lr0" in values or not {"hyp", "epochs", "batch_size"} & set(values):
            return Run(where, values)
        hyp = values.get("hyp")
        if isinstance(hyp, Mapping):
            return Run(where, hyp, values)
        path = source.path if isinstance(source, shared.File) else source
        beside = None if isinstance(path, Mapping) else Path(path).with_name("hyp.yaml")
        if beside is None or not beside.is_file():
            raise ValueError(f"{where}: hyp is {short(hyp)}; put that hyp.yaml beside it, or its values under hyp")
        return Run(*shared.read(beside), values)

    def given(self, name: str, value: Any) -> Any:
        """What the caller gave, or opt.yaml says.

        Raises:
            ValueError: If neither does.
        """
        value = self.opt.get(name) if value is None else value
        if value is None:
            raise ValueError(f"{self.where} does not say {name}: give it ({name}=..., or --{name.replace('_', '-')})")
        return value

    def optimizer(self, given: str | None) -> Any:
        """SGD, Adam or AdamW; up to 6.0 ``adam: true`` says which."""
        if given is not None:
            return given
        return self.opt.get("optimizer") or ("Adam" if self.opt.get("adam") is True else "SGD")

    def cosine(self, given: bool | None) -> bool | None:
        """Whether the lr falls along a cosine; None: as the release does."""
        if given is not None:
            return given
        if "linear_lr" in self.opt:
            return not self.opt["linear_lr"]
        return self.opt.get("cos_lr")
