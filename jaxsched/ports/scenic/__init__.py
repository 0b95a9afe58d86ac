"""scenic's learning rate schedules, and the recipe of its configs (commit 4a38d475 of July 2026)."""

import re as _re

from jaxsched.ports.scenic._recipe import recipe as recipe
from jaxsched.ports.scenic._schedules import compound_lr_scheduler as compound_lr_scheduler
from jaxsched.ports.shared import File as _File
from jaxsched.ports.shared import Kind as _Kind
from jaxsched.ports.shared import is_json as _is_json


def _fits(file: _File) -> bool:
    if _is_json(file):
        return "lr_configs" in file.names
    has_function = _re.search(r"^def get_config\(", file.text, _re.MULTILINE) is not None
    return has_function and _re.search(r"\blr_configs\b", file.text) is not None


KINDS = (_Kind("scenic", "a config of scenic", _fits, recipe, in_folders=("config.json",)),)
