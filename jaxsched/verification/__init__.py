"""Whether a recipe does what a run did, by the run's own log."""

from jaxsched.verification._log import Log as Log
from jaxsched.verification._log import read_log as read_log
from jaxsched.verification._picture import draw as draw
from jaxsched.verification._picture import points as points
from jaxsched.verification._run import find_log as find_log
from jaxsched.verification._run import verify_run as verify_run
from jaxsched.verification._verdict import Difference as Difference
from jaxsched.verification._verdict import Verdict as Verdict
from jaxsched.verification._verify import verify as verify
