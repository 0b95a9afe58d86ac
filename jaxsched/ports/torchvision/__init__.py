"""The recipes of torchvision's reference scripts, from their arguments."""

from jaxsched.ports.shared import File as _File
from jaxsched.ports.shared import Kind as _Kind
from jaxsched.ports.torchvision._recipe import recipe as recipe
from jaxsched.ports.torchvision._scripts import DEFAULTS as DEFAULTS
from jaxsched.ports.torchvision._scripts import settings as _settings
from jaxsched.ports.torchvision._shapes import averaging as _averaging

SCHEDULES = (_averaging,)
"""The schedules that a saved recipe identifies by keys of this package."""


_MARKS = (
    {"lr_scheduler", "lr_warmup_decay"},
    {"lr_scheduler", "lr_step_size"},
    {"lr_scheduler", "lr_steps", "lr_gamma"},
    {"aux_loss", "lr_warmup_decay"},
    {"lr_milestones", "lr_warmup_decay"},
)
"""Arguments of which a file has all of some set."""


def _fits(file: _File) -> bool:
    return any(marks <= file.names for marks in _MARKS)


KINDS = (_Kind("torchvision", "arguments of one of torchvision's reference scripts", _fits, recipe, (), _settings),)
