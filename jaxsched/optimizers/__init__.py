"""Optimizers with torch's semantics, as ordinary optax transformations."""

from jaxsched.optimizers._adadelta import adadelta as adadelta
from jaxsched.optimizers._adafactor import adafactor as adafactor
from jaxsched.optimizers._adagrad import adagrad as adagrad
from jaxsched.optimizers._adam import adam as adam
from jaxsched.optimizers._adam import adamw as adamw
from jaxsched.optimizers._adamax import adamax as adamax
from jaxsched.optimizers._asgd import asgd as asgd
from jaxsched.optimizers._carry_over import carry_over as carry_over
from jaxsched.optimizers._lamb import lamb as lamb
from jaxsched.optimizers._layer_decay import layer_decay as layer_decay
from jaxsched.optimizers._lbfgs import lbfgs as lbfgs
from jaxsched.optimizers._monitor import flatten_dict as flatten_dict
from jaxsched.optimizers._monitor import group_norms as group_norms
from jaxsched.optimizers._muon import muon as muon
from jaxsched.optimizers._muon import musgd as musgd
from jaxsched.optimizers._nadam import nadam as nadam
from jaxsched.optimizers._override import override as override
from jaxsched.optimizers._radam import radam as radam
from jaxsched.optimizers._report import metric_state as metric_state
from jaxsched.optimizers._report import report_metric as report_metric
from jaxsched.optimizers._rmsprop import rmsprop as rmsprop
from jaxsched.optimizers._rprop import rprop as rprop
from jaxsched.optimizers._sgd import sgd as sgd
from jaxsched.optimizers._sparse_adam import sparse_adam as sparse_adam
from jaxsched.optimizers._state import OptimizerState as OptimizerState
from jaxsched.optimizers._state import hyperparams as hyperparams
