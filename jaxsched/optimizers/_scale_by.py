"""The direction of an optimizer alone, as optax's ``scale_by_...`` are: without learning rate and weight decay."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxsched import groups as grouping
from jaxsched.checks import short
from jaxsched.optimizers._driver import as_transformation
from jaxsched.optimizers._hyperparameters import Definition, Groups, Values
from jaxsched.optimizers._optimizer import definition_of
from jaxsched.optimizers._rule import Hypers, Slots, UpdateRule

_OUTSIDE = {
    "lr": "put optax.scale_by_learning_rate(lr) after it",
    "weight_decay": "put optax.add_decayed_weights(weight_decay) before it or, decoupled, after it",
    "decoupled_weight_decay": "put optax.add_decayed_weights(weight_decay) before it or, decoupled, after it",
    "maximize": "put optax.scale(-1.0) before everything",
}


def scale_by(
    optimizer: Callable[..., optax.GradientTransformationExtraArgs],
    *,
    groups: Groups | None = None,
    rules: grouping.Rules | None = None,
    **hyperparameters: Any,
) -> optax.GradientTransformationExtraArgs:
    """The direction of an optimizer of jaxsched, for a chain in which something stands before its learning rate.

    As ``optax.scale_by_adam`` is to ``optax.adam``. The optimizer is, up to rounding, one of the chains::

        chain(scale_by(adamw, ...), add_decayed_weights(weight_decay), scale_by_learning_rate(lr))  # decoupled
        chain(add_decayed_weights(weight_decay), scale_by(sgd, ...), scale_by_learning_rate(lr))  # coupled

    with the pieces of optax, which take a schedule of jaxsched as any function of the step. Where they differ by group:
    ``grouped(optax.add_decayed_weights, weight_decay=1e-4, groups={"bias": dict(weight_decay=0.0)})``. `explain`,
    `lint` and `plot` show such a chain as the optimizer; `hyperparams` reads what `scale_by` and `grouped` were given.

    Args:
        optimizer: Such as ``js.adamw``: one whose update is the learning rate times a direction that knows neither
            learning rate nor weight decay.
        groups: The hyperparameters that each group overrides, by its name; None freezes a group.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).
        hyperparameters: Those of ``optimizer``, for all groups, without ``lr``, ``weight_decay`` and ``maximize``.

    Returns:
        An optax transformation whose state is an `OptimizerState`, and whose updates are to be subtracted.

    Raises:
        ValueError: If the learning rate or the weight decay is inside the optimizer's equation: `adafactor`, `asgd`,
            `lamb`, `lars`, `musgd`, `rprop` and the classic form of `sgd`; or if an argument is not known.
        TypeError: If ``optimizer`` is not one of jaxsched with groups.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js, optax
        >>> lr = js.cosine(0.1, 100)
        >>> tx = optax.chain(
        ...     js.optimizers.scale_by(js.adamw, betas=(0.9, 0.95)),
        ...     optax.clip(1.0),
        ...     js.optimizers.grouped(
        ...         optax.scale_by_learning_rate, learning_rate=lr, groups={"bias": dict(learning_rate=2 * lr)}
        ...     ),
        ... )
        >>> params = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["kernel"][0]), 6), round(float(updates["bias"][0]), 6)
        (-0.1, -0.2)
        >>> sorted(js.hyperparams(state)["bias"])
        ['betas', 'eps', 'learning_rate']
    """
    own = definition_of(optimizer)
    if own is None:
        raise TypeError(f"scale_by: a function such as js.adamw is needed, with groups; got {short(optimizer)}")
    rule, check, fixed = optimizer.parts  # type: ignore[attr-defined]
    arguments = {name: argument for name, argument in own.arguments.items() if name not in _OUTSIDE}
    definition = Definition(f"scale_by({own.name})", arguments, own.for_all)
    for name in {*hyperparameters, *(name for given in (groups or {}).values() for name in given or ())}:
        if name in _OUTSIDE and name in own.arguments:
            raise ValueError(f"{definition.name}: {name} is not part of the direction; {_OUTSIDE[name]}")

    def check_all(active: Any) -> None:
        for values in active:
            why = rule.why_inseparable(values)
            if isinstance(values.get("stacked"), tuple):
                why = "stacked gives each layer a factor on lr, which is not part of the direction"
            if why:
                raise ValueError(f"{definition.name}: {why}; use {own.name} as a whole")
        if check:
            check(active)

    tx = as_transformation(definition, _direction(rule), hyperparameters, groups, rules, check_all, fixed)
    made = {"optimizer": optimizer, "hyperparameters": hyperparameters, "groups": groups, "rules": rules}
    tx.init.made_by = (scale_by, made)  # for reports on a chain of it
    return tx


def decay_form(optimizer: Any) -> str:
    """Whether the weight decay of an optimizer of jaxsched is "coupled" or "decoupled" unless it is told otherwise."""
    rule, _, fixed = optimizer.parts
    return "decoupled" if fixed.get("decoupled_weight_decay") else str(rule.weight_decay)


def _direction(rule: UpdateRule) -> UpdateRule:
    """The rule at a learning rate of 1, uphill."""

    def per_step(h: Hypers) -> Mapping[str, jax.Array]:
        numbers: Values = {name: value for name, value in vars(h).items() if name != "count"}
        one = jnp.ones((), jax.tree.leaves(numbers)[0].dtype)
        return rule.per_step(Hypers(**vars(h), lr=one)) if rule.per_step else {}

    return rule._replace(update=_uphill(rule.update), per_step=per_step if rule.per_step else None)


@functools.cache  # what is jitted is found again by it
def _uphill(update: Callable[..., tuple[jax.Array, Slots]]) -> Callable[..., tuple[jax.Array, Slots]]:
    def uphill(gradient: jax.Array, slots: Slots, param: jax.Array, h: Hypers) -> tuple[jax.Array, Slots]:
        moved, slots = update(gradient, slots, param, Hypers(**vars(h), lr=1.0))
        return -moved, slots

    return uphill
