"""Ultralytics' optimizer and schedule, from its args.yaml, for each release."""

from jaxsched.ports.ultralytics._recipe import DEFAULTS as DEFAULTS
from jaxsched.ports.ultralytics._recipe import KINDS as KINDS
from jaxsched.ports.ultralytics._recipe import recipe as recipe
