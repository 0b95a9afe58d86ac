"""PyTorch training recipes as pure JAX."""

from jaxsched.groups import *  # noqa: F403
from jaxsched.schedules import *  # noqa: F403
