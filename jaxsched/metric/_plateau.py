"""A value that is reduced each time a metric stops improving."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsched.checks import Count, Floor, Number, Peak, number
from jaxsched.numerics import MAX_STEP, is_host_number, real
from jaxsched.schedules import Schedule, no_moments, schedule


def below_one(name: str, value: Any) -> Any:
    value = number(name, value)
    if is_host_number(value) and value >= 1:
        raise ValueError(f"{name} must be below 1, got {value!r}")
    return value


@schedule(moments=no_moments)
def plateau(
    step: jax.Array,
    base: Peak,
    factor: Annotated[float | jax.Array, below_one] = 0.1,
    patience: Count = 10,
    *,
    threshold: Number = 1e-4,
    relative: bool = True,
    maximize: bool = False,
    cooldown: Count = 0,
    floor: Floor = 0.0,
    least_change: Number = 1e-8,
    since: Count = 0,
    until: Count | None = None,
) -> jax.Array:
    """``base``, multiplied by ``factor`` each time a reported metric has stopped improving.

    It is a hyperparameter of an optimizer, alone or within other schedules: ``warmup(plateau(0.1), 500)``,
    ``cosine(1.0, 1000) * plateau(0.1)``; at most one in each. Call `report_metric` with the optimizer's state once per
    epoch, or as often as there is a metric. For each report, as in torch:

    1. The metric is better if ``metric < best * (1 - threshold)``, and ``best`` is then the metric. NaN is not better.
    2. Better reports set the count of bad ones to 0, others add 1; while a cooldown lasts, the count stays 0.
    3. After more than ``patience`` bad reports the value becomes ``max(value * factor, floor)``, if that is lower by
       more than ``least_change``; the count starts again, after ``cooldown`` further reports.

    The next update uses the new value. Called as a schedule it gives ``base``, the value if nothing is reported.

    ``floor`` and ``least_change`` act on the value of the plateau alone. In torch they act on the learning rate, which
    other schedulers have a part in: ``cosine(1.0, 1000) * plateau(0.1, floor=1e-3)`` falls below 1e-3, torch's pair
    does not.

    Args:
        base: The initial value.
        factor: Factor of a reduction, < 1.
        patience: Number of bad reports in a row that are tolerated; the next one reduces the value.
        threshold: How much better a metric must be to count as better.
        relative: Whether ``threshold`` is a share of ``best``; otherwise ``metric < best - threshold`` is better.
        maximize: Whether larger metrics are better: ``metric > best * (1 + threshold)``, or ``best + threshold``.
        cooldown: Reports after a reduction in which bad ones are not counted.
        floor: The least value. A value below it already is kept.
        least_change: Reductions by no more than this are not made.
        since: Number of reports at first that are ignored, as during warm-up.
        until: Number of reports after which all are ignored; None: no end.

    Raises:
        ValueError: If ``factor`` is 1 or more, or a count is negative.

    Source: ``torch/optim/lr_scheduler.py``, ReduceLROnPlateau, torch 2.13.0. With ``since``, timm's
    PlateauLRScheduler, which ignores the epochs of its warm-up (1.0.31); with both, mmengine's ReduceOnPlateau
    (0.10.7). ``optax.contrib.reduce_on_plateau`` reduces one report earlier and scales updates instead.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.sgd(lr=js.plateau(0.1, factor=0.5, patience=1))
        >>> params = {"kernel": jnp.ones(2)}
        >>> state = tx.init(params)
        >>> for loss in (3.0, 3.0, 3.0):
        ...     updates, state = tx.update(params, state, params)
        ...     state = js.report_metric(state, loss)
        >>> float(js.metric_state(state)["weight"]["lr"].value)
        0.05000000074505806
    """
    del step, factor, patience, threshold, relative, maximize, cooldown, floor, least_change, since, until
    return real(base)


class PlateauSettings(NamedTuple):
    """The arguments of a `plateau` as arrays, so that a report needs nothing but the state."""

    factor: jax.Array
    patience: jax.Array
    threshold: jax.Array
    relative: jax.Array
    maximize: jax.Array
    cooldown: jax.Array
    floor: jax.Array
    least_change: jax.Array
    since: jax.Array
    until: jax.Array


class PlateauState(NamedTuple):
    """The state of a `plateau`.

    Attributes:
        value: The value that the next update uses in place of ``base``; float32 [].
        best: The best metric; float32 []. Before the first better one the largest float32, or the smallest: an infinity
            would stop a run under ``jax_debug_infs``.
        bad: Bad reports since the last better one; int32 [].
        cooldown: Reports that are left of the cooldown; int32 [].
        reports: Reports so far; int32 [].
        settings: The arguments as of the last update, which takes them from the definition.
    """

    value: jax.Array
    best: jax.Array
    bad: jax.Array
    cooldown: jax.Array
    reports: jax.Array
    settings: PlateauSettings


def start(definition: Schedule) -> PlateauState:
    """The state before any report."""
    settings = _settings(definition)
    zero = jnp.zeros((), jnp.int32)
    return PlateauState(real(definition.arguments["base"]), worst(settings.maximize), zero, zero, zero, settings)


def report(states: list[PlateauState], metric: jax.Array) -> list[PlateauState]:
    """The states after a report, each by itself."""
    return [_report(state, metric) for state in states]


def _report(state: PlateauState, metric: jax.Array) -> PlateauState:
    s = state.settings
    better = is_better(metric, state.best, s)
    cooling = state.cooldown > 0
    bad = jnp.where(better | cooling, 0, state.bad + 1)
    due = bad > s.patience
    lower = jnp.maximum(state.value * s.factor, s.floor)
    counted = PlateauState(
        value=jnp.where(due & (state.value - lower > s.least_change), lower, state.value),
        best=jnp.where(better, metric.astype(state.best.dtype), state.best),
        bad=jnp.where(due, 0, bad),
        cooldown=jnp.where(due, s.cooldown, jnp.maximum(state.cooldown - 1, 0)),
        reports=state.reports,
        settings=s,
    )
    heard = (s.since <= state.reports) & (state.reports < s.until)
    after = jax.tree.map(lambda new, old: jnp.where(heard, new, old), counted, state)
    return after._replace(reports=jnp.minimum(state.reports, MAX_STEP - 1) + 1)


def is_better(metric: jax.Array, best: jax.Array, s: Any) -> jax.Array:
    """Whether a metric is better than the best by more than the ``threshold``.

    Before the first the best is infinite in torch, and so is the limit, unless a relative threshold of 1 or more makes
    it NaN or turns its sign: then no metric is ever better.
    """
    kind = jnp.finfo(best.dtype)
    is_first = jnp.where(s.maximize, best <= kind.min, best >= kind.max)
    best = jnp.where(is_first, 0, best)
    margin = jnp.where(s.maximize, -s.threshold, s.threshold)
    limit = jnp.where(s.relative, best * (1 - margin), best - margin)
    is_past = jnp.where(s.maximize, metric > limit, metric < limit)
    is_any = jnp.where(s.maximize, metric >= kind.min, metric <= kind.max) & (~s.relative | (margin < 1))
    return jnp.where(is_first, is_any, is_past)


def worst(maximize: jax.Array) -> jax.Array:
    """The best metric before the first."""
    kind = jnp.finfo(real(0).dtype)
    return jnp.where(maximize, jnp.asarray(kind.min, kind.dtype), jnp.asarray(kind.max, kind.dtype))


def _settings(definition: Schedule) -> PlateauSettings:
    a = definition.arguments
    whole = {name: jnp.asarray(a[name], jnp.int32) for name in ("patience", "cooldown", "since")}
    reals = {name: real(a[name]) for name in ("factor", "threshold", "floor", "least_change")}
    until = jnp.asarray(MAX_STEP if a["until"] is None else a["until"], jnp.int32)
    return PlateauSettings(
        **whole, **reals, relative=jnp.asarray(a["relative"]), maximize=jnp.asarray(a["maximize"]), until=until
    )
