"""Plain text: numbers and columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def short(value: Any) -> str:
    """A number in six digits, without the noise of float32."""
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return str(value)
    number = float(value)
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return f"{number:.6g}"


def epochs(steps: float, steps_per_epoch: int | None) -> str:
    """A length in epochs, such as ``"3"`` or ``"0.07"``; empty where the length of an epoch is not known."""
    if not steps_per_epoch or not math.isfinite(steps):
        return ""
    return f"{steps / steps_per_epoch:.4g}"


def plural(count: float, one: str) -> str:
    number = f"{count:,}" if isinstance(count, int) else short(count)
    return f"{number} {one}{'' if count == 1 else 'es' if one.endswith(('ch', 's')) else 's'}"


def columns(
    header: Sequence[str], rows: Sequence[Sequence[Any]], *, numeric: Sequence[int] = (), indent: int = 2
) -> str:
    """Rows below a header; the ``numeric`` columns are right-aligned."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    width = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row: list[str]) -> str:
        padded = (
            cell.rjust(w) if i in numeric else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, width, strict=True))
        )
        return " " * indent + "  ".join(padded).rstrip()

    return "\n".join(map(line, cells))
