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

from jaxsched import groups as grouping
from jaxsched.metric import internal as plateaus
from jaxsched.numerics import as_step
from jaxsched.optimizers import _hyperparameters as hyper
from jaxsched.optimizers._state import OptimizerState

Slots = dict[str, jax.Array]
Hypers = types.SimpleNamespace
"""By name the hyperparameters and options of the parameter's group, ``count`` (updates, this one included, from 1),
``dtype`` (the parameter's own), ``decay`` (see `UpdateRule`, or "none"), and what the rule's ``prepare`` added."""
SlotStart = Callable[[jax.Array, hyper.Values], jax.Array]
"""From a parameter and its hyperparameters (not evaluated) to what its slot holds before the first update."""


def zeros(param: jax.Array, values: hyper.Values) -> jax.Array:
    del values
    return jnp.zeros_like(param)


class UpdateRule(NamedTuple):
    """An optimizer's equation on one array."""

    name: str
    update: Callable[[jax.Array, Slots, jax.Array, Hypers], tuple[jax.Array, Slots]]
    """``(gradient, slots, param, h) -> (what is added to the parameter, slots)``. Complex arrays come as pairs of real
    ones, on a last axis."""
    slots: Callable[[hyper.Values], Mapping[str, SlotStart]]
    """From the hyperparameters of a group to the slots it needs. What any group needs, all parameters have."""
    prepare: Callable[[Hypers], Mapping[str, jax.Array]] | None = None
    """Computes once per step what all arrays of a group share; its ``h`` has the numbers of all groups at once, [] or
    [groups], and no options."""
    shared: Mapping[str, float] = {}
    """What groups keep from step to step, and its start. ``prepare`` finds it in ``h``, and returns the next."""
    averages: tuple[str, ...] = ()
    """The hyperparameters that say what an average keeps of itself: in ``h`` they are `Shares`."""
    weight_decay: str = "coupled"
    """"coupled": added to the gradient. "decoupled": the parameter shrinks by ``lr * weight_decay`` first. "own": the
    rule does it itself. Where there is an option ``decoupled_weight_decay``, that decides."""
    elementwise: bool = True
    """Whether each number is updated by itself, so that `flatten_groups` may join arrays."""
    refuses: Callable[[tuple[int, ...], Any, hyper.Values], str | None] = lambda shape, dtype, values: None
    """From a parameter's shape, dtype and hyperparameters to why the rule cannot train it, or None."""


def lift(
    rule: UpdateRule,
    defaults: Mapping[str, Any],
    groups: hyper.Groups | None,
    rules: grouping.Rules | None,
    **fixed: Any,
) -> optax.GradientTransformationExtraArgs:
    """The transformation that applies ``rule`` to each parameter with the hyperparameters of its group.

    ``fixed`` are options of the rule that are the same for all groups. ``update(gradients, state, params, *,
    step=None)``: schedules are evaluated at ``step``, which is the count of updates unless given (as `accumulate`
    does, so that they go on counting batches).
    """
    ruled = _required(grouping.as_rules(rules), groups or {}, given=rules is not None)
    names = tuple(dict.fromkeys(r.group for r in ruled))
    by_group = hyper.by_group(rule.name, defaults, groups, names)
    active = {name: values for name, values in sorted(by_group.items()) if values is not None}
    options = {name: _options(rule, values, fixed) for name, values in active.items()}
    driven = {name: values for name, values in active.items() if plateaus.definitions(values)}
    starts: dict[str, SlotStart] = {}
    for values in active.values():
        starts = {**rule.slots(values), **starts}
    assignment = _Assignment(ruled)

    def evaluate(step: ArrayLike, leaves: list[Any], plateau: Mapping[str, Any]) -> hyper.Values:
        wide = any(_compute_dtype(leaf) in (jnp.float64, jnp.complex128) for leaf in leaves)
        dtype = jnp.dtype(jnp.float64 if wide else jnp.float32)
        present = [plateaus.resolve(values, plateau.get(name, {})) for name, values in active.items()]
        return hyper.evaluate(present, step, dtype, rule.averages)

    def report(numbers: hyper.Values) -> hyper.Values:
        return jax.tree.map(lambda row: jnp.broadcast_to(row, (len(active),)), hyper.values_of(numbers))

    def init(params: Any) -> OptimizerState:
        if isinstance(params, grouping.FlatGroups) and not rule.elementwise:
            raise ValueError(
                f"{rule.name}: it looks at whole arrays, which flatten_groups joins; leave it out, and build a recipe "
                "without flatten=True"
            )
        leaves, structure = _flatten(params)
        of = assignment(params)
        for leaf, path, group in zip(leaves, of.paths, of.groups, strict=True):
            dtype = jnp.result_type(leaf)
            if group not in active:
                continue
            if not jnp.issubdtype(dtype, jnp.inexact):
                raise TypeError(
                    f"{rule.name}: parameter {path!r} is {dtype}; only floating ones can be trained. Keep it out of "
                    "the tree, or freeze its group with None."
                )
            if why := rule.refuses(jnp.shape(leaf), dtype, active[group]):
                raise ValueError(
                    f"{rule.name}: parameter {path!r} {why}; give it another optimizer with optax.partition, or freeze "
                    "its group with None"
                )

        def start(slot: SlotStart, leaf: Any, group: str) -> jax.Array:
            param = _pairs(jnp.asarray(leaf).astype(_compute_dtype(leaf)))
            return _unpaired(slot(param, active[group]) if group in active else jnp.zeros_like(param), leaf)

        slots = {
            name: structure.unflatten([start(slot, *each) for each in zip(leaves, of.groups, strict=True)])
            if leaves
            else params  # nothing to train, or optax.tree.map_params asking where parameters go
            for name, slot in starts.items()
        }
        plateau = {name: plateaus.start(values) for name, values in driven.items()}
        numbers = report(evaluate(0, leaves, plateau))
        dtype = next((row.dtype for row in jax.tree.leaves(numbers)), jnp.float32)
        shared = {name: jnp.full(len(active), value, dtype) for name, value in rule.shared.items()}
        count, bias_offset = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
        return OptimizerState(count, dict.fromkeys(active, ()), numbers, shared, slots, plateau, bias_offset)

    def update(
        updates: Any, state: Any, params: Any = None, *, step: ArrayLike | None = None, **extra: Any
    ) -> tuple[Any, OptimizerState]:
        del extra
        if params is None:
            raise ValueError(f"{rule.name}: update needs the parameters: tx.update(gradients, opt_state, params)")
        _check_state(rule.name, state, active, starts)
        gradients, structure = _flatten(updates)
        leaves = structure.flatten_up_to(params)
        slots = {name: structure.flatten_up_to(tree) for name, tree in state.slots.items()}
        plateau = {name: plateaus.refresh(values, state.plateau.get(name, {})) for name, values in driven.items()}
        numbers = evaluate(state.count if step is None else as_step(step), leaves, plateau)
        count = jnp.asarray(optax.safe_increment(state.count))
        total = count + state.bias_offset
        total = jnp.where((state.bias_offset > 0) & (total < count), count, total)  # a sum beyond int32 is negative
        prepared: Mapping[str, jax.Array] = state.shared
        if rule.prepare and active:
            prepared = rule.prepare(Hypers(**numbers, **state.shared, count=total))
        of_group = dict(zip(active, _by_group({**numbers, **prepared}, len(active)), strict=True))

        def one(i: int, group: str) -> tuple[jax.Array, Slots]:
            own = {name: leaves[i] for name, leaves in slots.items()}
            if group not in active:
                return jnp.zeros_like(leaves[i]), own
            return _update_array(
                gradients[i], own, leaves[i], total, of_group[group], equation=rule.update, options=options[group]
            )

        results = [one(i, group) for i, group in enumerate(assignment(params).groups)]
        new_slots = {name: structure.unflatten([own[name] for _, own in results]) for name in slots}
        shared = {name: jnp.broadcast_to(prepared[name], (len(active),)) for name in rule.shared}
        new_state = OptimizerState(count, state.groups, report(numbers), shared, new_slots, plateau, state.bias_offset)
        return structure.unflatten([own for own, _ in results]), new_state

    return optax.GradientTransformationExtraArgs(init, update)


def _check_state(optimizer: str, state: Any, groups: hyper.Values, slots: Mapping[str, SlotStart]) -> None:
    """That a state is of this optimizer: of other groups it would name the wrong ones, and without a slot not go on."""
    if not isinstance(state, OptimizerState):
        raise TypeError(
            f"{optimizer}: the state must be what init gave, got {type(state).__name__}; the order is "
            "tx.update(gradients, opt_state, params)"
        )
    missing = [name for name in slots if name not in state.slots]
    if sorted(state.groups) != sorted(groups) or missing:
        raise ValueError(
            f"{optimizer}: the state is of another optimizer: it has the groups {_listed(state.groups)} and the slots "
            f"{_listed(state.slots)}; here the groups are {_listed(groups)}, the slots {_listed(slots)}. "
            "To go on from it: js.carry_over(state, tx.init(params))"
        )


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"


def _required(ruled: tuple[grouping.Rule, ...], groups: hyper.Groups, given: bool) -> tuple[grouping.Rule, ...]:
    """The rules by role may match nothing, unless the user said something about their group."""
    return ruled if given else tuple(rule._replace(optional=rule.group not in groups) for rule in ruled)


class _Assignment:
    """The groups of the parameters of a tree, found once for each structure: walking paths costs more than tracing."""

    def __init__(self, rules: tuple[grouping.Rule, ...]):
        self.rules = rules
        self.found: dict[Any, grouping.Grouped] = {}

    def __call__(self, params: Any) -> grouping.Grouped:
        leaves, structure = _flatten(params)
        key = (structure, tuple(jnp.shape(leaf) for leaf in leaves))
        if key not in self.found:
            self.found[key] = grouping.grouped(params, self.rules)
        return self.found[key]


def _options(rule: UpdateRule, values: hyper.Values, fixed: hyper.Values) -> tuple[tuple[str, Any], ...]:
    """What is known of a group when the optimizer is made; hashable, so that the rule is traced once for each."""
    known = {**hyper.options(values), **fixed}
    decay = rule.weight_decay
    if "decoupled_weight_decay" in known:
        decay = "decoupled" if known["decoupled_weight_decay"] else "coupled"
    if "weight_decay" not in values or hyper.is_zero(values["weight_decay"]):
        decay = "none"
    return tuple(sorted({**known, "decay": decay}.items()))


def _by_group(numbers: hyper.Values, groups: int) -> list[hyper.Values]:
    """For each group its own of the numbers, [] or [1]."""
    rows, structure = _flatten(numbers)
    columns = [[row] * groups if row.ndim == 0 else jax.lax.split(row, (1,) * groups) for row in rows]
    return [structure.unflatten(own) for own in zip(*columns, strict=True)] if rows else [{}] * groups


def _flatten(tree: Any) -> tuple[list[Any], Any]:
    return jax.tree.flatten(tree)


def _compute_dtype(leaf: Any) -> Any:
    """Arithmetic and slots are float32 for half precision, and the parameter's own dtype from there on."""
    return jnp.promote_types(jnp.result_type(leaf), jnp.float32)


def _pairs(x: jax.Array) -> jax.Array:
    return jnp.stack([x.real, x.imag], -1) if jnp.iscomplexobj(x) else x


def _unpaired(x: jax.Array, like: Any) -> jax.Array:
    return jax.lax.complex(x[..., 0], x[..., 1]) if jnp.iscomplexobj(like) else x


@functools.partial(jax.jit, static_argnames=("equation", "options"))
def _update_array(
    gradient: jax.Array,
    slots: Slots,
    param: jax.Array,
    count: jax.Array,
    numbers: hyper.Values,
    *,
    equation: Callable[..., tuple[jax.Array, Slots]],
    options: tuple[tuple[str, Any], ...],
) -> tuple[jax.Array, Slots]:
    """One parameter's update, in its own dtype, and its slots. Jitted: traced once for all arrays of a shape."""
    out, compute = jnp.result_type(param), _compute_dtype(param)
    values = jax.tree.map(lambda number: number.astype(jnp.finfo(compute).dtype).reshape(()), numbers)
    h = Hypers(**dict(options), **values, count=count, dtype=out)
    gradient, at, own = jax.tree.map(_pairs, (jnp.asarray(gradient).astype(compute), param.astype(compute), slots))
    if getattr(h, "maximize", False):
        gradient = -gradient
    shrink = 0.0
    if h.decay == "coupled":
        gradient = gradient + h.weight_decay * at
    elif h.decay == "decoupled":
        shrink = -h.lr * h.weight_decay * at
    update, own = equation(gradient, own, at + shrink, h)
    update, own = jax.tree.map(lambda x: _unpaired(x, param), (update + shrink, own))
    return update.astype(out), own
