"""Detectron2's schedules and recipe, from its SOLVER settings (commit 02b5c4e2; fvcore 0.1.5.post20221221)."""

from jaxsched.ports.detectron2._compose import CompositeParamScheduler as CompositeParamScheduler
from jaxsched.ports.detectron2._compose import WarmupParamScheduler as WarmupParamScheduler
from jaxsched.ports.detectron2._kind import KINDS as KINDS
from jaxsched.ports.detectron2._recipe import LRMultiplier as LRMultiplier
from jaxsched.ports.detectron2._recipe import WarmupCosineLR as WarmupCosineLR
from jaxsched.ports.detectron2._recipe import WarmupMultiStepLR as WarmupMultiStepLR
from jaxsched.ports.detectron2._recipe import WarmupPolyLR as WarmupPolyLR
from jaxsched.ports.detectron2._recipe import build_lr_scheduler as build_lr_scheduler
from jaxsched.ports.detectron2._recipe import recipe as recipe
from jaxsched.ports.detectron2._schedulers import ConstantParamScheduler as ConstantParamScheduler
from jaxsched.ports.detectron2._schedulers import CosineParamScheduler as CosineParamScheduler
from jaxsched.ports.detectron2._schedulers import ExponentialParamScheduler as ExponentialParamScheduler
from jaxsched.ports.detectron2._schedulers import LinearParamScheduler as LinearParamScheduler
from jaxsched.ports.detectron2._schedulers import MultiStepParamScheduler as MultiStepParamScheduler
from jaxsched.ports.detectron2._schedulers import ParamScheduler as ParamScheduler
from jaxsched.ports.detectron2._schedulers import PolynomialDecayParamScheduler as PolynomialDecayParamScheduler
from jaxsched.ports.detectron2._schedulers import StepParamScheduler as StepParamScheduler
from jaxsched.ports.detectron2._schedulers import StepWithFixedGammaParamScheduler as StepWithFixedGammaParamScheduler
from jaxsched.ports.detectron2._shapes import fall as _fall
from jaxsched.ports.detectron2._shapes import half_wave as _half_wave
from jaxsched.ports.detectron2._shapes import line as _line
from jaxsched.ports.detectron2._shapes import power as _power
from jaxsched.ports.detectron2._solver import DEFAULTS as DEFAULTS

SCHEDULES = (_fall, _half_wave, _line, _power)
"""The schedules that a saved recipe names by keys of this port."""
