"""Metrics reported to the state of an optimizer, and the state of the hyperparameters that follow them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from jax.typing import ArrayLike

from jaxsched.checks import short
from jaxsched.groups import reboxed, unboxed
from jaxsched.metric.internal import FOLLOWERS, State, States
from jaxsched.numerics import real
from jaxsched.optimizers._state import OptimizerState, merged, states


def report_metric(opt_state: Any, metric: ArrayLike) -> Any:
    """Report a metric to each `plateau` and `greedy` in a state.

    Args:
        opt_state: Anything that holds the state of an optimizer of jaxsched, as for `hyperparams`. The Variables of an
            ``nnx.Optimizer`` are written in place, as by its own ``update``; nothing else is changed.
        metric: A number, such as the validation loss; float32 (float64 under ``jax_enable_x64``).

    Returns:
        ``opt_state`` after the report.

    Raises:
        ValueError: If no hyperparameter is a `plateau` or `greedy`, or ``metric`` is an array of several.
        TypeError: If ``metric`` is no number.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> state = js.sgd(lr=js.plateau(0.1, patience=0)).init({"kernel": jnp.ones(2)})
        >>> state = js.report_metric(js.report_metric(state, 1.0), 2.0)
        >>> round(float(js.metric_state(state)["weight"]["lr"].value), 7)
        0.01
    """

    if isinstance(metric, str | bytes | None):
        raise TypeError(f"report_metric: the metric must be a number, got {short(metric)}")
    metric = real(metric)
    if metric.shape != ():
        raise ValueError(f"report_metric: the metric must be one number, got an array of shape {metric.shape}")
    tree = getattr(opt_state, "opt_state", opt_state)
    if not any(state.plateau for state in states(tree, OptimizerState)):
        raise ValueError(f"report_metric: no hyperparameter in {type(opt_state).__name__} is a plateau or a greedy")

    def one(node: Any) -> Any:
        if not isinstance(node, OptimizerState):
            return node
        return node._replace(plateau=reboxed(node.plateau, _reported(unboxed(node.plateau), metric)))

    moved = jax.tree.map(one, tree, is_leaf=lambda node: isinstance(node, OptimizerState))
    if tree is opt_state:
        return moved
    return opt_state.replace(opt_state=moved) if hasattr(opt_state, "replace") else opt_state


def _reported(by_group: Mapping[str, States], metric: jax.Array) -> dict[str, dict[str, State]]:
    moved = {group: dict(by_name) for group, by_name in by_group.items()}
    for name in sorted({name for by_name in moved.values() for name in by_name}):
        for follower in FOLLOWERS.values():
            groups = [group for group, own in moved.items() if isinstance(own.get(name), follower.state)]
            after = follower.report([moved[group][name] for group in groups], metric) if groups else []
            for group, state in zip(groups, after, strict=True):
                moved[group][name] = state
    return moved


def metric_state(opt_state: Any) -> dict[str, dict[str, State]]:
    """The state of each hyperparameter that follows a metric, by group and name: its value, the best metric, counts.

    It is a `PlateauState` for a `plateau` and a `GreedyState` for a `greedy`.

    Args:
        opt_state: Anything that holds the state of an optimizer of jaxsched, as for `hyperparams`.

    Raises:
        ValueError: If two optimizers have a group of the same name in which something follows a metric.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> state = js.sgd(lr=js.plateau(0.1)).init({"kernel": jnp.ones(2)})
        >>> int(js.metric_state(js.report_metric(state, jnp.nan))["weight"]["lr"].bad)
        1
    """

    found = states(opt_state, OptimizerState)
    return merged("metric_state", [{group: unboxed(own) for group, own in state.plateau.items()} for state in found])
