"""The recipe in a config of PaddleDetection."""

from jaxsched.ports.paddledetection._config import fits as _fits
from jaxsched.ports.paddledetection._recipe import recipe as recipe
from jaxsched.ports.paddledetection._shapes import debiased as _debiased
from jaxsched.ports.shared import Kind as _Kind

SCHEDULES = (_debiased,)
"""The schedules that a saved recipe identifies by keys of this package."""
KINDS = (_Kind("paddledetection", "a config of PaddleDetection", _fits, recipe),)
