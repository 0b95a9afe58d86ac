"""An explanation and findings as HTML, for notebooks and for the page of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from jaxsched.recipe.internal import bullets, escaped, table
from jaxsched.report._explain_text import facts, frozen_groups, groups_table, headline, hyperparameters, values_table

MOST_PARAMETERS = 2000
"""Rows of the table of parameters that are written."""
COLORS = {"error": "#9b1c00", "warning": "#7a4f00", "remark": "#1a1a1a"}
"""Of severities: each has a contrast of at least 7 to 1 on white."""


def explanation_html(e: Any, title: str = "h4", heading: bool = True) -> str:
    """An `Explanation` with titles in the given element, below the optimizer and the length if ``heading``."""
    return "".join([f"<p><strong>{escaped(headline(e))}</strong></p>" if heading else "", *_sections(e, title)])


def _sections(e: Any, title: str) -> Iterator[str]:
    def titled(text: str, content: str) -> str:
        return f"<{title}>{escaped(text)}</{title}>{content}"

    if said := list(facts(e)):
        yield table((), said)
    yield titled(values_table(e).title.capitalize(), _table(values_table(e)))
    rows = [
        [group, name, text, origin]
        for group, cells in hyperparameters(e)
        for name, (text, origin) in cells.items()
    ]  # fmt: skip
    rows += [[group, "", "frozen", ""] for group in frozen_groups(e)]
    yield titled("Hyperparameters", table(["group", "name", "value", "from"], rows))
    yield titled("Groups", _table(groups_table(e)))
    if e.parameters is not None:
        shown = [
            [row.path, "x".join(map(str, row.shape)) or "()", row.role, row.group, row.rule]
            for row in e.parameters[:MOST_PARAMETERS]
        ]
        more = len(e.parameters) - len(shown)
        listed = table(["path", "shape", "role", "group", "rule"], shown) + (f"<p>and {more} more</p>" if more else "")
        yield titled("Parameters", f"<details><summary>{len(e.parameters):,} parameters</summary>{listed}</details>")
    if e.notes:
        yield titled("Notes", bullets(e.notes))


def _table(one: Any) -> str:
    return table(one.header, one.rows, numeric=one.numeric)


def findings_html(found: Iterable[Any]) -> str:
    """Findings as a list, each with its remedy."""
    items = "".join(
        f'<li><strong style="color: {COLORS[f.severity]}">{f.severity} {escaped(f.code)}</strong>'
        f"{escaped(f' ({f.where})' if f.groups else '')}: {escaped(f.message)}<br>{escaped(f.remedy)}</li>"
        for f in found
    )
    return f"<ul>{items}</ul>" if items else "<p>nothing found</p>"
