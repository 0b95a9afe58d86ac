"""What the command line uses of the reports."""

from jaxsched.report._curves import values_at as values_at
from jaxsched.report._explain import explain_sample as explain_sample
from jaxsched.report._sample import Sample as Sample
from jaxsched.report._sample import sample as sample
from jaxsched.report._table import plural as plural
from jaxsched.report._table import short as short
