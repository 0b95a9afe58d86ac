"""The recipe in the YAML configs of pycls (its commit of 2022)."""

from jaxsched.ports.pycls._recipe import fits as _fits
from jaxsched.ports.pycls._recipe import recipe as recipe
from jaxsched.ports.shared import Kind as _Kind

KINDS = (_Kind("pycls", "a config of pycls", _fits, recipe, ("config.yaml",)),)
