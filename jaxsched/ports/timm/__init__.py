"""timm's schedulers, and the recipe of its train.py from its arguments (1.0.31)."""

from jaxsched.ports.timm._arguments import DEFAULTS as DEFAULTS
from jaxsched.ports.timm._factory import create_scheduler_v2 as create_scheduler_v2
from jaxsched.ports.timm._kind import KINDS as KINDS
from jaxsched.ports.timm._recipe import recipe as recipe
from jaxsched.ports.timm._schedulers import CosineLRScheduler as CosineLRScheduler
from jaxsched.ports.timm._schedulers import MultiStepLRScheduler as MultiStepLRScheduler
from jaxsched.ports.timm._schedulers import PlateauLRScheduler as PlateauLRScheduler
from jaxsched.ports.timm._schedulers import PolyLRScheduler as PolyLRScheduler
from jaxsched.ports.timm._schedulers import Scheduler as Scheduler
from jaxsched.ports.timm._schedulers import StepLRScheduler as StepLRScheduler
from jaxsched.ports.timm._schedulers import TanhLRScheduler as TanhLRScheduler
from jaxsched.ports.timm._schedulers import WSDLRScheduler as WSDLRScheduler
from jaxsched.ports.timm._shapes import at_step as _at_step
from jaxsched.ports.timm._shapes import exponential_ending as _exponential_ending
from jaxsched.ports.timm._shapes import power_ending as _power_ending

SCHEDULES = (_at_step, _exponential_ending, _power_ending)
"""The schedules that a saved recipe names by keys of this port."""
