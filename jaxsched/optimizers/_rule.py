"""An update rule: the equation of an optimizer on one array, and what the driver must know of it."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsched.optimizers._hyperparameters import Values

Slots = dict[str, jax.Array]
Hypers = types.SimpleNamespace
"""What a rule sees of the parameter's group: its hyperparameters and options by name, ``count`` (updates, this one
included, from 1), ``dtype`` (the parameter's own), ``decay`` (see `UpdateRule`, or "none"), and what ``per_step``
returned."""
SlotInit = Callable[[jax.Array, Values], jax.Array]
"""From a parameter and the hyperparameters of its group (not evaluated) to the slot before the first update."""


def zeros(param: jax.Array, values: Values) -> jax.Array:
    """A slot that starts at 0."""
    del values
    return jnp.zeros_like(param)


def _always(values: Values) -> str | None:
    del values
    return None


def _trains_all(shape: tuple[int, ...], dtype: Any, values: Values) -> str | None:
    del shape, dtype, values
    return None


class UpdateRule(NamedTuple):
    """The equation of an optimizer on one array.

    Attributes:
        update: ``(gradient, slots, param, h) -> (what is added to the parameter, slots)``. Complex arrays come as pairs
            of real ones, on a last axis.
        slots: From the hyperparameters of a group to the slots that it needs. What one group needs, all parameters
            have, so that the paths of the state do not depend on the groups.
        per_step: Computes once per step what all arrays of a group share. Its ``h`` has the numbers of all groups at
            once, [] or [groups], and no options.
        shared: What each group keeps from step to step, and its start. ``per_step`` finds it in ``h`` and returns the
            next.
        averages: The hyperparameters that are the weight of the past in a moving average: in ``h`` they are
            `EmaWeights`.
        weights: For a slot that is a moving average, the hyperparameter (and which of a tuple) that is the weight of
            its past: in a dtype of few bits such an average may stand still.
        weight_decay: "coupled": added to the gradient. "decoupled": the parameter shrinks by ``lr * weight_decay``
            first. "own": ``update`` does it. An option ``decoupled_weight_decay``, where there is one, decides.
        max_norm: The hyperparameter that limits the norm of all gradients together, if there is one. It is the same
            for all groups.
        elementwise: Whether each number is updated by itself, so that arrays may be joined, as `flatten_groups` does.
        why_inseparable: From the hyperparameters of a group to why its update is not ``lr`` times a direction that
            knows neither ``lr`` nor ``weight_decay``, or None: see `scale_by`.
        why_untrainable: From the shape, dtype and hyperparameters of a parameter to why the rule cannot train it, or
            None.
    """

    update: Callable[[jax.Array, Slots, jax.Array, Hypers], tuple[jax.Array, Slots]]
    slots: Callable[[Values], Mapping[str, SlotInit]]
    per_step: Callable[[Hypers], Mapping[str, jax.Array]] | None = None
    shared: Mapping[str, float] = {}
    averages: tuple[str, ...] = ()
    weights: Mapping[str, tuple[str, int | None]] = {}
    weight_decay: str = "coupled"
    max_norm: str | None = None
    elementwise: bool = True
    why_inseparable: Callable[[Values], str | None] = _always
    why_untrainable: Callable[[tuple[int, ...], Any, Values], str | None] = _trains_all
