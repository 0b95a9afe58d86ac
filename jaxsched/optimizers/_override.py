"""Hyperparameters set by hand, in place of what was scheduled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsched.checks import did_you_mean, short
from jaxsched.groups import unboxed
from jaxsched.numerics import EmaWeights, is_host_number
from jaxsched.optimizers._hyperparameters import Values
from jaxsched.optimizers._roles import role_of
from jaxsched.optimizers._state import OptimizerState, states


def override(opt_state: Any, groups: str | Sequence[str] | None = None, **values: Any) -> Any:
    """The state from which on hyperparameters have these values in place of what they were scheduled to be.

    Works inside ``jax.jit``, and what is set is saved with the state. The first override of a hyperparameter adds an
    array to the state, so that a step compiled before is compiled once more.

    Args:
        opt_state: A state of an optimizer of jaxsched, or anything that holds one, as for `hyperparams`; of an
            ``nnx.Optimizer`` or ``TrainState`` its ``opt_state``.
        groups: The group, or groups, to set; all where left out.
        values: By name a number, or a tuple of them (``betas``); None returns to the schedule.

    Raises:
        ValueError: If there is no such hyperparameter or group, or a value is NaN or infinite (inside ``jax.jit`` this
            is not checked). By the next ``update``, if a hyperparameter was the number 0 when the optimizer was made,
            so that it keeps no slot for it: use ``js.constant(0.0)`` there.
        TypeError: If a value is not a number.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.sgd(lr=js.linear(1.0, 0.0, 10))
        >>> params = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
        >>> state = js.optimizers.override(tx.init(params), "bias", lr=0.25)
        >>> updates, state = tx.update(params, state, params)
        >>> float(updates["kernel"][0]), float(updates["bias"][0])
        (-1.0, -0.25)
    """
    wanted = chosen_groups("override", opt_state, groups)
    found = states(opt_state, OptimizerState)
    names = sorted({name for state in found for name, row in state.hyperparams.items() if row is not None})
    for name in values:
        if name not in names:
            same = [known for known in names if role_of(known) == role_of(name)]  # learning_rate where lr is asked for
            raise ValueError(
                f"override: there is no hyperparameter {short(name)}; there are {', '.join(names)}"
                f"{did_you_mean(same[0] if same else name, names)}"
            )

    def one(node: Any) -> Any:
        if not isinstance(node, OptimizerState):
            return node
        new = {
            name: _set(name, value, node.hyperparams[name], node.overrides.get(name), wanted(node))
            for name, value in values.items()
            if node.hyperparams.get(name) is not None
        }
        return node._replace(overrides={**node.overrides, **new})

    return jax.tree.map(one, opt_state, is_leaf=lambda node: isinstance(node, OptimizerState))


def chosen_groups(
    what: str, opt_state: Any, groups: str | Sequence[str] | None
) -> Callable[[OptimizerState], np.ndarray]:
    """From one of the states to whether each of its groups, sorted, is among ``groups``, or these are None.

    Raises:
        ValueError: If there is no state of an optimizer of jaxsched, or no such group in any.
    """
    found = states(opt_state, OptimizerState)
    if not found or hasattr(opt_state, "opt_state"):
        raise ValueError(
            f"{what}: there is no optimizer state of jaxsched in {type(opt_state).__name__}; give it the opt_state"
        )
    wanted = None if groups is None else [groups] if isinstance(groups, str) else list(groups)
    known = sorted({group for state in found for group in state.groups})
    for group in wanted or ():
        if group not in known:
            raise ValueError(
                f"{what}: there is no group {short(group)}; the groups are {', '.join(map(repr, known))}"
                f"{did_you_mean(group, known)}"
            )
    return lambda state: np.asarray([wanted is None or group in wanted for group in sorted(state.groups)], bool)


def _set(name: str, value: Any, report: Any, before: Any, chosen: np.ndarray) -> Any:
    if isinstance(report, tuple | list):
        items = [None] * len(report) if value is None else value
        if not isinstance(items, tuple | list) or len(items) != len(report):
            raise TypeError(f"override: {name} must be a tuple of {len(report)} numbers or None, got {short(value)}")
        olds = [None] * len(report) if before is None else before
        return tuple(
            _set(f"{name}[{i}]", *each, chosen) for i, each in enumerate(zip(items, report, olds, strict=True))
        )
    row = unboxed(report)
    if not (value is None or is_host_number(value) or (hasattr(value, "dtype") and jnp.shape(value) == ())):
        raise TypeError(f"override: {name} must be one number or None, got {short(value)}")
    if value is not None and not isinstance(value, jax.core.Tracer) and not np.isfinite(value):
        raise ValueError(f"override: {name} must be finite, got {value}")
    number = jnp.asarray(not_set(row.dtype) if value is None else value, row.dtype)
    return jnp.where(chosen, number, jnp.full_like(row, not_set(row.dtype)) if before is None else unboxed(before))


def not_set(dtype: Any) -> Any:
    """What stands where the schedule is in force: the largest number, since ``jax_debug_nans`` stops a run at a NaN."""
    return jnp.finfo(dtype).max


def overridden(numbers: Values, overrides: Values, groups: int) -> Values:
    """The numbers in force, as `evaluate` returns them, with those set by hand in their place."""

    def one(number: Any, row: Any) -> Any:
        if isinstance(row, tuple | list):
            return tuple(map(one, number, row))
        is_set = row != not_set(row.dtype)
        if isinstance(number, EmaWeights):
            return EmaWeights(jnp.where(is_set, row, number.old), jnp.where(is_set, 1 - row, number.new))
        return jnp.where(is_set, row.astype(number.dtype), jnp.broadcast_to(number, (groups,)))

    return {**numbers, **{name: one(numbers[name], row) for name, row in overrides.items() if name in numbers}}
