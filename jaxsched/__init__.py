"""PyTorch training recipes as pure JAX: schedules, parameter groups and optimizers that give the same run."""

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from jaxsched import groups as groups
    from jaxsched import optimizers as optimizers
    from jaxsched import ports as ports
    from jaxsched import recipe as recipe
    from jaxsched import report as report
    from jaxsched import schedules as schedules
    from jaxsched import transforms as transforms
    from jaxsched._diff import Difference as Difference
    from jaxsched._diff import Differences as Differences
    from jaxsched._diff import diff as diff
    from jaxsched._greedy import GreedyState as GreedyState
    from jaxsched._greedy import greedy as greedy
    from jaxsched._metric import metric_state as metric_state
    from jaxsched._metric import report_metric as report_metric
    from jaxsched._plateau import PlateauState as PlateauState
    from jaxsched._plateau import plateau as plateau
    from jaxsched._plot import plot as plot
    from jaxsched.groups import BY_ROLE as BY_ROLE
    from jaxsched.groups import Condition as Condition
    from jaxsched.groups import FlatGroups as FlatGroups
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
    from jaxsched.groups import unflatten_groups as unflatten_groups
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
    from jaxsched.report import Finding as Finding
    from jaxsched.report import Findings as Findings
    from jaxsched.report import curves as curves
    from jaxsched.report import explain as explain
    from jaxsched.report import lint as lint
    from jaxsched.report import parameter_table as parameter_table
    from jaxsched.report import progress_fields as progress_fields
    from jaxsched.report import updates as updates
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
    from jaxsched.transforms import flatten_groups as flatten_groups
    from jaxsched.transforms import power_ramp as power_ramp
    from jaxsched.transforms import ratio_ramp as ratio_ramp
    from jaxsched.transforms import skip_nonfinite as skip_nonfinite
    from jaxsched.transforms import skipped as skipped
else:  # each name is imported when it is first used: importing jaxsched costs next to nothing, not even jax
    _NAMES = {
        "_diff": "Difference Differences diff",
        "_greedy": "GreedyState greedy",
        "_metric": "metric_state report_metric",
        "_plateau": "PlateauState plateau",
        "_plot": "plot",
        "groups": """
            BY_ROLE Condition FlatGroups Parameter Rule contains glob labels mask ndim parameters role
            roles unflatten_groups
        """,
        "optimizers": """
            adadelta adafactor adagrad adam adamax adamw asgd carry_over flat group_norms
            hyperparams lamb layer_decay lbfgs muon musgd nadam radam rmsprop rprop sgd sparse_adam
        """,
        "recipe": "Accumulate Recipe",
        "report": "Finding Findings curves explain lint parameter_table progress_fields updates",
        "schedules": """
            Schedule add clamp constant cooldown cosine cosine_restarts cyclic delayed exponential
            exponential_ramp flat_then_cosine from_function inverse_power inverse_sqrt inverse_time
            linear maximum minimum multi_step one_cycle one_cycle_momentum per_epoch periodic_cosine
            piecewise polynomial product quotient schedule sequential stack step_decay table
            tabulate tanh warmup warmup_stable_decay
        """,
        "transforms": """
            accumulate applied average averaged clip_norm ema flatten_groups power_ramp ratio_ramp
            skip_nonfinite skipped
        """,
    }
    _HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
    _MODULES = ("groups", "optimizers", "ports", "recipe", "report", "schedules", "transforms")
    __all__ = (*_HOMES, *_MODULES)

    def __getattr__(name):
        if name in _MODULES:
            return _importlib.import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        globals()[name] = value = getattr(_importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})


__version__ = "0.1.0"
