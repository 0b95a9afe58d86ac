"""The files that the port reads: Detectron2's configs in YAML."""

from __future__ import annotations

from jaxsched.ports.detectron2._recipe import recipe
from jaxsched.ports.shared import File, Kind


def _fits(file: File) -> bool:
    """SOLVER makes it one, unless its settings are another library's; without it, what only Detectron2's hold.

    All sections of Detectron2 have names in capitals: DINOv2's file has ``MODEL: {WEIGHTS: ''}`` and its own ``optim``.
    """
    model = file.mapping.get("MODEL")
    is_model = isinstance(model, dict) and bool({"META_ARCHITECTURE", "WEIGHTS", "BACKBONE"} & model.keys())
    capitals = all(str(name).isupper() for name in file.names)
    return "SOLVER" in file.names or (
        capitals and ("_BASE_" in file.names or (is_model and not {"TRAIN", "OPTIM"} & file.names))
    )


KINDS = (Kind("detectron2", "a Detectron2 config", _fits, recipe, ("config.yaml",)),)
