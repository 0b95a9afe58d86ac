"""Settings of a yacs config, as Detectron2, Swin-Transformer and pycls have them."""

from __future__ import annotations

import ast
from typing import Any

from jaxsched.ports.shared._settings import Settings

LONGEST_STRING = 10_000
"""Characters of a string that is read as a Python literal."""


class YacsSettings(Settings):
    """A section. A string such as ``"(60000, 80000)"`` or ``"None"`` is what it spells; nothing is executed.

    Examples:
        >>> section = YacsSettings("SOLVER", dict(STEPS="(60000, 80000)", CLIP_GRAD="None"))
        >>> section.take("STEPS"), section.take("CLIP_GRAD")
        ((60000, 80000), None)
    """

    def read(self, where: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if len(value) > LONGEST_STRING:
            raise ValueError(f"{where}: the string has {len(value)} characters")
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return value
