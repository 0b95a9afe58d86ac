"""What a recipe does and what looks wrong with it, before it runs and while it does: as data that print well."""

from jaxsched.report._curves import curves as curves
from jaxsched.report._curves import update_steps as update_steps
from jaxsched.report._explain import Explanation as Explanation
from jaxsched.report._explain import GroupExplanation as GroupExplanation
from jaxsched.report._explain import Row as Row
from jaxsched.report._explain import explain as explain
from jaxsched.report._page import page as page
from jaxsched.report._parameters import ParameterRow as ParameterRow
from jaxsched.report._parameters import ParameterTable as ParameterTable
from jaxsched.report._parameters import parameter_table as parameter_table
from jaxsched.report._plot import plot as plot
from jaxsched.report._progress import progress_fields as progress_fields
from jaxsched.report.lint import RULES as RULES
from jaxsched.report.lint import Finding as Finding
from jaxsched.report.lint import Findings as Findings
from jaxsched.report.lint import lint as lint
from jaxsched.schedules import Moment as Moment
from jaxsched.schedules import moments as moments
