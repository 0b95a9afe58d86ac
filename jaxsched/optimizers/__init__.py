"""Optimizers with torch's semantics, as ordinary optax transformations."""

from jaxsched.optimizers._adam import adam as adam
from jaxsched.optimizers._adam import adamw as adamw
from jaxsched.optimizers._driver import OptimizerState as OptimizerState
from jaxsched.optimizers._driver import hyperparams as hyperparams
from jaxsched.optimizers._sgd import sgd as sgd
