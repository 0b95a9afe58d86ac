"""Values as errors show them: on one line, cut where it is full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from itertools import islice
from typing import Any

MOST = 60
"""Characters of a value that an error shows. An error also names a file and a field, and stays within a line or two."""


def short(value: Any, most: int = MOST) -> str:
    r"""The ``repr`` of a value, on one line of at most ``most`` characters.

    The time and memory it takes do not depend on the size of the value: containers are walked only as far as they are
    shown, so ten lines of YAML whose aliases stand for 10**9 items, or a string of 1 MB, cost what a short one does.
    Control characters and lone surrogates are escaped. An integer too long to show is described by its digits.

    Examples:
        >>> from jaxsched.checks import short
        >>> print(short(list(range(10**6)), most=20))
        [0, 1, 2, 3, 4, 5...
        >>> print(short("red\x1b[31m"), short(10**5000))
        'red\x1b[31m' an integer of about 5,000 digits
    """
    text = ""
    for piece in _pieces(value, most):
        text += piece
        if len(text) > most:
            break
    return one_line(text, most)


def one_line(text: str, most: int = MOST) -> str:
    """A text, such as a name or a path, with its control characters escaped, cut after ``most`` characters."""
    shown = "".join(c if c.isprintable() else _escape(c) for c in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _pieces(value: Any, most: int) -> Iterator[str]:
    """The ``repr`` in pieces, which a caller reads as far as it shows them.

    Each level of nesting begins with a separate piece, so ``most`` bounds the depth of the recursion as well.
    """
    if isinstance(value, str | bytes):
        yield repr(value[: most + 1])
    elif isinstance(value, int) and value.bit_length() > 3 * most:  # a digit has 3.3 bits
        yield f"an integer of about {int(value.bit_length() * 0.30103):,} digits"  # str() stops at 4,300 of them
    elif isinstance(value, Mapping):
        yield "{"
        for i, (key, item) in enumerate(islice(value.items(), most)):
            yield ", " if i else ""
            yield from _pieces(key, most)
            yield ": "
            yield from _pieces(item, most)
        yield "}"
    elif isinstance(value, list | tuple | Set):
        opening, closing = "[]" if isinstance(value, list) else "()" if isinstance(value, tuple) else "{}"
        yield opening
        for i, item in enumerate(islice(value, most)):
            yield ", " if i else ""
            yield from _pieces(item, most)
        yield ("," if isinstance(value, tuple) and len(value) == 1 else "") + closing
    else:
        yield _repr(value, most)


def _repr(value: Any, most: int) -> str:
    """Of any other object; one that is nested too deep, or whose ``repr`` fails, by its type."""
    try:
        return " ".join(repr(value)[: 10 * most].split())
    except Exception:
        return f"<{type(value).__name__}>"
