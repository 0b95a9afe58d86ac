"""torch's learning-rate schedulers under their own names, and recipes and state from live torch objects.

Each class of ``torch.optim.lr_scheduler`` (torch 2.13.0) and ``swa_utils.SWALR`` has the same name and keywords here,
without ``optimizer``. Calling it with a base learning rate returns the `Schedule`; ``momentum`` is the schedule of the
momentum if it cycles the momentum, otherwise None. Step ``t`` is the ``t``-th call of ``optimizer.step()``, from 0,
with ``scheduler.step()`` after each. For a scheduler that is stepped once per epoch, use
``js.per_epoch(schedule, steps_per_epoch)``. torch itself is not imported.

>>> import jaxsched as js
>>> round(float(js.ports.torch.CosineAnnealingLR(T_max=100)(0.1)(50)), 4)
0.05
"""

from typing import Any

from jaxsched import optimizers as _optimizers
from jaxsched.checks import did_you_mean as _did_you_mean
from jaxsched.ports.torch._base import Scheduler as Scheduler
from jaxsched.ports.torch._compose import ChainedScheduler as ChainedScheduler
from jaxsched.ports.torch._compose import SequentialLR as SequentialLR
from jaxsched.ports.torch._cycles import SWALR as SWALR
from jaxsched.ports.torch._cycles import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from jaxsched.ports.torch._cycles import CyclicLR as CyclicLR
from jaxsched.ports.torch._cycles import OneCycleLR as OneCycleLR
from jaxsched.ports.torch._functions import LambdaLR as LambdaLR
from jaxsched.ports.torch._functions import MultiplicativeLR as MultiplicativeLR
from jaxsched.ports.torch._recipe import recipe as recipe
from jaxsched.ports.torch._schedulers import ConstantLR as ConstantLR
from jaxsched.ports.torch._schedulers import CosineAnnealingLR as CosineAnnealingLR
from jaxsched.ports.torch._schedulers import ExponentialLR as ExponentialLR
from jaxsched.ports.torch._schedulers import LinearLR as LinearLR
from jaxsched.ports.torch._schedulers import MultiStepLR as MultiStepLR
from jaxsched.ports.torch._schedulers import PolynomialLR as PolynomialLR
from jaxsched.ports.torch._schedulers import ReduceLROnPlateau as ReduceLROnPlateau
from jaxsched.ports.torch._schedulers import StepLR as StepLR
from jaxsched.ports.torch._shapes import counted as _counted
from jaxsched.ports.torch._shapes import faster as _faster
from jaxsched.ports.torch._shapes import repeating as _repeating
from jaxsched.ports.torch._state import Place as Place
from jaxsched.ports.torch._state import conv as conv
from jaxsched.ports.torch._state import flax_places as flax_places
from jaxsched.ports.torch._state import linear as linear
from jaxsched.ports.torch._state import load_parameters as load_parameters
from jaxsched.ports.torch._state import load_state as load_state
from jaxsched.ports.torch._state import norm as norm
from jaxsched.ports.torch.config import KINDS as KINDS
from jaxsched.ports.torch.config import read as read

SCHEDULES = (_counted, _faster, _repeating)
"""The schedules that a saved recipe identifies by keys of this port."""


def __getattr__(name: str) -> Any:
    if callable(getattr(_optimizers, name.lower(), None)) and not name.startswith("_"):
        raise AttributeError(
            f"jaxsched.ports.torch has schedulers, not {name!r}: as an optimizer of optax there is js.optimizers."
            f"{name.lower()}(lr=...), and js.ports.torch.recipe(...) reads a live optimizer of torch"
        )
    raise AttributeError(f"jaxsched.ports.torch has no {name!r}{_did_you_mean(name, globals())}")
