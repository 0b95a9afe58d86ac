"""Metric-driven: a value that falls each time a metric stops improving.

In an expression `plateau` is a schedule like any other. What has become of it lives in the optimizer's state, where the
driver reads it and `report_metric` moves it on: pure functions of arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxsched.schedules import Count, Number, Schedule
from jaxsched.schedules._checks import MAX_STEP, is_host_number, number
from jaxsched.schedules._schedule import real, schedule


def below_one(name: str, value: Any) -> Any:
    value = number(name, value)
    if is_host_number(value) and value >= 1:
        raise ValueError(f"{name} must be below 1, got {value!r}")
    return value


@schedule
def plateau(
    step: jax.Array,
    base: Number,
    factor: Annotated[float | jax.Array, below_one] = 0.1,
    patience: Count = 10,
    *,
    threshold: Number = 1e-4,
    relative: bool = True,
    maximize: bool = False,
    cooldown: Count = 0,
    floor: Number = 0.0,
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
        >>> float(js.plateau_state(state)["weight"]["lr"].value)
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


def report_metric(opt_state: Any, metric: ArrayLike) -> Any:
    """The state after a metric was reported to each `plateau` in it.

    Args:
        opt_state: Anything that holds the state of an optimizer of jaxsched, as for `hyperparams`. The Variables of an
            ``nnx.Optimizer`` are written in place, as its own ``update`` does; all else is left as it was.
        metric: A number, such as the validation loss. In float32 (float64 under ``jax_enable_x64``).

    Returns:
        ``opt_state`` with its plateaus moved on.

    Raises:
        ValueError: If no hyperparameter is a `plateau`, or ``metric`` is not one number.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> state = js.sgd(lr=js.plateau(0.1, patience=0)).init({"kernel": jnp.ones(2)})
        >>> state = js.report_metric(js.report_metric(state, 1.0), 2.0)
        >>> round(float(js.plateau_state(state)["weight"]["lr"].value), 7)
        0.01
    """
    metric = real(metric)
    if metric.shape != ():
        raise ValueError(f"report_metric: the metric must be one number, got an array of shape {metric.shape}")
    tree = getattr(opt_state, "opt_state", opt_state)
    if not any(map(_is_state, jax.tree.leaves(tree, is_leaf=_is_state))):
        raise ValueError(f"report_metric: no hyperparameter in {type(opt_state).__name__} is a plateau")
    moved = jax.tree.map(
        lambda x: reboxed(x, _report(unboxed(x), metric)) if _is_state(x) else x, tree, is_leaf=_is_state
    )
    if tree is opt_state:
        return moved
    return opt_state.replace(opt_state=moved) if hasattr(opt_state, "replace") else opt_state


def plateau_state(opt_state: Any) -> dict[str, dict[str, PlateauState]]:
    """For each group and hyperparameter that is a `plateau` its state: value, best metric, count of bad reports.

    Args:
        opt_state: Anything that holds the state of an optimizer of jaxsched, as for `hyperparams`.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> state = js.sgd(lr=js.plateau(0.1)).init({"kernel": jnp.ones(2)})
        >>> int(js.plateau_state(js.report_metric(state, jnp.nan))["weight"]["lr"].bad)
        1
    """
    from jaxsched.optimizers._state import OptimizerState, states  # here: that file is written with this one

    found: dict[str, dict[str, PlateauState]] = {}
    for state in states(opt_state, OptimizerState):
        for group, by_name in state.plateau.items():
            found.setdefault(group, {}).update({name: unboxed(value) for name, value in by_name.items()})
    return found


def _report(state: PlateauState, metric: jax.Array) -> PlateauState:
    s = state.settings
    margin = jnp.where(s.maximize, -s.threshold, s.threshold)
    limit = jnp.where(s.relative, state.best * (1 - margin), state.best - margin)
    better = jnp.where(s.maximize, metric > limit, metric < limit)
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


def _is_state(node: Any) -> bool:
    return isinstance(node, PlateauState)


def _is_variable(node: Any) -> bool:
    return hasattr(node, "get_value")


def unboxed(tree: Any) -> Any:
    """A tree with its arrays out of the NNX Variables that may hold them."""
    return jax.tree.map(lambda x: x.get_value() if _is_variable(x) else x, tree, is_leaf=_is_variable)


def reboxed(old: Any, new: Any) -> Any:
    """``new``, a tree like ``old``; where ``old`` has NNX Variables these, written in place."""

    def one(box: Any, value: jax.Array) -> Any:
        if not _is_variable(box):
            return value
        box.set_value(value)
        return box

    return jax.tree.map(one, old, new, is_leaf=_is_variable)


# What the driver does with them.


def definitions(values: Mapping[str, Any]) -> dict[str, Schedule]:
    """The plateau in each hyperparameter that has one.

    Raises:
        ValueError: If a hyperparameter has two.
    """
    found = {}
    for name, value in values.items():
        here = [leaf for leaf in jax.tree.leaves(value, is_leaf=_is_plateau) if _is_plateau(leaf)]
        if len(here) > 1:
            raise ValueError(f"{name} holds {len(here)} plateaus, {here!r}; a hyperparameter may hold one")
        if here:
            found[name] = here[0]
    return found


def start(values: Mapping[str, Any]) -> dict[str, PlateauState]:
    """The state of each plateau among hyperparameters before any report."""
    zero = jnp.zeros((), jnp.int32)
    states = {}
    for name, definition in definitions(values).items():
        settings = _settings(definition)
        worst = jnp.where(settings.maximize, -jnp.inf, jnp.inf).astype(real(0).dtype)
        states[name] = PlateauState(real(definition.arguments["base"]), worst, zero, zero, zero, settings)
    return states


def refresh(values: Mapping[str, Any], states: Mapping[str, PlateauState]) -> dict[str, PlateauState]:
    """The states with the settings of the definitions, which may have changed since, as after a checkpoint."""
    found = definitions(values)
    if set(found) != set(states):
        raise ValueError(
            f"the plateaus of the optimizer are {sorted(found)}, but the state has {sorted(states)}: it was made by "
            "another optimizer; make it anew with init"
        )
    return {name: states[name]._replace(settings=_settings(definition)) for name, definition in found.items()}


def resolve(values: Mapping[str, Any], states: Mapping[str, PlateauState]) -> dict[str, Any]:
    """The hyperparameters with the present value of each plateau in place of its base."""

    def one(leaf: Any, state: PlateauState) -> Any:
        return Schedule(leaf.maker, {**leaf.arguments, "base": state.value}) if _is_plateau(leaf) else leaf

    def resolved(name: str, value: Any) -> Any:
        if name not in states:
            return value
        return jax.tree.map(lambda leaf: one(leaf, states[name]), value, is_leaf=_is_plateau)

    return {name: resolved(name, value) for name, value in values.items()}


def _is_plateau(value: Any) -> bool:
    return isinstance(value, Schedule) and value.maker is plateau


def _settings(definition: Schedule) -> PlateauSettings:
    a = definition.arguments
    whole = {name: jnp.asarray(a[name], jnp.int32) for name in ("patience", "cooldown", "since")}
    reals = {name: real(a[name]) for name in ("factor", "threshold", "floor", "least_change")}
    until = jnp.asarray(MAX_STEP if a["until"] is None else a["until"], jnp.int32)
    return PlateauSettings(
        **whole, **reals, relative=jnp.asarray(a["relative"]), maximize=jnp.asarray(a["maximize"]), until=until
    )
