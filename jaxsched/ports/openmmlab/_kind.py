"""The files that the port reads: OpenMMLab's configs in Python."""

from __future__ import annotations

import re

from jaxsched.ports.openmmlab._read import read
from jaxsched.ports.shared import File, Kind

_NAMES = "_base_|model|optimizer|optim_wrapper|param_scheduler|train_cfg|runner|lr_config"
_ASSIGNED = re.compile(rf"^(?:(?:{_NAMES})\s*=|with read_base\()", re.MULTILINE)


def _fits(file: File) -> bool:
    """A config of YOLOv6 has a ``model`` too, beside its ``solver``."""
    is_other = "warmup_bias_lr" in file.text and re.search(r"^solver\s*=", file.text, re.MULTILINE) is not None
    return not is_other and _ASSIGNED.search(file.text) is not None


KINDS = (
    Kind(
        "openmmlab",
        "an OpenMMLab config",
        _fits,
        read,
        in_folders=("*.py", "vis_data/config.py", "*/vis_data/config.py"),
    ),
)
