"""Parsing the command line of a training script into settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jaxsched.checks import short

_FROM_FILE = ("config", "config_file")
"""Options whose values are in a file."""

_LITERALS = {"true": True, "false": False, "none": None, "null": None}


def parse_words(
    words: Sequence[str],
    known: Collection[str] = (),
    flags: Collection[str] = (),
    short_names: Mapping[str, str] | None = None,
) -> Any:
    """Parse ``--name value`` words into settings, by name with underscores.

    Words before the script (``torchrun ... train.py``) and positional arguments are ignored. A name without a value is
    True; a name with several values has a list. As for argparse, the beginning of a name stands for it.

    Args:
        words: The words, as the shell splits them, or one string of them.
        known: The names that the script has; others are kept as they are.
        flags: Names that take no value, so that the next word is a positional argument.
        short_names: The long names of short options such as ``-b``.

    Raises:
        ValueError: If there is no option, a short one is not known, the beginning of a name stands for several, or
            settings are in a file that an option names.

    Examples:
        >>> parse_words("train.py /data --sched cosine --warmup-epoch=3 -b 64 --amp --opt-betas 0.9 0.95".split(),
        ...             ["warmup_epochs"], ["amp"], {"b": "batch_size"})
        {'sched': 'cosine', 'warmup_epochs': 3, 'batch_size': 64, 'amp': True, 'opt_betas': [0.9, 0.95]}
    """
    if len(words) == 1:
        words = _split(words[0])
    script = max((i for i, word in enumerate(words) if re.search(r"\.(py|sh)$", word)), default=-1)
    values: dict[str, list[Any]] = {}
    current: str | None = None
    for word in words[script + 1 :]:
        option = re.fullmatch(r"--([A-Za-z][\w.-]*)(?:=(.*))?|-([A-Za-z][\w-]*)", word, re.DOTALL)
        if option is None:
            if current is not None and not (current in flags and word.lower() not in _LITERALS):
                values[current].append(_literal(word))
            continue
        if option[3] and option[3] not in (short_names or {}):
            raise ValueError(f"{short(word)} is not known; write its long form, --name, or leave it out")
        current = (short_names or {})[option[3]] if option[3] else _whole(option[1].replace("-", "_"), known)
        if current in _FROM_FILE:
            raise ValueError(f"{short(word)} takes settings from a file: give that file, or write them out")
        values[current] = []  # the last one counts
        if option[2] is not None:
            values[current].append(_literal(option[2]))
            current = None
    if not values:
        raise ValueError(f"there is no --name in {short(' '.join(words))}")
    return {name: True if not items else items[0] if len(items) == 1 else items for name, items in values.items()}


def _split(line: str) -> list[str]:
    """The words of a line, as the shell splits them; a line break after a backslash is none."""
    try:
        return shlex.split(line.replace("\\\n", " "))
    except ValueError as error:
        raise ValueError(f"the shell cannot split {short(line)}: {error}") from None


def _whole(name: str, known: Collection[str]) -> str:
    """The known name that begins with ``name``, as argparse has it."""
    longer = [other for other in known if other.startswith(name)]
    if name in known or not longer:
        return name
    if len(longer) > 1:
        raise ValueError(f"--{name.replace('_', '-')} may stand for {' or '.join(sorted(longer))}")
    return longer[0]


def _literal(word: str) -> Any:
    if word.lower() in _LITERALS:
        return _LITERALS[word.lower()]
    for kind in (int, float):
        try:
            return kind(word[:100])
        except ValueError:
            continue
    return word
