"""PyTorch training recipes as pure JAX: schedules, parameter groups and optimizers that give the same run."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from jaxsched import ports as ports
from jaxsched._greedy import GreedyState as GreedyState
from jaxsched._greedy import greedy as greedy
from jaxsched._metric import plateau_state as plateau_state
from jaxsched._metric import report_metric as report_metric
from jaxsched._plateau import PlateauState as PlateauState
from jaxsched._plateau import plateau as plateau
from jaxsched.groups import BY_ROLE as BY_ROLE
from jaxsched.groups import Condition as Condition
from jaxsched.groups import Parameter as Parameter
from jaxsched.groups import Rule as Rule
from jaxsched.groups import contains as contains
from jaxsched.groups import glob as glob
from jaxsched.groups import labels as labels
from jaxsched.groups import mask as mask
from jaxsched.groups import ndim as ndim
from jaxsched.groups import parameters as parameters
from jaxsched.groups import role as role
from jaxsched.groups import roles as roles
from jaxsched.optimizers import adadelta as adadelta
from jaxsched.optimizers import adafactor as adafactor
from jaxsched.optimizers import adagrad as adagrad
from jaxsched.optimizers import adam as adam
from jaxsched.optimizers import adamax as adamax
from jaxsched.optimizers import adamw as adamw
from jaxsched.optimizers import asgd as asgd
from jaxsched.optimizers import carry_over as carry_over
from jaxsched.optimizers import flat as flat
from jaxsched.optimizers import group_norms as group_norms
from jaxsched.optimizers import hyperparams as hyperparams
from jaxsched.optimizers import lamb as lamb
from jaxsched.optimizers import layer_decay as layer_decay
from jaxsched.optimizers import lbfgs as lbfgs
from jaxsched.optimizers import muon as muon
from jaxsched.optimizers import musgd as musgd
from jaxsched.optimizers import nadam as nadam
from jaxsched.optimizers import radam as radam
from jaxsched.optimizers import rmsprop as rmsprop
from jaxsched.optimizers import rprop as rprop
from jaxsched.optimizers import sgd as sgd
from jaxsched.optimizers import sparse_adam as sparse_adam
from jaxsched.recipe import Accumulate as Accumulate
from jaxsched.recipe import Recipe as Recipe
from jaxsched.schedules import Schedule as Schedule
from jaxsched.schedules import add as add
from jaxsched.schedules import clamp as clamp
from jaxsched.schedules import constant as constant
from jaxsched.schedules import cooldown as cooldown
from jaxsched.schedules import cosine as cosine
from jaxsched.schedules import cosine_restarts as cosine_restarts
from jaxsched.schedules import cyclic as cyclic
from jaxsched.schedules import delayed as delayed
from jaxsched.schedules import exponential as exponential
from jaxsched.schedules import exponential_ramp as exponential_ramp
from jaxsched.schedules import flat_then_cosine as flat_then_cosine
from jaxsched.schedules import from_function as from_function
from jaxsched.schedules import inverse_power as inverse_power
from jaxsched.schedules import inverse_sqrt as inverse_sqrt
from jaxsched.schedules import inverse_time as inverse_time
from jaxsched.schedules import linear as linear
from jaxsched.schedules import maximum as maximum
from jaxsched.schedules import minimum as minimum
from jaxsched.schedules import multi_step as multi_step
from jaxsched.schedules import one_cycle as one_cycle
from jaxsched.schedules import one_cycle_momentum as one_cycle_momentum
from jaxsched.schedules import per_epoch as per_epoch
from jaxsched.schedules import periodic_cosine as periodic_cosine
from jaxsched.schedules import piecewise as piecewise
from jaxsched.schedules import polynomial as polynomial
from jaxsched.schedules import product as product
from jaxsched.schedules import quotient as quotient
from jaxsched.schedules import schedule as schedule
from jaxsched.schedules import sequential as sequential
from jaxsched.schedules import stack as stack
from jaxsched.schedules import step_decay as step_decay
from jaxsched.schedules import table as table
from jaxsched.schedules import tabulate as tabulate
from jaxsched.schedules import tanh as tanh
from jaxsched.schedules import warmup as warmup
from jaxsched.schedules import warmup_stable_decay as warmup_stable_decay
from jaxsched.transforms import accumulate as accumulate
from jaxsched.transforms import applied as applied
from jaxsched.transforms import average as average
from jaxsched.transforms import averaged as averaged
from jaxsched.transforms import clip_norm as clip_norm
from jaxsched.transforms import ema as ema
from jaxsched.transforms import power_ramp as power_ramp
from jaxsched.transforms import ratio_ramp as ratio_ramp
from jaxsched.transforms import skip_nonfinite as skip_nonfinite
from jaxsched.transforms import skipped as skipped

if _TYPE_CHECKING:  # imported when first used: what reports on a recipe is not needed to train with it
    from jaxsched._diff import Difference as Difference
    from jaxsched._diff import Differences as Differences
    from jaxsched._diff import diff as diff
    from jaxsched._plot import plot as plot
    from jaxsched.report import Finding as Finding
    from jaxsched.report import Findings as Findings
    from jaxsched.report import curves as curves
    from jaxsched.report import explain as explain
    from jaxsched.report import lint as lint
    from jaxsched.report import parameter_table as parameter_table
    from jaxsched.report import progress_fields as progress_fields
    from jaxsched.report import updates as updates

__version__ = "0.1.0"

_LATER = {
    "Difference": "_diff",
    "Differences": "_diff",
    "Finding": "report",
    "Findings": "report",
    "curves": "report",
    "diff": "_diff",
    "explain": "report",
    "lint": "report",
    "parameter_table": "report",
    "plot": "_plot",
    "progress_fields": "report",
    "updates": "report",
    "report": "report",
}


def __getattr__(name: str) -> _Any:
    if name not in _LATER:
        raise AttributeError(f"module 'jaxsched' has no attribute {name!r}")
    module = _import_module(f"jaxsched.{_LATER[name]}")
    globals()[name] = value = getattr(module, name, module)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
