"""The recipe of torchvision's reference script for classification, from its arguments (0.24)."""

from jaxsched.ports.shared import File as _File
from jaxsched.ports.shared import Kind as _Kind
from jaxsched.ports.torchvision._recipe import DEFAULTS as DEFAULTS
from jaxsched.ports.torchvision._recipe import recipe as recipe
from jaxsched.ports.torchvision._recipe import settings as _settings
from jaxsched.ports.torchvision._shapes import averaging as _averaging

SCHEDULES = (_averaging,)
"""The schedules that a saved recipe identifies by keys of this package."""


def _fits(file: _File) -> bool:
    return bool({"lr_warmup_decay", "lr_step_size"} & file.names) and "lr_scheduler" in file.names


KINDS = (_Kind("torchvision", "arguments of torchvision's classification/train.py", _fits, recipe, (), _settings),)
