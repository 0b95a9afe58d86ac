"""The recipe in a ``.cfg`` file of Darknet (YOLOv2 to v4)."""

from jaxsched.ports.darknet._recipe import DEFAULTS as DEFAULTS
from jaxsched.ports.darknet._recipe import recipe as recipe
from jaxsched.ports.darknet._shapes import sigmoid_fall as _sigmoid_fall
from jaxsched.ports.shared import File as _File
from jaxsched.ports.shared import Kind as _Kind

SCHEDULES = (_sigmoid_fall,)
"""The schedules that a saved recipe identifies by keys of this package."""


def _fits(file: _File) -> bool:
    lines = (line.strip() for line in file.text.split("\n", 1000))
    return next((line for line in lines if line and line[0] not in "#;"), "") in ("[net]", "[network]")


KINDS = (_Kind("darknet", "a .cfg of Darknet", _fits, recipe),)
