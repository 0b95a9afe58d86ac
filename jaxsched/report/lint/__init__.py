"""What looks wrong with a recipe."""

from jaxsched.report.lint._finding import SEVERITIES as SEVERITIES
from jaxsched.report.lint._finding import Finding as Finding
from jaxsched.report.lint._finding import Findings as Findings
from jaxsched.report.lint._finding import Severity as Severity
from jaxsched.report.lint._finding import merged as merged
from jaxsched.report.lint._lint import PARAMETER_RULES as PARAMETER_RULES
from jaxsched.report.lint._lint import RULES as RULES
from jaxsched.report.lint._lint import lint as lint
from jaxsched.report.lint._lint import lint_sample as lint_sample
