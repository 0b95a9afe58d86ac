"""DeepSpeed's schedulers, and the recipe in its JSON configuration (deepspeed 0.19.8)."""

from jaxsched.ports.deepspeed._recipe import fits as _fits
from jaxsched.ports.deepspeed._recipe import recipe as recipe
from jaxsched.ports.deepspeed._schedulers import LRRangeTest as LRRangeTest
from jaxsched.ports.deepspeed._schedulers import OneCycle as OneCycle
from jaxsched.ports.deepspeed._schedulers import WarmupCosineLR as WarmupCosineLR
from jaxsched.ports.deepspeed._schedulers import WarmupDecayLR as WarmupDecayLR
from jaxsched.ports.deepspeed._schedulers import WarmupLR as WarmupLR
from jaxsched.ports.deepspeed._shapes import endless_line as _endless_line
from jaxsched.ports.deepspeed._shapes import in_stairs as _in_stairs
from jaxsched.ports.deepspeed._shapes import log_rise as _log_rise
from jaxsched.ports.shared import Kind as _Kind

SCHEDULES = (_endless_line, _in_stairs, _log_rise)
"""The schedules that a saved recipe identifies by keys of this package."""
KINDS = (_Kind("deepspeed", "a config of DeepSpeed", _fits, recipe, ("ds_config.json",)),)
