"""From an update rule on one array to an optax transformation on a tree, with groups and schedules.

A rule is a pure function ``(gradient, slots, param, h) -> (update, slots)`` on arrays. The driver does what all
optimizers share: groups, schedules, one count, maximisation, weight decay, dtypes. What differs is the rule.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxsched import _plateau as plateaus
from jaxsched import groups as grouping
from jaxsched.optimizers import _hyperparameters as hyper
from jaxsched.schedules._schedule import as_step

Slots = dict[str, jax.Array]
Hypers = types.SimpleNamespace
"""The hyperparameters and options of the parameter's group by name, ``count`` (updates, this one included, from 1),
and what the rule's ``prepare`` added."""


class OptimizerState(NamedTuple):
    """The state of an optimizer of jaxsched.

    Its paths do not depend on the groups, but for ``hyperparams``, which is only a report: nothing reads it.
    """

    count: jax.Array  # type: ignore[assignment]
    """Updates done; int32 [], saturating."""
    hyperparams: dict[str, dict[str, Any]]
    """By group and name, what the last update used (before the first: what it will use); float32 []."""
    slots: dict[str, Any]
    """By name, a tree like the parameters; float32 (float64 for float64 parameters)."""
    plateau: dict[str, dict[str, plateaus.PlateauState]]
    """By group and name, for those hyperparameters that are driven by a metric."""


SlotStart = Callable[[jax.Array, hyper.Values], jax.Array]
"""From a parameter and its hyperparameters (not evaluated) to what its slot holds before the first update."""


class UpdateRule(NamedTuple):
    """An optimizer's equation on one array."""

    name: str
    update: Callable[[jax.Array, Slots, jax.Array, Hypers], tuple[jax.Array, Slots]]
    """``(gradient, slots, param, h) -> (what is added to the parameter, slots)``."""
    slots: Callable[[hyper.Values], Mapping[str, SlotStart]]
    """From the hyperparameters of a group to the slots it needs. What any group needs, all parameters have."""
    prepare: Callable[[Hypers], None] | None = None
    """Computes once per group and step what all its arrays share, and adds it to ``h``."""
    weight_decay: str = "coupled"
    """"coupled": added to the gradient. "decoupled": the parameter shrinks by ``lr * weight_decay`` first. "own": the
    rule does it itself. Where there is an option ``decoupled_weight_decay``, that decides."""


def zeros(param: jax.Array, values: hyper.Values) -> jax.Array:
    del values
    return jnp.zeros_like(param)


def lift(
    rule: UpdateRule, defaults: Mapping[str, Any], groups: hyper.Groups | None, rules: grouping.Rules | None
) -> optax.GradientTransformationExtraArgs:
    """The transformation that applies ``rule`` to each parameter with the hyperparameters of its group.

    ``update(gradients, state, params, *, step=None)``: schedules are evaluated at ``step``, which is the count of
    updates unless given (as `accumulate` does, so that they go on counting batches).
    """
    ruled = _required(grouping.as_rules(rules), groups or {}, given=rules is not None)
    names = tuple(dict.fromkeys(r.group for r in ruled))
    by_group = hyper.by_group(rule.name, defaults, groups, names)
    active = {name: values for name, values in by_group.items() if values is not None}
    driven = {name: values for name, values in active.items() if plateaus.definitions(values)}
    starts: dict[str, SlotStart] = {}
    for values in active.values():
        starts = {**rule.slots(values), **starts}
    assignment = _Assignment(ruled)

    def evaluate(step: ArrayLike, leaves: list[Any], plateau: Mapping[str, Any]) -> dict[str, hyper.Values]:
        wide = any(_compute_dtype(leaf) in (jnp.float64, jnp.complex128) for leaf in leaves)
        dtype = jnp.dtype(jnp.float64 if wide else jnp.float32)
        return {
            name: hyper.evaluate(plateaus.resolve(values, plateau.get(name, {})), step, dtype)
            for name, values in active.items()
        }

    def init(params: Any) -> OptimizerState:
        leaves, structure = _flatten(params)
        of = assignment(params)
        for leaf, path in zip(leaves, of.paths, strict=True):
            if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
                raise TypeError(
                    f"{rule.name}: parameter {path!r} is {jnp.result_type(leaf)}; only floating ones can be trained. "
                    "Keep it out of the tree, or behind optax.masked."
                )

        def start(slot: SlotStart, leaf: Any, group: str) -> jax.Array:
            param = jnp.asarray(leaf).astype(_compute_dtype(leaf))
            return slot(param, active[group]) if group in active else jnp.zeros_like(param)

        slots = {
            name: structure.unflatten([start(slot, *each) for each in zip(leaves, of.groups, strict=True)])
            if leaves
            else params  # nothing to train, or optax.tree.map_params asking where parameters go
            for name, slot in starts.items()
        }
        plateau = {name: plateaus.start(values) for name, values in driven.items()}
        return OptimizerState(jnp.zeros((), jnp.int32), evaluate(0, leaves, plateau), slots, plateau)

    def update(
        updates: Any, state: OptimizerState, params: Any = None, *, step: ArrayLike | None = None, **extra: Any
    ) -> tuple[Any, OptimizerState]:
        del extra
        if params is None:
            raise ValueError(f"{rule.name}: update needs the parameters: tx.update(gradients, opt_state, params)")
        gradients, structure = _flatten(updates)
        leaves = structure.flatten_up_to(params)
        slots = {name: structure.flatten_up_to(tree) for name, tree in state.slots.items()}
        plateau = {name: plateaus.refresh(values, state.plateau.get(name, {})) for name, values in driven.items()}
        used = evaluate(state.count if step is None else as_step(step), leaves, plateau)
        count = optax.safe_increment(state.count)

        @functools.cache
        def prepared(group: str, dtype: Any) -> Hypers | None:
            return _prepare(rule, active[group], used[group], count, dtype) if group in active else None

        results = [
            _one(rule, prepared(group, _compute_dtype(leaf)), gradient, {name: slots[name][i] for name in slots}, leaf)
            for i, (group, gradient, leaf) in enumerate(zip(assignment(params).groups, gradients, leaves, strict=True))
        ]
        new_slots = {name: structure.unflatten([own[name] for _, own in results]) for name in slots}
        return structure.unflatten([own for own, _ in results]), OptimizerState(count, used, new_slots, plateau)

    return optax.GradientTransformationExtraArgs(init, update)


def _required(ruled: tuple[grouping.Rule, ...], groups: hyper.Groups, given: bool) -> tuple[grouping.Rule, ...]:
    """The rules by role may match nothing, unless the user said something about their group."""
    return ruled if given else tuple(rule._replace(optional=rule.group not in groups) for rule in ruled)


class _Assigned(NamedTuple):
    groups: list[str]
    paths: list[str]


class _Assignment:
    """The groups of the parameters of a tree, found once for each structure: walking paths costs more than tracing."""

    def __init__(self, rules: tuple[grouping.Rule, ...]):
        self.rules = rules
        self.found: dict[Any, _Assigned] = {}

    def __call__(self, params: Any) -> _Assigned:
        leaves, structure = _flatten(params)
        key = (structure, tuple(jnp.shape(leaf) for leaf in leaves))
        if key not in self.found:
            parameters = grouping.parameters(params)
            chosen = grouping.assign(parameters, self.rules)
            self.found[key] = _Assigned([self.rules[i].group for i in chosen], [p.path for p in parameters])
        return self.found[key]


def _flatten(tree: Any) -> tuple[list[Any], Any]:
    return jax.tree.flatten(tree)


def _compute_dtype(leaf: Any) -> Any:
    """Arithmetic and slots are float32 for half precision, and the parameter's own dtype from there on."""
    return jnp.promote_types(jnp.result_type(leaf), jnp.float32)


def _prepare(rule: UpdateRule, values: hyper.Values, used: hyper.Values, count: jax.Array, dtype: Any) -> Hypers:
    real_dtype = jnp.finfo(dtype).dtype
    h = Hypers(**hyper.options(values), **jax.tree.map(lambda value: value.astype(real_dtype), used), count=count)
    h.decay = rule.weight_decay
    if "decoupled_weight_decay" in values:
        h.decay = "decoupled" if values["decoupled_weight_decay"] else "coupled"
    if "weight_decay" not in values or hyper.is_zero(values["weight_decay"]):
        h.decay = "none"
    h.sign = -1 if values.get("maximize") else 1
    if rule.prepare:
        rule.prepare(h)
    return h


def _one(rule: UpdateRule, h: Hypers | None, gradient: jax.Array, slots: Slots, leaf: Any) -> tuple[jax.Array, Slots]:
    """One parameter's update, in its own dtype. Frozen where ``h`` is None."""
    out = jnp.result_type(leaf)
    if h is None:
        return jnp.zeros(jnp.shape(leaf), out), slots
    gradient, param = (jnp.asarray(x).astype(_compute_dtype(leaf)) for x in (gradient, leaf))
    if h.sign < 0:
        gradient = -gradient
    if h.decay == "coupled":
        gradient = gradient + h.weight_decay * param
    shrink = -h.lr * h.weight_decay * param if h.decay == "decoupled" else None
    update, slots = rule.update(gradient, slots, param if shrink is None else param + shrink, h)
    return (update if shrink is None else update + shrink).astype(out), slots


def hyperparams(opt_state: Any) -> dict[str, dict[str, Any]]:
    """The hyperparameters that the last update used, by group and name.

    Args:
        opt_state: Anything that holds the state of an optimizer of jaxsched: the state itself, one nested in
            ``optax.chain``, ``optax.MultiSteps`` or `accumulate`, an ``nnx.Optimizer``, a Linen ``TrainState``.

    Returns:
        ``{group: {name: float32 scalar}}``. Before the first update: what it will use.

    Raises:
        ValueError: If there is none, or if two of them have a group of the same name.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.sgd(lr=js.linear(1.0, 0.0, 10), groups={"bias": dict(lr=0.5)})
        >>> state = tx.init({"kernel": jnp.ones(3), "bias": jnp.ones(3)})
        >>> float(js.hyperparams(state)["bias"]["lr"])
        0.5
    """
    found = states(opt_state, OptimizerState)
    if not found:
        raise ValueError(f"hyperparams: there is no optimizer state of jaxsched in {type(opt_state).__name__}")
    merged: dict[str, dict[str, Any]] = {}
    for state in found:
        for group, values in state.hyperparams.items():
            if group in merged:
                raise ValueError(
                    f"hyperparams: two optimizers have a group named {group!r}; ask for each of their states by itself"
                )
            merged[group] = {name: _unboxed(value) for name, value in values.items()}
    return merged


def states(tree: Any, kind: type) -> list[Any]:
    """The states of a type in a tree, wherever they are nested; an object with an ``opt_state`` stands for that."""
    tree = getattr(tree, "opt_state", tree)
    return [node for node in jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, kind)) if isinstance(node, kind)]


def _unboxed(value: Any) -> Any:
    """The array in an NNX Variable, or the value itself."""
    if isinstance(value, tuple):
        return tuple(map(_unboxed, value))
    return value.get_value() if hasattr(value, "get_value") else value
