"""The recipe of DETR and Deformable DETR, from the arguments of their ``main.py``."""

from jaxsched.ports.detr._recipe import DEFAULTS as DEFAULTS
from jaxsched.ports.detr._recipe import recipe as recipe
from jaxsched.ports.detr._recipe import settings as _settings
from jaxsched.ports.shared import File as _File
from jaxsched.ports.shared import Kind as _Kind


def _fits(file: _File) -> bool:
    return {"lr_backbone", "lr_drop"} <= file.names


KINDS = (_Kind("detr", "arguments of DETR's main.py", _fits, recipe, (), _settings),)
