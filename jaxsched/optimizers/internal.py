"""What transforms, recipes, reports and ports use of the optimizers."""

from jaxsched.optimizers._hyperparameters import by_group as by_group
from jaxsched.optimizers._hyperparameters import check as check
from jaxsched.optimizers._hyperparameters import is_option as is_option
from jaxsched.optimizers._state import states as states
