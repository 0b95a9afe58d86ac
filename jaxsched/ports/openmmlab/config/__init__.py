"""Reads an OpenMMLab config file without executing it."""

from jaxsched.ports.openmmlab.config._read import MAX_BYTES as MAX_BYTES
from jaxsched.ports.openmmlab.config._read import merge as merge
from jaxsched.ports.openmmlab.config._read import read_config as read_config
from jaxsched.ports.openmmlab.config._require import require as require
