"""An explanation as text for a terminal, and the blocks and tables that its HTML shares."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxsched.report._format import WIDTH
from jaxsched.report._table import columns, epochs, short

MOST_COLUMNS = 8
MOST_BLOCKS = 12
MOST_GROUPS = 100
"""Groups that a table lists."""


Cells = Mapping[str, tuple[str, str]]
"""Hyperparameters by name: each as text, and where it came from."""


class Table(NamedTuple):
    """A titled table.

    Attributes:
        numeric: The columns of numbers.
    """

    title: str
    header: list[str]
    rows: list[list[Any]]
    numeric: Sequence[int]

    def __str__(self) -> str:
        return f"{self.title}\n{columns(self.header, self.rows, numeric=self.numeric)}"


def sections(e: Any) -> Iterator[str]:
    """The parts of the text."""
    yield "\n".join([headline(e), *(f"  {name:10}  {text}" for name, text in facts(e))])
    for title, cells in hyperparameters(e):
        yield _block(title, cells)
    if frozen := frozen_groups(e):
        yield f"frozen: {', '.join(frozen)}"
    yield str(values_table(e))
    yield str(groups_table(e))
    if e.parameters is not None:
        yield "parameters\n" + "\n".join("  " + line for line in str(e.parameters).split("\n\n")[0].splitlines())
    if e.notes:
        yield "notes\n" + "\n".join(f"  - {note}" for note in e.notes)


def headline(e: Any) -> str:
    """The optimizer and the length of the run."""
    if not e.steps:
        return str(e.optimizer)
    in_epochs = f" = {epochs(e.steps, e.steps_per_epoch)} epochs of {e.steps_per_epoch}" if e.steps_per_epoch else ""
    return f"{e.optimizer} for {e.steps} steps{in_epochs}"


def facts(e: Any) -> Iterator[tuple[str, str]]:
    """What concerns all groups: batch, accumulation, clipping, average."""
    batch = f"{e.batch_size} images" if e.batch_size else ""
    meant = f"{e.nominal_batch_size} images per update" if e.nominal_batch_size else ""
    said = {"batch": batch, "meant for": meant, "accumulate": e.accumulate, "clip": e.clip, "average": e.ema}
    yield from ((name, text) for name, text in said.items() if text)


def frozen_groups(e: Any) -> list[str]:
    """The groups that are not trained."""
    return [name for name, group in e.groups.items() if group.hyperparameters is None]


def hyperparameters(e: Any) -> Iterator[tuple[str, Cells]]:
    """What most groups have, once; then what each group has beside it."""
    trained = {name: group for name, group in e.groups.items() if group.hyperparameters is not None}
    cells = {
        name: {key: (text, group.origin.get(key, "")) for key, text in (group.hyperparameters or {}).items()}
        for name, group in trained.items()
    }
    names = list(dict.fromkeys(key for own in cells.values() for key in own))
    common: dict[str, Any] = {}
    for key in names:
        (best, count), *_ = collections.Counter(own[key] for own in cells.values() if key in own).most_common(1)
        if len(trained) == 1 or count > 1:
            common[key] = best
    if common:
        yield "all groups" if len(trained) > 1 else next(iter(trained)), common
    own_cells = {
        name: {key: cell for key, cell in own.items() if common.get(key) != cell} for name, own in cells.items()
    }
    shown = [name for name, own in own_cells.items() if own]
    if len(shown) > MOST_BLOCKS:
        yield f"{shown[0]}, and {len(shown) - 1} more groups with numbers of their own", own_cells[shown[0]]
    else:
        yield from ((name, own_cells[name]) for name in shown)


def _block(title: str, cells: Cells) -> str:
    said = {key: cell for key, cell in cells.items() if cell[1] != "default"}
    width = max(map(len, said), default=0)
    lines = [title]
    for key, (text, origin) in said.items():
        first, *more = text.splitlines()
        lines.append(f"  {key:{width}}  {first}")
        lines += [" " * (width + 4) + line for line in more]
        if origin:
            lines[-1] += f"   <- {origin}"
    defaults = [f"{key} {text}" for key, (text, origin) in cells.items() if origin == "default"]
    return "\n".join([*lines, *([f"  defaults: {', '.join(defaults)}"] if defaults else [])])


def values_table(e: Any) -> Table:
    """The values at the steps where something happens; with many groups, each group's first, highest and last."""
    names = list(dict.fromkeys(name for row in e.rows for own in row.values.values() for name in own))
    titled: list[tuple[str, str, str]] = []
    for name in names:
        alike: dict[tuple[float, ...], list[str]] = {}
        for group in e.rows[0].values:
            if name in e.rows[0].values[group]:
                alike.setdefault(tuple(row.values[group][name] for row in e.rows), []).append(group)
        for groups in alike.values():
            titled.append((name if len(alike) == 1 else f"{name} {', '.join(groups)}", name, groups[0]))
    if len(titled) > MOST_COLUMNS:
        return _values_by_group(e, names)
    rows: list[list[Any]] = [
        [row.step, epochs(row.step, e.steps_per_epoch), ", ".join(row.what)]
        + [short(row.values[group][name]) for _, name, group in titled]
        for row in e.rows
    ]
    if e.rows_left_out:
        rows.insert(-1, ["...", "", f"{e.rows_left_out} more"] + [""] * len(titled))
    header: list[str] = ["step", "epoch", "what", *(title for title, _, _ in titled)]
    numeric: list[int] = [0, 1, *range(3, len(header))]
    if e.steps_per_epoch is None:
        header, rows, numeric = _without(1, header), [_without(1, row) for row in rows], [0, *range(2, len(header) - 1)]
    return Table("values", header, rows, numeric)


def _without(i: int, row: list[Any]) -> list[Any]:
    return row[:i] + row[i + 1 :]


def _values_by_group(e: Any, names: list[str]) -> Table:
    columns_: list[list[str]] = [["group", *e.rows[0].values]]
    for name in names:
        series = [[row.values[g].get(name, math.nan) for row in e.rows] for g in e.rows[0].values]
        if all(min(one) == max(one) for one in series):
            columns_.append([name, *(short(one[0]) for one in series)])
        else:
            columns_.append([f"{name} first", *(short(one[0]) for one in series)])
            columns_.append([f"{name} highest", *(short(max(one)) for one in series)])
            columns_.append([f"{name} last", *(short(one[-1]) for one in series)])
    header, *rows = (list(row) for row in zip(*columns_, strict=True))
    moments = ", ".join(f"{', '.join(row.what)} {row.step}" for row in e.rows)
    return Table(f"values (at {moments})", header, _cut(rows), range(1, len(header)))


def _cut(rows: list[list[Any]]) -> list[list[Any]]:
    """The rows of groups, or the first of them and how many more there are."""
    if len(rows) <= MOST_GROUPS:
        return rows
    return [*rows[:MOST_GROUPS], [f"... and {len(rows) - MOST_GROUPS} more groups", *[""] * (len(rows[0]) - 1)]]


def groups_table(e: Any) -> Table:
    """The rules of each group, and where the parameters are known how many it has."""
    header, rows = ["group", "matches"], []
    counted = e.parameters is not None
    for name, group in e.groups.items():
        count = [f"{group.parameters[0]}", f"{group.parameters[1]:,}"] if group.parameters is not None else []
        rules = ", then ".join(group.rules)
        rows.append([name, *count, rules if len(rules) <= WIDTH else f"{rules[: WIDTH - 3]}..."])
    if counted:
        header = ["group", "parameters", "numbers", "matches"]
    return Table("groups", header, _cut(rows), (1, 2) if counted else ())
