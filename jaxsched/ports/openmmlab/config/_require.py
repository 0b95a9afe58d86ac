"""Values that must be known."""

from __future__ import annotations

from typing import Any

from jaxsched.ports.shared import SourceError, unknown_in


def require(value: Any, where: str) -> Any:
    """``value``, if all of it is known.

    Raises:
        SourceError: If only running the file could tell; it names ``where`` and the line.

    Examples:
        >>> from jaxsched.ports.shared import Unknown
        >>> require([1, 2], "lr_config.step")
        [1, 2]
        >>> require(Unknown(3, "steps()", "calling `steps` would run code", "a.py"), "lr_config.step")
        Traceback (most recent call last):
        jaxsched.ports.shared._python.SourceError: a.py:3: lr_config.step needs `steps()`, which cannot be evaluated \
without running the file: calling `steps` would run code. Write the value out.
    """
    for unknown in unknown_in(value):
        raise SourceError(
            f"{where} needs `{unknown.source}`, which cannot be evaluated without running the file: "
            f"{unknown.reason}. Write the value out.",
            unknown.file,
            unknown.line,
        )
    return value
