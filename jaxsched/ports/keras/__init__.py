"""Keras' learning-rate schedules under their own names, and its serialized optimizers as recipes (keras 3.15.1).

Each schedule takes the keywords of its class and gives a `Schedule`; ``name`` is accepted and not used. Keras computes
in float32 as it goes; these have its values where that does not lose digits: no stair is missed, and a cosine ends
exactly. Also three functions of ``tf.compat.v1.train``, less ``global_step``.
"""

from jaxsched.ports.keras._recipe import KINDS as KINDS
from jaxsched.ports.keras._recipe import recipe as recipe
from jaxsched.ports.keras._schedules import SCHEDULES as SCHEDULES
from jaxsched.ports.keras._schedules import CosineDecay as CosineDecay
from jaxsched.ports.keras._schedules import CosineDecayRestarts as CosineDecayRestarts
from jaxsched.ports.keras._schedules import ExponentialDecay as ExponentialDecay
from jaxsched.ports.keras._schedules import InverseTimeDecay as InverseTimeDecay
from jaxsched.ports.keras._schedules import PiecewiseConstantDecay as PiecewiseConstantDecay
from jaxsched.ports.keras._schedules import PolynomialDecay as PolynomialDecay
from jaxsched.ports.keras._schedules import inverse_time_decay as inverse_time_decay
from jaxsched.ports.keras._schedules import linear_cosine_decay as linear_cosine_decay
from jaxsched.ports.keras._schedules import natural_exp_decay as natural_exp_decay
