"""A recipe in words and numbers: what it does to which parameters, when, and where each number came from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from jaxsched.recipe import Recipe
from jaxsched.report._parameters import ParameterTable, parameter_table, rule_text
from jaxsched.report._sample import Sample, sample
from jaxsched.report._table import columns, epochs, plural, short
from jaxsched.report._written import WIDTH, written

MOST_ROWS = 24
MOST_COLUMNS = 8
MOST_BLOCKS = 12


@dataclasses.dataclass(frozen=True)
class Row:
    """The values at a step that matters."""

    step: int
    epoch: float | None
    what: tuple[str, ...]
    """What happens there: ``"start"``, ``"warm-up ends"``, ``"milestone"``, ``"last step"``, ..."""
    values: Mapping[str, Mapping[str, float]]
    """For each group its lr, momentum and weight decay."""


@dataclasses.dataclass(frozen=True)
class GroupExplanation:
    """One group of parameters."""

    rules: tuple[str, ...]
    """What matches its parameters."""
    hyperparameters: Mapping[str, str] | None
    """Each hyperparameter written out, lengths in steps and in epochs; None where the group is frozen."""
    origin: Mapping[str, str]
    """For each hyperparameter where its number came from."""
    parameters: tuple[int, int] | None = None
    """How many parameters it has and how many numbers are in them, where these are known."""


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What `explain` returns: data, and a text when printed."""

    optimizer: str
    steps: int | None
    steps_per_epoch: int | None
    epochs: float | None
    batch_size: int | None
    batches_to_an_update: tuple[int, int]
    """The fewest and the most."""
    images_to_an_update: tuple[int, int] | None
    accumulate: str
    clip: str
    ema: str
    groups: Mapping[str, GroupExplanation]
    rows: tuple[Row, ...]
    """The moments that matter, in order."""
    rows_left_out: int
    """How many more there are."""
    parameters: ParameterTable | None
    notes: tuple[str, ...]
    """What a port left out or decided."""
    origin: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """All of it as dicts, lists, texts and numbers."""
        result = dataclasses.asdict(dataclasses.replace(self, parameters=None))
        if self.parameters is not None:
            rows = [dataclasses.replace(row, hyperparameters=None) for row in self.parameters]
            result["parameters"] = [dataclasses.asdict(row) for row in rows]
        return result

    def __str__(self) -> str:
        return "\n\n".join(_sections(self)) + "\n"

    __repr__ = __str__


def explain(recipe: Recipe, params: Any = None) -> Explanation:
    """What a recipe will do, to which parameters, when, and where each number came from.

    Args:
        recipe: The recipe.
        params: The parameters; with them, the table of each and the counts of each group.

    Returns:
        Data that prints as a text.

    Raises:
        ValueError: If ``params`` do not fit the rules: one is not covered, or a rule has none.

    Example:
        >>> import jaxsched as js
        >>> lr = js.warmup(js.step_decay(0.02, every=8000), steps=500)
        >>> print(js.explain(js.Recipe("sgd", dict(lr=lr, momentum=0.9), steps=12_000, steps_per_epoch=1000)))
        sgd for 12000 steps = 12 epochs of 1000
        <BLANKLINE>
        all groups
          lr        warmup(step_decay(start=0.02, every=8000 [8 epochs], factor=0.1), steps=500 [0.5 epochs], start=0)
          momentum  0.9
          defaults: dampening 0, weight_decay 0, nesterov False, maximize False, form torch, bias_correction False
        <BLANKLINE>
        values
           step  epoch  what             lr  momentum  weight_decay
              0      0  start             0       0.9             0
            500    0.5  warm-up ends   0.02       0.9             0
           8000      8  milestone     0.002       0.9             0
          11999     12  last step     0.002       0.9             0
        <BLANKLINE>
        groups
          group   matches
          bias    role bias or norm_bias
          norm    role norm
          weight  role weight
        <BLANKLINE>
    """
    return explain_sample(sample(recipe), params)


def explain_sample(seen: Sample, params: Any = None) -> Explanation:
    """`explain`, of what was looked at already."""
    recipe = seen.recipe
    table = None if params is None else parameter_table(params, recipe.rules)
    rows, left_out = _rows(seen)
    least, most = int(seen.every.min()), int(seen.every.max())
    per_epoch = recipe.steps_per_epoch
    return Explanation(
        optimizer=recipe.optimizer,
        steps=recipe.steps,
        steps_per_epoch=per_epoch,
        epochs=recipe.steps / per_epoch if recipe.steps and per_epoch else None,
        batch_size=recipe.batch_size,
        batches_to_an_update=(least, most),
        images_to_an_update=(least * recipe.batch_size, most * recipe.batch_size) if recipe.batch_size else None,
        accumulate=_accumulation(recipe, least, most),
        clip=_clipping(recipe),
        ema="" if recipe.ema is None else f"decay {written(recipe.ema)}, by update",
        groups={group: _group(recipe, group, values, table) for group, values in seen.groups.items()},
        rows=rows,
        rows_left_out=left_out,
        parameters=table,
        notes=recipe.notes,
        origin=dict(recipe.origin),
    )


def _group(
    recipe: Recipe, group: str, values: Mapping[str, Any] | None, table: ParameterTable | None
) -> GroupExplanation:
    rules = tuple(rule_text(rule.match) for rule in recipe.rules if rule.group == group)
    counts = None if table is None else table.counts().get(group, (0, 0))
    if values is None:
        return GroupExplanation(rules, None, {}, counts)
    own = recipe.groups.get(group) or {}

    def origin(name: str) -> str:
        if name in own:
            return recipe.origin.get(f"{group}.{name}", "")
        return recipe.origin.get(name, "") if name in recipe.hyperparameters else "default"

    texts = {name: written(value, recipe.steps_per_epoch) for name, value in values.items() if value is not None}
    return GroupExplanation(rules, texts, {name: origin(name) for name in texts if origin(name)}, counts)


def _accumulation(recipe: Recipe, least: int, most: int) -> str:
    if recipe.accumulate is None:
        return ""
    text = f"{least} to {most} batches" if least != most else plural(most, "batch")
    text += " to an update, averaged" if recipe.accumulate.mean else " to an update, summed"
    if recipe.batch_size:
        text += f": {most * recipe.batch_size} images"
    return text + ("; what is left at the end of an epoch is dropped" if recipe.accumulate.drop_at_epoch_end else "")


def _clipping(recipe: Recipe) -> str:
    texts = []
    if recipe.clip_value is not None:
        texts.append(f"each entry of a gradient at {short(recipe.clip_value)}")
    if recipe.clip_norm is not None:
        texts.append(f"all gradients together at norm {written(recipe.clip_norm)}")
    return ", then ".join(texts)


def _rows(seen: Sample) -> tuple[tuple[Row, ...], int]:
    last = seen.length - 1
    what: dict[int, list[str]] = {0: ["start"]}
    for by_name in seen.moments.values():
        for name, found in by_name.items():
            for moment in found:
                if moment.happens and 0 <= moment.step <= last:
                    text = moment.what if name == "lr" else f"{name}: {moment.what}"
                    known = what.setdefault(moment.step, [])
                    if text not in known and moment.what not in known:
                        known.append(text)
    what.setdefault(last, []).append("last step" if seen.recipe.steps else "(no length given)")
    steps = sorted(what)
    shown = steps if len(steps) <= MOST_ROWS else [*steps[: MOST_ROWS - 1], last]
    per_epoch = seen.recipe.steps_per_epoch
    rows = [
        Row(
            step,
            step / per_epoch if per_epoch else None,
            tuple([text for text in what[step] if text != "next part"] or what[step]),
            {
                group: {name: seen.at(array, step) for name, array in values.items()}
                for group, values in seen.values.items()
            },
        )
        for step in shown
    ]
    return tuple(rows), len(steps) - len(shown)


# As a text


def _sections(e: Explanation) -> Iterator[str]:
    yield _head(e)
    yield from _hyperparameters(e)
    yield _values(e)
    yield _groups(e)
    if e.parameters is not None:
        yield "parameters\n" + "\n".join("  " + line for line in str(e.parameters).split("\n\n")[0].splitlines())
    if e.notes:
        yield "notes\n" + "\n".join(f"  - {note}" for note in e.notes)


def _head(e: Explanation) -> str:
    lines = [e.optimizer]
    if e.steps:
        lines[0] += f" for {e.steps} steps"
        if e.steps_per_epoch:
            lines[0] += f" = {epochs(e.steps, e.steps_per_epoch)} epochs of {e.steps_per_epoch}"
    batch = f"{e.batch_size} images" if e.batch_size else ""
    for name, text in (("batch", batch), ("accumulate", e.accumulate), ("clip", e.clip), ("average", e.ema)):
        if text:
            lines.append(f"  {name:10}  {text}")
    return "\n".join(lines)


def _hyperparameters(e: Explanation) -> Iterator[str]:
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


def _values(e: Explanation) -> str:
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


def _values_by_group(e: Explanation, names: list[str]) -> str:
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


def _groups(e: Explanation) -> str:
    header, rows = ["group", "matches"], []
    counted = e.parameters is not None
    for name, group in e.groups.items():
        count = [f"{group.parameters[0]}", f"{group.parameters[1]:,}"] if group.parameters is not None else []
        rules = ", then ".join(group.rules)
        rows.append([name, *count, rules if len(rules) <= WIDTH else f"{rules[: WIDTH - 3]}..."])
    if counted:
        header = ["group", "parameters", "numbers", "matches"]
    return "groups\n" + columns(header, rows, numeric=(1, 2) if counted else ())
