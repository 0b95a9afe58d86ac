"""The recipe in a config of RT-DETR, D-FINE or DEIM."""

from jaxsched.ports.rtdetr._config import fits as _fits
from jaxsched.ports.rtdetr._recipe import recipe as recipe
from jaxsched.ports.shared import Kind as _Kind

KINDS = (_Kind("rtdetr", "a config of RT-DETR, D-FINE or DEIM", _fits, recipe),)
