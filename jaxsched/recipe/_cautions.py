"""Notes that must not be overlooked: `lint` reports them, and the command's ``--strict`` makes them errors."""

from __future__ import annotations

import re
from collections.abc import Iterable


def caution(code: str, text: str) -> str:
    """A note for `Recipe.notes` on something that a port could not be sure of.

    Args:
        code: What `lint` calls it, such as ``"unknown-key"``.
        text: What was found, and what to do about it.

    Examples:
        >>> note = caution("unknown-key", "hyp.yaml: not known, and left out: paste_in")
        >>> cautions([note, "not part of a recipe: box, cls"])
        [('unknown-key', 'hyp.yaml: not known, and left out: paste_in')]
    """
    return f"caution {code}: {text}"


def cautions(notes: Iterable[str]) -> list[tuple[str, str]]:
    """The code and text of those ``notes`` of a recipe that `caution` made."""
    found = (re.fullmatch(r"caution ([a-z-]+): (.*)", note, re.DOTALL) for note in notes)
    return [(match[1], match[2]) for match in found if match]
