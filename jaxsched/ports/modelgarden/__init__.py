"""The recipe in a YAML config of TensorFlow's Model Garden (tf-models-official 2.20)."""

from jaxsched.ports.modelgarden._recipe import recipe as recipe
from jaxsched.ports.shared import File as _File
from jaxsched.ports.shared import Kind as _Kind


def _fits(file: _File) -> bool:
    trainer = file.mapping.get("trainer")
    return isinstance(trainer, dict) and "optimizer_config" in trainer


KINDS = (_Kind("modelgarden", "a config of TensorFlow's Model Garden", _fits, recipe, ("params.yaml",)),)
