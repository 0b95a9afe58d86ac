"""The files that the port reads: OpenMMLab's configs in Python."""

from __future__ import annotations

import re

from jaxsched.ports.openmmlab._read import read
from jaxsched.ports.shared import File, Kind

_ASSIGNED = re.compile(r"^(_base_|model|optimizer|optim_wrapper|train_cfg|runner|lr_config)\s*=", re.MULTILINE)


def _fits(file: File) -> bool:
    return file.path.suffix == ".py" or _ASSIGNED.search(file.text) is not None


KINDS = (Kind("openmmlab", "an OpenMMLab config", _fits, read),)
