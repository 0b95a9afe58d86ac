"""Ultralytics' optimizer and schedule: every release from 8.0 on."""

from jaxsched.ports.ultralytics._args import DEFAULTS as DEFAULTS
from jaxsched.ports.ultralytics._kind import KINDS as KINDS
from jaxsched.ports.ultralytics._recipe import recipe as recipe
from jaxsched.ports.ultralytics._releases import CHANGES as CHANGES
