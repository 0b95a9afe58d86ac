"""Metric-driven: a value that rises while a metric improves, and falls while it does not."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsched.checks import ArraySize, Count, Floor, Number, Peak, positive
from jaxsched.metric._plateau import below_one, is_better, worst
from jaxsched.numerics import real
from jaxsched.schedules import Schedule, no_moments, schedule


def _share(name: str, value: Any) -> Any:
    return below_one(name, positive(name, value))


@schedule(moments=no_moments)
def greedy(
    step: jax.Array,
    base: Peak,
    factor: Annotated[float | jax.Array, _share] = 0.95,
    patience: Count = 10,
    *,
    threshold: Number = 1e-6,
    relative: bool = False,
    maximize: bool = False,
    cooldown: Count = 0,
    warmup: Count = 0,
    floor: Floor = 1e-3,
    ceiling: Number = 1.0,
    least_change: Number = 1e-8,
    window: ArraySize | None = None,
    restart: Count = 500,
) -> jax.Array:
    """``base``, divided by ``factor`` after a row of better reports and multiplied by it after a row of bad ones.

    A hyperparameter of an optimizer, alone or within other schedules, moved by `report_metric`, as `plateau` is. For
    each report, as transformers does:

    1. With a ``window`` the metric is the mean of the last so many (of all, while there are fewer; kept as a running
       sum, which a NaN or an infinity spoils until the next restart).
    2. In a pause nothing more is done than to count it down, and the rows of better and of bad reports are broken.
    3. It is better if ``metric < best - threshold``, and ``best`` is then the metric. NaN is not better.
    4. After more than ``patience`` better reports in a row the value becomes ``min(value / factor, ceiling)``, if that
       is higher by more than ``least_change``; a pause of ``warmup`` reports follows.
    5. After more than ``patience`` bad ones in a row it becomes ``max(value * factor, floor)``, if that is lower by
       more than ``least_change``; a pause of ``cooldown`` reports follows.
    6. When 5 has come about ``restart`` times (or once, for 0) with the value then at the floor or below it, and 4 not
       in between, all is as in the beginning: the value is ``base``, and there is no best metric. Where the
       hyperparameter is `greedy` in several groups, those of all must be at their floors.

    The value changes with the next update. Called as a schedule, by itself, it gives ``base``: the value if nothing is
    ever reported.

    Args:
        base: The value at first.
        factor: What a reduction multiplies by and a rise divides by, > 0 and < 1.
        patience: How many reports of a kind in a row change nothing; the next one does.
        threshold: How much better is better.
        relative: Whether ``threshold`` is a share of ``best``: ``metric < best * (1 - threshold)`` is better.
        maximize: Whether larger is better: ``metric > best + threshold``, or ``best * (1 + threshold)``.
        cooldown: Reports in the pause after a reduction.
        warmup: Reports in the pause after a rise.
        floor: The least value. A value already below it is not lowered.
        ceiling: The greatest value. A value already above it is not raised.
        least_change: A change by no more than this is not made.
        window: Metrics in the mean; None: no mean. A size: an int, also inside jit.
        restart: Reductions at the floor after which all starts anew.

    Raises:
        TypeError: If ``window`` is an array.
        ValueError: If ``factor`` is not in (0, 1), or a count is negative.

    Source: ``transformers/optimization.py``, GreedyLR, transformers 5.23.0; https://arxiv.org/abs/2512.14527.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.sgd(lr=js.metric.greedy(0.1, factor=0.5, patience=1))
        >>> params = {"kernel": jnp.ones(2)}
        >>> state = tx.init(params)
        >>> for loss in (3.0, 2.0, 1.0):
        ...     updates, state = tx.update(params, state, params)
        ...     state = js.report_metric(state, loss)
        >>> float(js.metric_state(state)["weight"]["lr"].value)
        0.20000000298023224
    """
    del step, factor, patience, threshold, relative, maximize, cooldown, warmup, floor, ceiling, least_change, window
    del restart
    return real(base)


class GreedySettings(NamedTuple):
    """The arguments of a `greedy` as arrays, so that a report needs nothing but the state."""

    base: jax.Array
    factor: jax.Array
    patience: jax.Array
    threshold: jax.Array
    relative: jax.Array
    maximize: jax.Array
    cooldown: jax.Array
    warmup: jax.Array
    floor: jax.Array
    ceiling: jax.Array
    least_change: jax.Array
    restart: jax.Array


class GreedyState(NamedTuple):
    """What has become of a `greedy`."""

    value: jax.Array
    """What the next update uses in the place of ``base``; float32 []."""
    best: jax.Array
    """The best metric; float32 [], infinite before the first."""
    good: jax.Array
    """Better reports in a row; int32 []."""
    bad: jax.Array
    """Bad reports in a row; int32 []."""
    pause: jax.Array
    """Reports for which the pause still lasts; int32 []."""
    left: jax.Array
    """Reductions at the floor until all starts anew; int32 []."""
    recent: jax.Array
    """The last metrics, the newest last, 0 before the first; float32 [window], or [0]."""
    total: jax.Array
    """Their running sum; float32 []."""
    held: jax.Array
    """How many of them there are; int32 []."""
    settings: GreedySettings
    """As at the last update; each update takes them anew from the definition."""


def start(definition: Schedule) -> GreedyState:
    """The state before any report."""
    return _anew(_settings(definition), definition.arguments["window"] or 0)


def report(states: list[GreedyState], metric: jax.Array) -> list[GreedyState]:
    """Each moves on by itself, but for the restart, which is of all together."""
    moved = [_report(state, metric) for state in states]
    at_floor = jnp.asarray([state.value <= state.settings.floor for state, _ in moved]).all()
    return [_restarted(state, reduced & at_floor) for state, reduced in moved]


def _report(state: GreedyState, metric: jax.Array) -> tuple[GreedyState, jax.Array]:
    """The state after a report, and whether the metric called for a reduction."""
    s = state.settings
    metric = metric.astype(state.best.dtype)
    window = state.recent.size
    if window:
        total = state.total + metric - state.recent[0]
        held = jnp.minimum(state.held + 1, window)
        state = state._replace(recent=jnp.append(state.recent[1:], metric), total=total, held=held)
        metric = total / held
    heard = state.pause <= 0
    better = heard & is_better(metric, state.best, s)
    good = jnp.where(better, state.good + 1, 0)
    bad = jnp.where(heard & ~better, state.bad + 1, 0)
    up, down = good > s.patience, bad > s.patience
    higher = jnp.minimum(state.value / s.factor, s.ceiling)
    lower = jnp.maximum(state.value * s.factor, s.floor)
    value = jnp.where(up & (higher - state.value > s.least_change), higher, state.value)
    value = jnp.where(down & (state.value - lower > s.least_change), lower, value)
    pause = jnp.where(up, s.warmup, jnp.where(down, s.cooldown, jnp.maximum(state.pause - 1, 0)))
    after = state._replace(
        value=value,
        best=jnp.where(better, metric, state.best),
        good=jnp.where(up, 0, good),
        bad=jnp.where(down, 0, bad),
        pause=pause,
        left=jnp.where(up, s.restart, state.left),
    )
    return after, down


def _restarted(state: GreedyState, counts: jax.Array) -> GreedyState:
    """The state after a reduction that counts as one at the floor, or not."""
    state = state._replace(left=jnp.where(counts, state.left - 1, state.left))
    anew = _anew(state.settings, state.recent.size)._replace(pause=state.pause)
    return jax.tree.map(lambda new, old: jnp.where(counts & (state.left <= 0), new, old), anew, state)


def _anew(s: GreedySettings, window: int) -> GreedyState:
    none, count = jnp.zeros_like(s.base), jnp.zeros((), jnp.int32)
    recent = jnp.zeros(window, none.dtype)
    return GreedyState(
        value=s.base,
        best=worst(s.maximize).astype(none.dtype),
        good=count,
        bad=count,
        pause=count,
        left=s.restart,
        recent=recent,
        total=none,
        held=count,
        settings=s,
    )


def _settings(definition: Schedule) -> GreedySettings:
    a = definition.arguments
    whole = {name: jnp.asarray(a[name], jnp.int32) for name in ("patience", "cooldown", "warmup", "restart")}
    reals = {name: real(a[name]) for name in ("base", "factor", "threshold", "floor", "ceiling", "least_change")}
    return GreedySettings(**whole, **reals, relative=jnp.asarray(a["relative"]), maximize=jnp.asarray(a["maximize"]))
