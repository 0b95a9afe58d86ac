"""The recipe of RF-DETR, from the arguments of its ``train``."""

from jaxsched.ports.rfdetr._recipe import DEFAULTS as DEFAULTS
from jaxsched.ports.rfdetr._recipe import recipe as recipe
from jaxsched.ports.shared import File as _File
from jaxsched.ports.shared import Kind as _Kind

_RATES = {"lr_encoder", "lr_vit_layer_decay", "lr_component_decay"}
_OWN = {"grad_accum_steps", "dataset_dir"}
"""Arguments that LW-DETR, which has those rates too, does not have."""


def _fits(file: _File) -> bool:
    return bool(_RATES & file.names) and bool(_OWN & file.names)


KINDS = (_Kind("rfdetr", "arguments of RF-DETR's train", _fits, recipe),)
