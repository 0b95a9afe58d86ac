"""Globs on paths: ``*`` within a name, ``**`` for any number of names, ``?`` one character."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def matches(pattern: str, path: str) -> bool:
    """Whether a path matches, in a time that grows as the product of the lengths: rules may come from anyone's file."""
    return fits(pattern.split("/"), path.split("/"), "**", _is_name)


def fits(pattern: Sequence[str], items: Sequence[str], star: str, is_one: Callable[[str, str], bool]) -> bool:
    """Whether items fit a pattern in which a ``star`` stands for any number of them, and all else for one.

    When something does not fit, only the last star need take one item more: what came before it fits, and leaves the
    most to what follows.
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
