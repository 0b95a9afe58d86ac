"""What optimizers, reports and ports use of schedules beside the makers."""

from jaxsched.schedules._declarations import MOST as MOST
from jaxsched.schedules._declarations import Kind as Kind
from jaxsched.schedules._declarations import number as number
from jaxsched.schedules._declarations import numbers as numbers
from jaxsched.schedules._moments import has_more_parts as has_more_parts
from jaxsched.schedules._moments import inner_clocks as inner_clocks
from jaxsched.schedules._moments import parts as parts
from jaxsched.schedules._schedule import check_value as check_value
from jaxsched.schedules._together import kind_of as kind_of
from jaxsched.schedules._together import together as together
from jaxsched.schedules._together import values_together as values_together
