"""An explanation as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from jaxsched.report._format import WIDTH
from jaxsched.report._table import columns, epochs, short

MOST_COLUMNS = 8
MOST_BLOCKS = 12


def sections(e: Any) -> Iterator[str]:
    yield _head(e)
    yield from _hyperparameters(e)
    yield _values(e)
    yield _groups(e)
    if e.parameters is not None:
        yield "parameters\n" + "\n".join("  " + line for line in str(e.parameters).split("\n\n")[0].splitlines())
    if e.notes:
        yield "notes\n" + "\n".join(f"  - {note}" for note in e.notes)


def _head(e: Any) -> str:
    lines = [e.optimizer]
    if e.steps:
        lines[0] += f" for {e.steps} steps"
        if e.steps_per_epoch:
            lines[0] += f" = {epochs(e.steps, e.steps_per_epoch)} epochs of {e.steps_per_epoch}"
    batch = f"{e.batch_size} images" if e.batch_size else ""
    meant = f"{e.nominal_batch_size} images to an update" if e.nominal_batch_size else ""
    said = {"batch": batch, "meant for": meant, "accumulate": e.accumulate, "clip": e.clip, "average": e.ema}
    for name, text in said.items():
        if text:
            lines.append(f"  {name:10}  {text}")
    return "\n".join(lines)


def _hyperparameters(e: Any) -> Iterator[str]:
    trained = {name: group for name, group in e.groups.items() if group.hyperparameters is not None}
    cells = {
        name: {key: (text, group.origin.get(key, "")) for key, text in (group.hyperparameters or {}).items()}
        for name, group in trained.items()
    }
    names = list(dict.fromkeys(key for own in cells.values() for key in own))
    # what most groups have is said once
    common: dict[str, Any] = {}
    for key in names:
        texts = [own[key] for own in cells.values() if key in own]
        best = max(texts, key=texts.count)
        if len(trained) == 1 or texts.count(best) > 1:
            common[key] = best
    if common:
        yield _block("all groups" if len(trained) > 1 else next(iter(trained)), common)
    own_cells = {
        name: {key: cell for key, cell in own.items() if common.get(key) != cell} for name, own in cells.items()
    }
    shown = [name for name, own in own_cells.items() if own]
    if len(shown) > MOST_BLOCKS:
        yield _block(f"{shown[0]}, and {len(shown) - 1} more groups with numbers of their own", own_cells[shown[0]])
    else:
        yield from (_block(name, own_cells[name]) for name in shown)
    frozen = [name for name, group in e.groups.items() if group.hyperparameters is None]
    if frozen:
        yield f"frozen: {', '.join(frozen)}"


def _block(title: str, cells: Mapping[str, tuple[str, str]]) -> str:
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


def _values(e: Any) -> str:
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
    return "values\n" + columns(header, rows, numeric=numeric)


def _without(i: int, row: list[Any]) -> list[Any]:
    return row[:i] + row[i + 1 :]


def _values_by_group(e: Any, names: list[str]) -> str:
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
    return f"values (at {moments})\n" + columns(header, rows, numeric=range(1, len(header)))


def _groups(e: Any) -> str:
    header, rows = ["group", "matches"], []
    counted = e.parameters is not None
    for name, group in e.groups.items():
        count = [f"{group.parameters[0]}", f"{group.parameters[1]:,}"] if group.parameters is not None else []
        rules = ", then ".join(group.rules)
        rows.append([name, *count, rules if len(rules) <= WIDTH else f"{rules[: WIDTH - 3]}..."])
    if counted:
        header = ["group", "parameters", "numbers", "matches"]
    return "groups\n" + columns(header, rows, numeric=(1, 2) if counted else ())
