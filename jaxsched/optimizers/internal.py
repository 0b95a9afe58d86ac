"""What transforms, recipes, reports and ports use of the optimizers."""

from jaxsched.optimizers._checks import check_kind as check_kind
from jaxsched.optimizers._hyperparameters import Argument as Argument
from jaxsched.optimizers._hyperparameters import AtLeastOne as AtLeastOne
from jaxsched.optimizers._hyperparameters import Definition as Definition
from jaxsched.optimizers._hyperparameters import Fraction as Fraction
from jaxsched.optimizers._hyperparameters import Positive as Positive
from jaxsched.optimizers._layout import LAYOUT as LAYOUT
from jaxsched.optimizers._layout import OneDtype as OneDtype
from jaxsched.optimizers._layout import dtype_name as dtype_name
from jaxsched.optimizers._norm import clip_by_norm as clip_by_norm
from jaxsched.optimizers._optax import definition_of_factory as definition_of_factory
from jaxsched.optimizers._optax import optax_factory as optax_factory
from jaxsched.optimizers._optax import optax_name as optax_name
from jaxsched.optimizers._optimizer import checked_arguments as checked_arguments
from jaxsched.optimizers._optimizer import definition_of as definition_of
from jaxsched.optimizers._roles import lr_of as lr_of
from jaxsched.optimizers._roles import momentum_of as momentum_of
from jaxsched.optimizers._roles import role_of as role_of
from jaxsched.optimizers._roles import weight_decay_of as weight_decay_of
from jaxsched.optimizers._scale_by import decay_form as decay_form
from jaxsched.optimizers._state import states as states
