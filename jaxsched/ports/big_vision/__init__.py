"""big_vision's learning rate schedules, and the recipe of its configs (commit 0127fb6b of May 2025)."""

import re as _re

from jaxsched.ports.big_vision._recipe import recipe as recipe
from jaxsched.ports.big_vision._schedules import create_learning_rate_schedule as create_learning_rate_schedule
from jaxsched.ports.shared import File as _File
from jaxsched.ports.shared import Kind as _Kind
from jaxsched.ports.shared import is_json as _is_json


def _fits(file: _File) -> bool:
    if _is_json(file):
        return {"optax_name", "schedule", "lr"} <= file.names
    has_function = _re.search(r"^def get_config\(", file.text, _re.MULTILINE) is not None
    return has_function and _re.search(r"\.optax_name\b", file.text) is not None


KINDS = (_Kind("big_vision", "a config of big_vision", _fits, recipe, in_folders=("config.json",)),)
