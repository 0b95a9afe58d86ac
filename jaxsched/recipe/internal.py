"""What the reports use of recipes: their HTML."""

from jaxsched.recipe._html import bullets as bullets
from jaxsched.recipe._html import escaped as escaped
from jaxsched.recipe._html import table as table
