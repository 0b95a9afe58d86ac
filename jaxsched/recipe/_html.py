"""HTML for notebooks and pages: tables whose cells are escaped, and a recipe written with them."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from jaxsched.checks import short

LONGEST_VALUE = 400
"""Characters of a value that are shown."""
MOST_ROWS = 200
_ELSEWHERE = ("optimizer", "hyperparameters", "groups", "rules", "notes", "origin")
"""Fields of a recipe that have a place of their own."""


def escaped(text: Any) -> str:
    """Text for HTML: the strings of a recipe come from users' files. Line breaks and indentation stay."""
    return html.escape(str(text)).replace("\n", "<br>").replace("  ", "&nbsp; ")


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], *, numeric: Collection[int] = ()) -> str:
    """A table of escaped cells, which scrolls where it is too wide; the ``numeric`` columns are right-aligned."""

    def cells(tag: str, row: Sequence[Any]) -> str:
        sides = ["right; white-space: nowrap" if i in numeric else "left" for i in range(len(row))]
        texts = [
            f'<{tag} style="text-align: {side}">{escaped(cell)}</{tag}>' for side, cell in zip(sides, row, strict=True)
        ]
        return f"<tr>{''.join(texts)}</tr>"

    head = f"<thead>{cells('th', header)}</thead>" if header else ""
    body = "".join(cells("td", row) for row in rows)
    return f'<div style="overflow-x: auto"><table>{head}<tbody>{body}</tbody></table></div>'


def bullets(texts: Sequence[Any]) -> str:
    """A list of escaped texts."""
    return f"<ul>{''.join(f'<li>{escaped(text)}</li>' for text in texts)}</ul>"


def recipe_html(recipe: Any) -> str:
    """A `Recipe` as tables: its fields, the hyperparameters of each group with their origin, its notes."""
    parts = [
        f"<p><strong>Recipe</strong> {escaped(recipe.optimizer)}</p>",
        table(["field", "value"], list(_fields(recipe))),
    ]
    rows = list(_hyperparameters(recipe))
    if rows:
        parts.append(table(["group", "hyperparameter", "value", "from"], rows[:MOST_ROWS]))
    if len(rows) > MOST_ROWS:
        parts.append(f"<p>and {len(rows) - MOST_ROWS} more</p>")
    if recipe.notes:
        parts.append(f"<p>notes</p>{bullets(recipe.notes)}")
    return "".join(parts)


def _hyperparameters(recipe: Any) -> Iterator[list[str]]:
    for name, value in recipe.hyperparameters.items():
        yield ["all", name, short(value, LONGEST_VALUE), recipe.origin.get(name, "")]
    for group, own in recipe.groups.items():
        if own is None:
            yield [group, "", "frozen", ""]
        for name, value in (own or {}).items():
            yield [group, name, short(value, LONGEST_VALUE), recipe.origin.get(f"{group}.{name}", "")]


def _fields(recipe: Any) -> Iterator[list[str]]:
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if value is not None and field.name not in _ELSEWHERE:
            yield [field.name, f"{value:,}" if isinstance(value, int) else short(value, LONGEST_VALUE)]
    rules = [f"{short(rule.match)}: {rule.group}" for rule in recipe.rules[:MOST_ROWS]]
    yield ["rules", "\n".join(rules)]
