"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

LONGEST = 100
"""Longer strings are not compared: no name is longer, and a string of 1 MB would take seconds."""


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """``"; did you mean 'momentum'?"``, or ``""`` if no known name is similar; case is ignored."""
    if not isinstance(name, str) or len(name) > LONGEST:
        return ""
    names = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), names, n=1)
    return f"; did you mean {names[close[0]]!r}?" if close else ""
