"""A recipe in words and numbers: what it does to which parameters, when, and where each number comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxsched.recipe import Recipe, Reportable
from jaxsched.report._explain_text import sections
from jaxsched.report._format import format_schedule
from jaxsched.report._html import explanation_html
from jaxsched.report._parameters import ParameterTable, parameter_table, rule_text
from jaxsched.report._sample import Sample, sample
from jaxsched.report._table import plural, short
from jaxsched.schedules.internal import Kind

MOST_ROWS = 24


@dataclasses.dataclass(frozen=True)
class Row:
    """The values at a step at which something happens.

    Attributes:
        step: The step, counted from 0.
        epoch: The step in epochs, or None where the recipe does not say how long one is.
        what: What happens there: ``"start"``, ``"warm-up ends"``, ``"milestone"``, ``"last step"``, ...
        values: For each group its lr, momentum and weight decay.
    """

    step: int
    epoch: float | None
    what: tuple[str, ...]
    values: Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class GroupExplanation:
    """One group of parameters.

    Attributes:
        rules: The rules whose matches are in the group, in words.
        hyperparameters: Each hyperparameter written out, lengths in steps and in epochs; None where the group is
            frozen.
        origin: For each hyperparameter where its number came from.
        parameters: The number of parameters and the number of their entries, where these are known.
        constants: Those hyperparameters that are numbers, truth values or strings, as such.
    """

    rules: tuple[str, ...]
    hyperparameters: Mapping[str, str] | None
    origin: Mapping[str, str]
    parameters: tuple[int, int] | None = None
    constants: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What `explain` returns: data that prints as text.

    Attributes:
        optimizer: The name of the optimizer.
        steps: Length of the run in steps, or None.
        steps_per_epoch: Steps in an epoch, or None.
        epochs: Length of the run in epochs, or None.
        batch_size: Images in a batch, or None.
        batches_to_an_update: The fewest and the most batches per update.
        images_to_an_update: The fewest and the most images per update, or None.
        nominal_batch_size: Images per update that the learning rates are meant for, or None.
        accumulate: Accumulation in words; empty where there is none.
        clip: Clipping in words; empty where there is none.
        ema: The average of the parameters in words; empty where there is none.
        groups: Each group by name.
        rows: The steps at which something happens, in order.
        rows_left_out: The number of further such steps.
        parameters: The table of parameters, where they were given.
        notes: What a port left out or decided.
        origin: For a field, or ``group.hyperparameter``, where its number came from.
    """

    optimizer: str
    steps: int | None
    steps_per_epoch: int | None
    epochs: float | None
    batch_size: int | None
    batches_to_an_update: tuple[int, int]
    images_to_an_update: tuple[int, int] | None
    nominal_batch_size: int | None
    accumulate: str
    clip: str
    ema: str
    groups: Mapping[str, GroupExplanation]
    rows: tuple[Row, ...]
    rows_left_out: int
    parameters: ParameterTable | None
    notes: tuple[str, ...]
    origin: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """All of it as dicts, lists, strings and numbers."""
        result = dataclasses.asdict(dataclasses.replace(self, parameters=None))
        if self.parameters is not None:
            rows = [dataclasses.replace(row, hyperparameters=None) for row in self.parameters]
            result["parameters"] = [dataclasses.asdict(row) for row in rows]
        for group in result["groups"].values():
            constants = group.pop("constants")
            if group["hyperparameters"] is not None:
                group["hyperparameters"] |= constants
        return result

    def __str__(self) -> str:
        return "\n\n".join(sections(self)) + "\n"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return explanation_html(self)


def explain(recipe: Reportable, params: Any = None) -> Explanation:
    """Explain what a recipe does, to which parameters, when, and where each number comes from.

    Args:
        recipe: A recipe, a schedule alone, or an optax transformation made of jaxsched's, such as an ``optax.chain``.
        params: The parameters: adds a table of them and the counts of each group.

    Returns:
        Data that prints as text.

    Raises:
        ValueError: If ``params`` do not fit the rules: a parameter is in no group, or a rule matches none.

    Examples:
        >>> import jaxsched as js
        >>> lr = js.warmup(js.step_decay(0.02, every=8000), steps=500)
        >>> recipe = js.Recipe("sgd", dict(lr=lr, momentum=0.9), steps=12_000, steps_per_epoch=1000)
        >>> print(js.explain(recipe))  # doctest: +ELLIPSIS
        sgd for 12000 steps = 12 epochs of 1000
        <BLANKLINE>
        all groups
          lr        warmup(step_decay(start=0.02, every=8000 [8 epochs], factor=0.1), steps=500 [0.5 epochs], start=0)
          momentum  0.9
          defaults: dampening 0, weight_decay 0, nesterov False, maximize False, ..., bias_correction False
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
    """`explain` of a recipe that was sampled already."""
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
        nominal_batch_size=recipe.nominal_batch_size,
        accumulate=_accumulation(recipe, least, most),
        clip=_clipping(recipe),
        ema="" if recipe.ema is None else f"decay {format_schedule(recipe.ema)}, by update",
        groups=_groups(seen, table),
        rows=rows,
        rows_left_out=left_out,
        parameters=table,
        notes=recipe.notes,
        origin=dict(recipe.origin),
    )


def _groups(seen: Sample, table: ParameterTable | None) -> dict[str, GroupExplanation]:
    rules: dict[str, list[str]] = {}
    for rule in seen.recipe.rules:
        rules.setdefault(rule.group, []).append(rule_text(rule.match))
    counts = {} if table is None else table.counts()
    none = None if table is None else (0, 0)
    return {
        group: _group(seen.recipe, group, values, tuple(rules.get(group, ())), counts.get(group, none))
        for group, values in seen.groups.items()
    }


def _group(
    recipe: Recipe,
    group: str,
    values: Mapping[str, Any] | None,
    rules: tuple[str, ...],
    counts: tuple[int, int] | None,
) -> GroupExplanation:
    if values is None:
        return GroupExplanation(rules, None, {}, counts)
    own = recipe.groups.get(group) or {}

    def origin(name: str) -> str:
        if name in own:
            return recipe.origin.get(f"{group}.{name}", "")
        return recipe.origin.get(name, "") if name in recipe.hyperparameters else "default"

    texts = {
        name: format_schedule(value, recipe.steps_per_epoch) for name, value in values.items() if value is not None
    }
    origins = {name: origin(name) for name in texts if origin(name)}
    constants = {name: _as_plain(values[name]) for name in texts if _is_plain(values[name])}
    return GroupExplanation(rules, texts, origins, counts, constants)


def _is_plain(value: Any) -> bool:
    """Whether JSON has the value as such: a number, a truth value, a string, or a tuple of these."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str | np.generic) and value == value


def _as_plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_as_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _accumulation(recipe: Recipe, least: int, most: int) -> str:
    if recipe.accumulate is None:
        return ""
    text = f"{least} to {most} batches" if least != most else plural(most, "batch")
    text += " per update, averaged" if recipe.accumulate.mean else " per update, summed"
    if recipe.batch_size:
        text += f": {most * recipe.batch_size} images"
    return text + ("; what is left at the end of an epoch is dropped" if recipe.accumulate.drop_at_epoch_end else "")


def _clipping(recipe: Recipe) -> str:
    texts = []
    if recipe.clip_value is not None:
        texts.append(f"each entry of a gradient at {short(recipe.clip_value)}")
    if recipe.clip_each_norm is not None:
        texts.append(f"the gradient of each parameter at norm {format_schedule(recipe.clip_each_norm)}")
    if recipe.clip_norm is not None:
        texts.append(f"all gradients together at norm {format_schedule(recipe.clip_norm)}")
    return ", then ".join(texts)


def _rows(seen: Sample) -> tuple[tuple[Row, ...], int]:
    last = seen.length - 1
    what: dict[int, dict[str, Kind | None]] = {0: {"start": None}}
    for by_name in seen.moments.values():
        for name, found in by_name.items():
            for moment in found:
                if moment.happens and 0 <= moment.step <= last:
                    text = moment.what if name == "lr" else f"{name}: {moment.what}"
                    known = what.setdefault(moment.step, {})
                    if moment.what not in known:
                        known.setdefault(text, moment.kind)
    what.setdefault(last, {})["last step" if seen.recipe.steps else "(no length given)"] = None
    steps = sorted(what)
    shown = steps if len(steps) <= MOST_ROWS else [*steps[: MOST_ROWS - 1], last]
    per_epoch = seen.recipe.steps_per_epoch
    rows = [
        Row(
            step,
            step / per_epoch if per_epoch else None,
            tuple([text for text, kind in what[step].items() if kind != "part"] or what[step]),
            {
                group: {name: seen.at(array, step) for name, array in values.items()}
                for group, values in seen.values.items()
            },
        )
        for step in shown
    ]
    return tuple(rows), len(steps) - len(shown)
