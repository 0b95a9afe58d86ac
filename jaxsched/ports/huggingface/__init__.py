"""Hugging Face's schedules, and the recipe of its Trainer from TrainingArguments (transformers 5.23.0)."""

from jaxsched.ports.huggingface._kind import KINDS as KINDS
from jaxsched.ports.huggingface._recipe import DEFAULTS as DEFAULTS
from jaxsched.ports.huggingface._recipe import recipe as recipe
from jaxsched.ports.huggingface._schedules import get_scheduler as get_scheduler
