"""Groups: which parameter belongs to which name.

Every parameter has a path (``"backbone/conv1/kernel"``) and a role (``weight``, ``norm``, ``norm_bias``, ``bias``).
Ordered rules turn them into named groups: the first match wins, every parameter must be covered, and a rule that
matches nothing is an error. Group names know nothing of schedules or optimizers; they are labels on a tree.
"""

from jaxsched.groups._boxes import reboxed as reboxed
from jaxsched.groups._boxes import unboxed as unboxed
from jaxsched.groups._conditions import Condition as Condition
from jaxsched.groups._conditions import Match as Match
from jaxsched.groups._conditions import as_condition as as_condition
from jaxsched.groups._conditions import contains as contains
from jaxsched.groups._conditions import glob as glob
from jaxsched.groups._conditions import ndim as ndim
from jaxsched.groups._conditions import regex as regex
from jaxsched.groups._conditions import role as role
from jaxsched.groups._joined import Grouped as Grouped
from jaxsched.groups._joined import JoinedTree as JoinedTree
from jaxsched.groups._joined import joined_like as joined_like
from jaxsched.groups._joined import separated as separated
from jaxsched.groups._parameters import ROLES as ROLES
from jaxsched.groups._parameters import Parameter as Parameter
from jaxsched.groups._parameters import Tree as Tree
from jaxsched.groups._parameters import is_statistic as is_statistic
from jaxsched.groups._parameters import parameters as parameters
from jaxsched.groups._parameters import roles as roles
from jaxsched.groups._rules import BY_ROLE as BY_ROLE
from jaxsched.groups._rules import Rule as Rule
from jaxsched.groups._rules import Rules as Rules
from jaxsched.groups._rules import as_rules as as_rules
from jaxsched.groups._rules import assign as assign
from jaxsched.groups._rules import grouped as grouped
from jaxsched.groups._rules import labels as labels
from jaxsched.groups._rules import mask as mask
