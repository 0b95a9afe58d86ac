"""Globs on paths: ``*`` within a name, ``**`` for any number of names, ``?`` one character."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def matches(pattern: str, path: str) -> bool:
    """Whether a path matches. The time is bounded by the product of the lengths, since rules may come from any file."""
    return fits(pattern.split("/"), path.split("/"), "**", _is_name)


def fits(pattern: Sequence[str], items: Sequence[str], star: str, is_one: Callable[[str, str], bool]) -> bool:
    """Whether items match a pattern in which a ``star`` stands for any number of items and anything else for one.

    Greedy, without recursion: after a mismatch only the last star has to take one item more. What was matched before
    that star used as few items as possible, so no other way of matching it can help.
    """
    at = i = 0
    after_star, taken = None, 0
    while i < len(items):
        if at < len(pattern) and pattern[at] == star:
            at += 1
            after_star, taken = at, i
        elif at < len(pattern) and is_one(pattern[at], items[i]):
            at, i = at + 1, i + 1
        elif after_star is not None:
            taken += 1
            at, i = after_star, taken
        else:
            return False
    return all(piece == star for piece in pattern[at:])


def _is_name(piece: str, name: str) -> bool:
    return piece == name or (("*" in piece or "?" in piece) and fits(piece, name, "*", _is_character))


def _is_character(piece: str, character: str) -> bool:
    return piece in ("?", character)
