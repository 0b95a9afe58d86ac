"""YOLOX's learning rates, and the recipe of its ``Exp`` files (0.3.0)."""

import re as _re

from jaxsched.ports.shared import File as _File
from jaxsched.ports.shared import Kind as _Kind
from jaxsched.ports.yolox._recipe import DEFAULTS as DEFAULTS
from jaxsched.ports.yolox._recipe import recipe as recipe
from jaxsched.ports.yolox._schedules import LRScheduler as LRScheduler


def _fits(file: _File) -> bool:
    return _re.search(r"^class Exp\(", file.text, _re.MULTILINE) is not None and "yolox" in file.text


KINDS = (_Kind("yolox", "an Exp file of YOLOX", _fits, recipe),)
