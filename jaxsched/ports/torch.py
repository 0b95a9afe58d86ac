"""torch's learning-rate schedulers under their own names, and recipes and state taken from live torch objects.

Each class of ``torch.optim.lr_scheduler`` (torch 2.13.0) and ``swa_utils.SWALR`` has its name and keywords here, less
``optimizer``. Called with a base learning rate it gives the `Schedule`; its ``momentum`` is the schedule of the
momentum where it cycles that, else None. Step ``t`` is the ``t``-th call of ``optimizer.step()``, from 0: the learning
rate that it sees if ``scheduler.step()`` follows each. For a scheduler that is stepped once per epoch there is
``js.per_epoch(schedule, steps_per_epoch)``. torch itself is not imported.

>>> import jaxsched as js
>>> round(float(js.ports.torch.CosineAnnealingLR(T_max=100)(0.1)(50)), 4)
0.05
"""

from jaxsched.ports._torch_base import Scheduler as Scheduler
from jaxsched.ports._torch_compose import ChainedScheduler as ChainedScheduler
from jaxsched.ports._torch_compose import SequentialLR as SequentialLR
from jaxsched.ports._torch_cycles import SWALR as SWALR
from jaxsched.ports._torch_cycles import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from jaxsched.ports._torch_cycles import CyclicLR as CyclicLR
from jaxsched.ports._torch_cycles import OneCycleLR as OneCycleLR
from jaxsched.ports._torch_functions import LambdaLR as LambdaLR
from jaxsched.ports._torch_functions import MultiplicativeLR as MultiplicativeLR
from jaxsched.ports._torch_recipe import recipe as recipe
from jaxsched.ports._torch_schedulers import ConstantLR as ConstantLR
from jaxsched.ports._torch_schedulers import CosineAnnealingLR as CosineAnnealingLR
from jaxsched.ports._torch_schedulers import ExponentialLR as ExponentialLR
from jaxsched.ports._torch_schedulers import LinearLR as LinearLR
from jaxsched.ports._torch_schedulers import MultiStepLR as MultiStepLR
from jaxsched.ports._torch_schedulers import PolynomialLR as PolynomialLR
from jaxsched.ports._torch_schedulers import ReduceLROnPlateau as ReduceLROnPlateau
from jaxsched.ports._torch_schedulers import StepLR as StepLR
from jaxsched.ports._torch_state import Place as Place
from jaxsched.ports._torch_state import conv as conv
from jaxsched.ports._torch_state import flax_places as flax_places
from jaxsched.ports._torch_state import linear as linear
from jaxsched.ports._torch_state import load_parameters as load_parameters
from jaxsched.ports._torch_state import load_state as load_state
from jaxsched.ports._torch_state import norm as norm
