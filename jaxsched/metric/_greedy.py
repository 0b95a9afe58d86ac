"""A value that rises while a metric improves, and falls while it does not."""

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
    """``base``, divided by ``factor`` after a run of better reports and multiplied by it after a run of bad ones.

    It is a hyperparameter of an optimizer, alone or within other schedules, and `report_metric` changes it, as it does
    a `plateau`. For each report, as in transformers:

    1. With a ``window`` the metric is the mean of the last ``window`` metrics, or of all while there are fewer. It is
       kept as a running sum, so that a NaN or an infinity lasts until the next restart.
    2. During a pause the report only counts it down and ends the run of better or bad reports.
    3. The metric is better if ``metric < best - threshold``, and ``best`` is then the metric. NaN is not better.
    4. After more than ``patience`` better reports in a row the value becomes ``min(value / factor, ceiling)``, if that
       is higher by more than ``least_change``; a pause of ``warmup`` reports follows.
    5. After more than ``patience`` bad ones in a row it becomes ``max(value * factor, floor)``, if that is lower by
       more than ``least_change``; a pause of ``cooldown`` reports follows.
    6. After ``restart`` reductions (one, for 0) that leave the value at or below the floor, with no rise between them,
       it starts again: the value is ``base``, and there is no best metric. Where the hyperparameter is `greedy` in
       several groups, all of them must be at their floors.

    The next update uses the new value. Called as a schedule it gives ``base``, the value if nothing is reported.
    ``floor``, ``ceiling`` and ``least_change`` act on this value alone, before any schedule it is multiplied by.

    Args:
        base: The initial value.
        factor: Factor of a reduction, and divisor of a rise, > 0 and < 1.
        patience: Number of better or of bad reports in a row that change nothing; the next one does.
        threshold: How much better a metric must be to count as better.
        relative: Whether ``threshold`` is a share of ``best``: ``metric < best * (1 - threshold)`` is better.
        maximize: Whether larger metrics are better: ``metric > best + threshold``, or ``best * (1 + threshold)``.
        cooldown: Reports in the pause after a reduction.
        warmup: Reports in the pause after a rise.
        floor: The least value. A value below it already is not lowered.
        ceiling: The greatest value. A value above it already is not raised.
        least_change: Changes by no more than this are not made.
        window: Number of metrics in the mean; None: no mean. It is the size of an array: an int, also inside jit.
        restart: Reductions at the floor after which it starts again.

    Raises:
        TypeError: If ``window`` is an array.
        ValueError: If ``factor`` is not in (0, 1), or a count is negative.

    Source: ``transformers/optimization.py``, GreedyLR, transformers 5.23.0; https://arxiv.org/abs/2512.14527.

    Examples:
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
    """The state of a `greedy`.

    Attributes:
        value: The value that the next update uses in place of ``base``; float32 [].
        best: The best metric; float32 [], before the first as in a `PlateauState`.
        good: Better reports in a row; int32 [].
        bad: Bad reports in a row; int32 [].
        pause: Reports that are left of the pause; int32 [].
        left: Reductions at the floor until it starts again; int32 [].
        recent: The last metrics, the newest last, 0 before the first; float32 [window], or [0].
        total: Their running sum; float32 [].
        held: Number of metrics in the sum; int32 [].
        settings: The arguments as of the last update, which takes them from the definition.
    """

    value: jax.Array
    best: jax.Array
    good: jax.Array
    bad: jax.Array
    pause: jax.Array
    left: jax.Array
    recent: jax.Array
    total: jax.Array
    held: jax.Array
    settings: GreedySettings


def start(definition: Schedule) -> GreedyState:
    """The state before any report."""
    return _anew(_settings(definition), definition.arguments["window"] or 0)


def report(states: list[GreedyState], metric: jax.Array) -> list[GreedyState]:
    """The states after a report, each by itself but for the restart, which is joint."""
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
    return GreedyState(
        value=s.base,
        best=worst(s.maximize).astype(none.dtype),
        good=count,
        bad=count,
        pause=count,
        left=s.restart,
        recent=jnp.zeros(window, none.dtype),
        total=none,
        held=count,
        settings=s,
    )


def _settings(definition: Schedule) -> GreedySettings:
    a = definition.arguments
    whole = {name: jnp.asarray(a[name], jnp.int32) for name in ("patience", "cooldown", "warmup", "restart")}
    reals = {name: real(a[name]) for name in ("base", "factor", "threshold", "floor", "ceiling", "least_change")}
    return GreedySettings(**whole, **reals, relative=jnp.asarray(a["relative"]), maximize=jnp.asarray(a["maximize"]))
