"""What optimizers, reports and ports use of the values that follow a metric."""

from jaxsched.metric._follow import FOLLOWERS as FOLLOWERS
from jaxsched.metric._follow import Follower as Follower
from jaxsched.metric._follow import State as State
from jaxsched.metric._follow import States as States
from jaxsched.metric._follow import alike as alike
from jaxsched.metric._follow import definitions as definitions
from jaxsched.metric._follow import refresh as refresh
from jaxsched.metric._follow import resolve as resolve
from jaxsched.metric._follow import start as start
from jaxsched.metric._plateau import below_one as below_one
