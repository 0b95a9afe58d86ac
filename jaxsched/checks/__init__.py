"""What an argument may be, and how a wrong one is reported."""

from jaxsched.checks._annotations import Duration as Duration
from jaxsched.checks._annotations import Exponent as Exponent
from jaxsched.checks._annotations import Rate as Rate
from jaxsched.checks._binding import Check as Check
from jaxsched.checks._binding import argument_checks as argument_checks
from jaxsched.checks._binding import checked as checked
from jaxsched.checks._did_you_mean import did_you_mean as did_you_mean
from jaxsched.checks._extras import extra as extra
from jaxsched.checks._numbers import ArraySize as ArraySize
from jaxsched.checks._numbers import Count as Count
from jaxsched.checks._numbers import Length as Length
from jaxsched.checks._numbers import Milestones as Milestones
from jaxsched.checks._numbers import Number as Number
from jaxsched.checks._numbers import Positive as Positive
from jaxsched.checks._numbers import Size as Size
from jaxsched.checks._numbers import WholeLength as WholeLength
from jaxsched.checks._numbers import choice as choice
from jaxsched.checks._numbers import count as count
from jaxsched.checks._numbers import length as length
from jaxsched.checks._numbers import milestones as milestones
from jaxsched.checks._numbers import number as number
from jaxsched.checks._numbers import positive as positive
from jaxsched.checks._numbers import size as size
from jaxsched.checks._numbers import whole_length as whole_length
from jaxsched.checks._short import one_line as one_line
from jaxsched.checks._short import short as short
