"""mmengine's parameter schedulers."""

from jaxsched.ports.openmmlab.mmengine._schedulers import by_group as by_group
from jaxsched.ports.openmmlab.mmengine._schedulers import curve as curve
from jaxsched.ports.openmmlab.mmengine._schedulers import moves as moves
