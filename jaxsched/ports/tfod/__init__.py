"""The recipe in a ``pipeline.config`` of TensorFlow's Object Detection API."""

import re as _re

from jaxsched.ports.shared import File as _File
from jaxsched.ports.shared import Kind as _Kind
from jaxsched.ports.tfod._recipe import DEFAULTS as DEFAULTS
from jaxsched.ports.tfod._recipe import recipe as recipe


def _fits(file: _File) -> bool:
    begins = _re.search(r"^\s*train_config\s*:?\s*[{<]", file.text, _re.MULTILINE)
    return begins is not None and _re.search(r"_optimizer|fine_tune_checkpoint|input_reader", file.text) is not None


KINDS = (_Kind("tfod", "a pipeline.config of TensorFlow's Object Detection API", _fits, recipe, ("pipeline.config",)),)
