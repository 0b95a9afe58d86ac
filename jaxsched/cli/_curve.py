"""A small curve made of characters."""

from __future__ import annotations

import numpy as np

from jaxsched.report.internal import short

BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN = " ...:::##"


def curve(
    values: np.ndarray, title: str, first: str, last: str, *, width: int = 60, height: int = 6, plain: bool = False
) -> str:
    """``values``, evenly spaced, as a filled curve above a line that names both ends.

    Args:
        values: Numbers [n].
        title: What they are.
        first, last: What stands below the ends.
        width, height: In characters, without the scale at the left.
        plain: Use ASCII only.
    """
    parts = np.array_split(np.asarray(values, np.float64), min(width, len(values)))
    shown = np.array([part[int(np.argmax(np.abs(part - values[0])))] for part in parts])
    low, high = min(0.0, float(np.min(values))), float(np.max(values))
    blocks = PLAIN if plain else BLOCKS
    eighths = np.rint((shown - low) / ((high - low) or 1.0) * height * 8).astype(int)
    scale = [short(float(f"{high:.3g}")), short(float(f"{low:.3g}"))]
    margin = max(map(len, scale))
    lines = [title]
    for row in reversed(range(height)):
        label = scale[0] if row == height - 1 else scale[1] if row == 0 else ""
        filled = "".join(blocks[int(np.clip(eighth - 8 * row, 0, 8))] for eighth in eighths)
        lines.append(f"  {label:>{margin}} {'|' if plain else '┤'}{filled.rstrip()}")
    gap = max(len(shown) - len(first) - len(last), 1)
    lines.append(f"  {'':{margin}}  {first}{' ' * gap}{last}")
    return "\n".join(lines)
