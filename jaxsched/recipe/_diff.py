"""The differences between two recipes: the field or hyperparameter, its group, the steps and the values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxsched.metric.internal import definitions
from jaxsched.numerics import is_host_number
from jaxsched.optimizers.internal import role_of
from jaxsched.recipe._of_parts import Reportable, as_recipe
from jaxsched.recipe._recipe import Accumulation, Recipe
from jaxsched.schedules import Schedule, value_at
from jaxsched.schedules.internal import parts

LONGEST = 2**22
"""The number of steps compared at most: 32 MB for each array of them."""
MOST_EVALUATED = 2**30
"""Values of parts of schedules that are computed at most, at some 10**8 in a second."""
Ranges = tuple[tuple[int, int], ...]


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
"""The value in a `Difference` where one of the recipes does not have it."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """One difference between two recipes.

    Attributes:
        name: The field of the recipe, or the hyperparameter.
        group: The group of the hyperparameter; None for a field of the recipe.
        a: The value in the first recipe: a number where values at steps were compared, `ABSENT` if it has none.
        b: The value in the second recipe.
        steps: The ranges (first, last) of steps at which numbers differ; None where they do not depend on steps.
        at: The step with the largest difference; ``a`` and ``b`` are the values at this step.
    """

    name: str
    group: str | None
    a: Any
    b: Any
    steps: Ranges | None = None
    at: int | None = None

    def __str__(self) -> str:
        return _line(self, (self.group,))


class Differences(tuple[Difference, ...]):
    """The differences: a tuple of `Difference`, empty if there are none.

    It prints one line for each; groups with the same difference share a line.
    """

    __slots__ = ()

    def __str__(self) -> str:
        groups: dict[str, list[str | None]] = {}
        alike = {}
        for difference in self:
            key = _line(difference, ())
            groups.setdefault(key, []).append(difference.group)
            alike[key] = difference
        return "\n".join(_line(alike[key], tuple(groups[key])) for key in groups) if self else "no difference"

    __repr__ = __str__


def _line(difference: Difference, groups: tuple[str | None, ...]) -> str:
    d = difference
    of = f" ({', '.join(map(str, groups))})" if groups and d.group is not None else ""
    line = f"{d.name}{of}: {_text(d.a)} -> {_text(d.b)}"
    if d.steps is None:
        return line
    shown = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in d.steps[:4])
    more = f" and {len(d.steps) - 4} more ranges" if len(d.steps) > 4 else ""
    return f"{line} at step {d.at}; differs at {shown}{more}"


def diff(a: Reportable, b: Reportable, *, rtol: float = 1e-6) -> Differences:
    """Compare two recipes by group and step.

    Schedules are compared by their values: two that give the same numbers are equal, however they are written.
    They are compared at all steps that both runs have, up to the first 2**22 (the first 1000 where neither has a
    length; fewer where the recipes are made of more than 250 schedules).

    Args:
        a: A recipe.
        b: Another.
        rtol: Relative tolerance. Schedules are float32, in which two formulas for the same value may differ by 1e-7.

    Returns:
        `Differences`, which prints as text. Notes and origins are not compared, nor are hyperparameters that only one
        of two different optimizers has.

    Examples:
        >>> import jaxsched as js
        >>> recipe = js.Recipe("sgd", dict(lr=js.linear(0.5, 0.0, 4)), steps=4)
        >>> other = js.Recipe("sgd", dict(lr=js.linear(0.5, 0.25, 4)), steps=4, groups={"bias": dict(momentum=0.75)})
        >>> js.diff(recipe, other)
        lr (bias, norm, weight): 0.125 -> 0.3125 at step 3; differs at 1-3
        momentum (bias): 0.0 -> 0.75
    """
    a, b = as_recipe(a), as_recipe(b)
    lengths = [recipe.steps for recipe in (a, b) if recipe.steps is not None]
    most = min(LONGEST, MOST_EVALUATED // (_parts(a) + _parts(b) + 1))
    steps = np.arange(min(*lengths, most) if lengths else 1000)
    return Differences((*_of_fields(a, b, steps, rtol), *_of_groups(a, b, steps, rtol)))


def _parts(recipe: Recipe) -> int:
    """The schedules in all hyperparameters of all groups, since each is evaluated."""
    values = [value for own in recipe.by_group().values() for value in (own or {}).values()]
    return sum(len(list(parts(value))) for value in values if isinstance(value, Schedule))


def _of_fields(a: Recipe, b: Recipe, steps: np.ndarray, rtol: float) -> Iterator[Difference]:
    for name in ("optimizer", "steps", "steps_per_epoch", "batch_size", "rules"):
        x, y = getattr(a, name), getattr(b, name)
        if x != y:
            yield Difference(name, None, x, y)
    for name in ("clip_norm", "clip_value", "clip_each_norm", "ema"):
        yield from _of_values(name, None, getattr(a, name), getattr(b, name), steps, rtol)
    fields = [field.name for field in dataclasses.fields(Accumulation)]
    for name in fields:
        p, q = (None if r.accumulate is None else getattr(r.accumulate, name) for r in (a, b))
        yield from _of_values(f"accumulate.{name}", None, p, q, steps, rtol)


def _of_groups(a: Recipe, b: Recipe, steps: np.ndarray, rtol: float) -> Iterator[Difference]:
    of_a, of_b = a.by_group(), b.by_group()
    for group in dict.fromkeys((*of_a, *of_b)):
        if group not in of_a or group not in of_b:
            there = ["there" if group in of else ABSENT for of in (of_a, of_b)]
            yield Difference("group", group, there[0], there[1])
            continue
        x, y = of_a[group], of_b[group]
        if x is None or y is None:
            if x is not y:
                yield Difference("group", group, *(("frozen", "trained") if x is None else ("trained", "frozen")))
            continue
        if a.optimizer != b.optimizer:
            x, y = ({role_of(name): z for name, z in own.items()} for own in (x, y))
        for name in dict.fromkeys((*x, *y)):
            if (name in x and name in y) or a.optimizer == b.optimizer:  # another optimizer has other hyperparameters
                yield from _of_values(name, group, x.get(name, ABSENT), y.get(name, ABSENT), steps, rtol)


def _of_values(name: str, group: str | None, x: Any, y: Any, steps: np.ndarray, rtol: float) -> Iterator[Difference]:
    if isinstance(x, tuple) and isinstance(y, tuple) and len(x) == len(y):
        for i, (p, q) in enumerate(zip(x, y, strict=True)):
            yield from _of_values(f"{name}[{i}]", group, p, q, steps, rtol)
        return
    if not (_has_values(x) and _has_values(y)):
        if x is not y and x != y:
            yield Difference(name, group, x, y)
        return
    if x is y or (callable(x) and callable(y) and x == y):
        return
    if not callable(x) and not callable(y):
        if _apart(np.asarray(x, np.float64), np.asarray(y, np.float64), rtol).any():
            yield Difference(name, group, x, y)
        return
    yield from _of_plateaus(name, group, x, y)
    at_x, at_y = (np.broadcast_to(np.asarray(value_at(z, steps), np.float64), steps.shape) for z in (x, y))
    apart = _apart(at_x, at_y, rtol)
    if apart.any():
        worst = int(np.argmax(np.where(apart, np.abs(at_x - at_y), 0)))
        yield Difference(name, group, float(at_x[worst]), float(at_y[worst]), _ranges(apart), worst)


def _of_plateaus(name: str, group: str | None, x: Any, y: Any) -> Iterator[Difference]:
    """The values at steps do not show the effect of a metric, so the definitions are compared."""
    p, q = (definitions({name: z}).get(name, ABSENT) for z in (x, y))
    if p != q:
        yield Difference(f"{name}, by metric", group, p, q)


def _has_values(value: Any) -> bool:
    return callable(value) or is_host_number(value) or hasattr(value, "dtype")


def _apart(x: np.ndarray, y: np.ndarray, rtol: float) -> np.ndarray:
    return ~np.isclose(x, y, rtol=rtol, atol=0.0, equal_nan=True)


def _ranges(found: np.ndarray) -> Ranges:
    """The ranges of True as (first, last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], found, [False]]).astype(np.int8)))
    return tuple((int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True))


def _text(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, float) and value % 1 else repr(value)
