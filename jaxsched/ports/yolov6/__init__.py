"""The recipe of YOLOv6's configs (0.2.1 to 0.4.1)."""

import re as _re

from jaxsched.ports.shared import File as _File
from jaxsched.ports.shared import Kind as _Kind
from jaxsched.ports.yolov6._recipe import recipe as recipe


def _fits(file: _File) -> bool:
    has_solver = _re.search(r"^solver\s*=", file.text, _re.MULTILINE) is not None
    return has_solver and _re.search(r"\bwarmup_bias_lr\b", file.text) is not None


KINDS = (_Kind("yolov6", "a config of YOLOv6", _fits, recipe),)
