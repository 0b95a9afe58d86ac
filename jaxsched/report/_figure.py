"""A matplotlib figure that a notebook shows without pyplot. Import this where matplotlib is known to be there."""

from __future__ import annotations

import io

from matplotlib import figure


class Figure(figure.Figure):
    """Made without pyplot (no windows, no global state), for which IPython knows no picture: it is said here."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=100)
        return content.getvalue()
