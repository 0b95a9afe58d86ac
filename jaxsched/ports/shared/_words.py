"""Parsing the command line of a training script into settings."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jaxsched.checks import short

_LITERALS = {"true": True, "false": False, "none": None, "null": None}


def parse_words(words: Sequence[str], flags: Collection[str] = (), short_names: Mapping[str, str] | None = None) -> Any:
    """Parse ``--name value`` words into settings, by name with underscores.

    Words before the script (``torchrun ... train.py``) and positional arguments are ignored. A name without a value is
    True; a name with several values has a list.

    Args:
        words: The words, as the shell splits them.
        flags: Names that take no value, so that the next word is a positional argument.
        short_names: The long names of short options such as ``-b``.

    Examples:
        >>> parse_words("train.py /data --sched cosine --lr=1e-3 -b 64 --amp --opt-betas 0.9 0.95".split(), ["amp"],
        ...             {"b": "batch_size"})
        {'sched': 'cosine', 'lr': 0.001, 'batch_size': 64, 'amp': True, 'opt_betas': [0.9, 0.95]}
    """
    script = max((i for i, word in enumerate(words) if re.search(r"\.(py|sh)$", word)), default=-1)
    values: dict[str, list[Any]] = {}
    current: str | None = None
    for word in words[script + 1 :]:
        option = re.fullmatch(r"--([A-Za-z][\w.-]*)(?:=(.*))?|-([A-Za-z])", word, re.DOTALL)
        if option is None:
            if current is not None and not (current in flags and word.lower() not in _LITERALS):
                values[current].append(_literal(word))
            continue
        if option[3] and option[3] not in (short_names or {}):
            raise ValueError(f"{short(word)} is not known; write its long form, --name")
        current = (short_names or {})[option[3]] if option[3] else option[1].replace("-", "_")
        values[current] = []  # the last one counts
        if option[2] is not None:
            values[current].append(_literal(option[2]))
            current = None
    return {name: True if not items else items[0] if len(items) == 1 else items for name, items in values.items()}


def _literal(word: str) -> Any:
    if word.lower() in _LITERALS:
        return _LITERALS[word.lower()]
    for kind in (int, float):
        try:
            return kind(word[:100])
        except ValueError:
            continue
    return word
