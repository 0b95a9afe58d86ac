"""OpenMMLab's training configs, as of MMDetection 2 (mmcv 1.7.2) and 3 (mmengine 0.10.7), parsed and never executed."""

from jaxsched.ports.openmmlab._ema import every_nth as _every_nth
from jaxsched.ports.openmmlab._ema import momentum_ramp as _momentum_ramp
from jaxsched.ports.openmmlab._kind import KINDS as KINDS
from jaxsched.ports.openmmlab._read import read as read
from jaxsched.ports.openmmlab._read import recipe as recipe

SCHEDULES = (_every_nth, _momentum_ramp)
"""The schedules that a saved recipe names by keys of this port."""
