"""Notes on files whose keys fit several versions of their source."""

from __future__ import annotations

from collections.abc import Mapping

from jaxsched.recipe import caution


def open_version(where: str, chosen: str, others: Mapping[str, str]) -> list[str]:
    """A caution if other possible versions of a file would give other numbers.

    Args:
        where: The file.
        chosen: The version whose rules are used.
        others: For each other possible version, what differs; empty if nothing does.

    Examples:
        >>> (note,) = open_version("hyp.yaml", "7.0", {"6.2": "", "6.1": "lr differs at 1,049 of 5,000 steps"})
        >>> note.split("; ")[1:]
        ['with 6.1 lr differs at 1,049 of 5,000 steps']
    """
    alike: dict[str, list[str]] = {}
    for name, text in others.items():
        if text:
            alike.setdefault(text, []).append(name)
    if not alike:
        return []
    listed = "; ".join(f"with {_span(names)} {text}" for text, names in alike.items())
    return [caution("version-open", f"{where} does not say its version and is read as {chosen}; {listed}")]


def _span(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
