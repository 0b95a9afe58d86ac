"""Values that follow a reported metric."""

from jaxsched.metric._greedy import GreedyState as GreedyState
from jaxsched.metric._greedy import greedy as greedy
from jaxsched.metric._plateau import PlateauState as PlateauState
from jaxsched.metric._plateau import plateau as plateau
