"""The recipe in the YAML configs of Swin-Transformer and SimMIM, whose schedulers are timm's (timm 0.4.12)."""

from jaxsched.ports.shared import Kind as _Kind
from jaxsched.ports.swin._config import fits as _fits
from jaxsched.ports.swin._recipe import recipe as recipe
from jaxsched.ports.swin._shapes import after_updates as _after_updates
from jaxsched.ports.swin._shapes import from_epoch_start as _from_epoch_start

SCHEDULES = (_after_updates, _from_epoch_start)
"""The schedules that a saved recipe identifies by keys of this package."""
KINDS = (_Kind("swin", "a config of Swin-Transformer", _fits, recipe, ("config.json",)),)
