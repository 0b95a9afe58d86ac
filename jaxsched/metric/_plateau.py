"""Metric-driven: a value that falls each time a metric stops improving."""

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

    A hyperparameter of an optimizer, alone or within other schedules: ``warmup(plateau(0.1), 500)``,
    ``cosine(1.0, 1000) * plateau(0.1)``; one to a hyperparameter. `report_metric` is called with the optimizer's state
    once per epoch, or as often as there is a metric. For each report, as torch does:

    1. It is better if ``metric < best * (1 - threshold)``, and ``best`` is then the metric. NaN is not better.
    2. Better reports set the count of bad ones to 0, others add 1; while a cooldown lasts, the count stays 0.
    3. After more than ``patience`` bad reports the value becomes ``max(value * factor, floor)``, if that is lower by
       more than ``least_change``; the count starts again, after ``cooldown`` further reports.

    The value changes with the next update. Called as a schedule, by itself, it gives ``base``: the value if nothing is
    ever reported.

    Args:
        base: The value at first.
        factor: What a reduction multiplies by, < 1.
        patience: How many bad reports in a row are borne; the next one reduces.
        threshold: How much better is better.
        relative: Whether ``threshold`` is a share of ``best``; else ``metric < best - threshold`` is better.
        maximize: Whether larger is better: ``metric > best * (1 + threshold)``, or ``best + threshold``.
        cooldown: Reports after a reduction in which bad ones are not counted.
        floor: The least value. A value already below it stays.
        least_change: A reduction by no more than this is not made.
        since: Reports before this many are not looked at (of warm-up, say).
        until: Reports from this many on are not looked at; None: no end.

    Raises:
        ValueError: If ``factor`` is 1 or more, or a count is negative.

    Source: ``torch/optim/lr_scheduler.py``, ReduceLROnPlateau, torch 2.13.0. With ``since``, timm's
    PlateauLRScheduler, which looks at no epoch of its warm-up (1.0.31); with both, mmengine's ReduceOnPlateau
    (0.10.7). ``optax.contrib.reduce_on_plateau`` reduces one report earlier and scales updates instead.

    Example:
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
    """What has become of a `plateau`."""

    value: jax.Array
    """What the next update uses in the place of ``base``; float32 []."""
    best: jax.Array
    """The best metric; float32 [], infinite before the first."""
    bad: jax.Array
    """Reports without improvement since the last with one; int32 []."""
    cooldown: jax.Array
    """Reports for which the cooldown still lasts; int32 []."""
    reports: jax.Array
    """Reports so far; int32 []."""
    settings: PlateauSettings
    """As at the last update; each update takes them anew from the definition."""


def start(definition: Schedule) -> PlateauState:
    """The state before any report."""
    settings = _settings(definition)
    zero = jnp.zeros((), jnp.int32)
    return PlateauState(real(definition.arguments["base"]), worst(settings.maximize), zero, zero, zero, settings)


def report(states: list[PlateauState], metric: jax.Array) -> list[PlateauState]:
    """Each moves on by itself."""
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
    """Whether a metric is better than the best by more than the ``threshold`` of the settings."""
    margin = jnp.where(s.maximize, -s.threshold, s.threshold)
    limit = jnp.where(s.relative, best * (1 - margin), best - margin)
    return jnp.where(s.maximize, metric > limit, metric < limit)


def worst(maximize: jax.Array) -> jax.Array:
    """The best metric before the first."""
    return jnp.where(maximize, -jnp.inf, jnp.inf).astype(real(0).dtype)


def _settings(definition: Schedule) -> PlateauSettings:
    a = definition.arguments
    whole = {name: jnp.asarray(a[name], jnp.int32) for name in ("patience", "cooldown", "since")}
    reals = {name: real(a[name]) for name in ("factor", "threshold", "floor", "least_change")}
    until = jnp.asarray(MAX_STEP if a["until"] is None else a["until"], jnp.int32)
    return PlateauSettings(
        **whole, **reals, relative=jnp.asarray(a["relative"]), maximize=jnp.asarray(a["maximize"]), until=until
    )
