"""The files that the port reads: the args.yaml that timm's train.py writes, and the command line it was started by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxsched.ports.shared import File, Kind, parse_words
from jaxsched.ports.timm._arguments import DEFAULTS, NAMES
from jaxsched.ports.timm._recipe import recipe

_FLAGS = frozenset(name for name, default in DEFAULTS.items() if isinstance(default, bool))
_SHORT = {"b": "batch_size", "vb": "validation_batch_size", "j": "workers", "c": "config"}
_LISTS = ("decay_milestones", "opt_betas", "lr_noise")


def _fits(file: File) -> bool:
    return bool({"sched", "lr_base", "sched_on_updates"} & file.names) and bool({"opt", "epochs", "lr"} & file.names)


def _settings(words: Sequence[str]) -> Mapping[str, Any]:
    given = parse_words(words, NAMES, _FLAGS, _SHORT)
    return {name: [value] if name in _LISTS and not isinstance(value, list) else value for name, value in given.items()}


KINDS = (Kind("timm", "an args.yaml of timm", _fits, recipe, ("args.yaml",), _settings),)
