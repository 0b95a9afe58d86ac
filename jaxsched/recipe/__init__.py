"""A recipe: the description of a run's optimization, as a value."""

from jaxsched.recipe._cautions import caution as caution
from jaxsched.recipe._cautions import cautions as cautions
from jaxsched.recipe._diff import Difference as Difference
from jaxsched.recipe._diff import Differences as Differences
from jaxsched.recipe._diff import diff as diff
from jaxsched.recipe._of_parts import Reportable as Reportable
from jaxsched.recipe._of_parts import as_recipe as as_recipe
from jaxsched.recipe._recipe import Accumulation as Accumulation
from jaxsched.recipe._recipe import Recipe as Recipe
