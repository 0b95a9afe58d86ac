"""From an update rule on one array to an optax transformation on a tree, with groups and schedules.

The driver does what all optimizers share: groups, schedules, one count, maximisation, weight decay, dtypes. What
differs is the rule. It runs in Python once, when a step is traced; what it leaves in the compiled step is the rule's
arithmetic on each array and, beside that, a few operations on numbers of each group.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxsched import groups as grouping
from jaxsched.checks import short
from jaxsched.metric import internal as plateaus
from jaxsched.numerics import as_step, compute_dtype, is_host_number, reshard_like, takes_shapes
from jaxsched.optimizers._hyperparameters import Definition, Groups, Values
from jaxsched.optimizers._layout import LAYOUT, by_layer, check_slots, check_weights, first_slot, why_not_kept
from jaxsched.optimizers._norm import clip_by_norm
from jaxsched.optimizers._override import overridden
from jaxsched.optimizers._reset import corrected_count, restarted
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule
from jaxsched.optimizers._state import OptimizerState
from jaxsched.optimizers._values import evaluate, is_zero, values_of


def as_transformation(
    definition: Definition,
    rule: UpdateRule,
    given: Mapping[str, Any],
    groups: Groups | None,
    rules: grouping.Rules | None,
    check: Callable[[Sequence[Values]], None] | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The transformation that applies ``rule`` to each parameter with the hyperparameters of its group.

    ``update(gradients, state, params, *, step=None)`` evaluates the schedules at ``step``, which is the count of
    updates unless given (as `accumulate` does, so that they go on counting batches).

    Args:
        definition: What the optimizer's signature says.
        rule: The equation on one array.
        given: The hyperparameters for all groups.
        groups: What single groups override.
        rules: Which parameter belongs to which group; by role where left out.
        check: A check of each group's hyperparameters together.
        fixed: Options of the rule that the signature leaves out.
    """
    optimizer = definition.name
    ruled, assignment = assignment_of(rules, groups)
    names = tuple(dict.fromkeys(r.group for r in ruled))
    by_group = definition.by_group(given, groups, names)
    active = {name: values for name, values in sorted(by_group.items()) if values is not None}
    for values in active.values():
        definition.check_shapes(values)
    if check:
        check(list(active.values()))
    numeric = [name for name, argument in definition.arguments.items() if not argument.is_option]
    options = {name: _options(rule, definition, values, fixed or {}) for name, values in active.items()}
    driven = {name: values for name, values in active.items() if plateaus.definitions(values)}
    factors = {name: values["stacked"] for name, values in active.items() if isinstance(values["stacked"], tuple)}
    initial_slots: dict[str, SlotInit] = {}
    for values in active.values():
        initial_slots = {**rule.slots(values), **initial_slots}
    check_slots(optimizer, list(active.values()), list(initial_slots))
    check_weights(optimizer, list(active.values()), rule.weights)

    def evaluated(step: ArrayLike, leaves: list[Any], plateau: Mapping[str, Any]) -> Values:
        wide = any(compute_dtype(leaf) in (jnp.float64, jnp.complex128) for leaf in leaves)
        dtype = jnp.dtype(jnp.float64 if wide else jnp.float32)
        present = [plateaus.resolve(values, plateau.get(name, {})) for name, values in active.items()]
        try:
            return evaluate(present, numeric, step, dtype, rule.averages)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{optimizer}: {error}") from error

    def report(numbers: Values) -> Values:
        return jax.tree.map(lambda row: jnp.broadcast_to(row, (len(active),)), values_of(numbers))

    def init(params: Any) -> OptimizerState:
        check_whole(optimizer, params, rule.elementwise)
        leaves, structure = _flatten(params)
        assigned = assignment(params)
        for leaf, path, group in zip(leaves, assigned.paths, assigned.groups, strict=True):
            check_parameter(optimizer, leaf, path, is_frozen=group not in active)
            if group not in active:
                continue
            values, shape, dtype = active[group], jnp.shape(leaf), jnp.result_type(leaf)
            if why := why_not_kept(shape, dtype, values, isinstance(params, grouping.JoinedTree)):
                raise ValueError(f"{optimizer}: parameter {path!r} {why}; give it a group of its own")
            if why := rule.why_untrainable(shape[1:] if values["stacked"] else shape, dtype, values):
                raise ValueError(
                    f"{optimizer}: parameter {path!r} {why}; give it another optimizer with optax.partition, or freeze "
                    "its group with None"
                )

        def first(name: str, slot: SlotInit, leaf: Any, group: str) -> Any:
            if group not in active:
                return optax.MaskedNode()  # no memory, and no leaf: a frozen backbone of 1 GB costs none
            values, param = active[group], _pairs(jnp.asarray(leaf).astype(compute_dtype(leaf)))
            found = first_slot(slot, param, values, bool(values["stacked"]) and not rule.elementwise)
            kept = (values["state_dtype"] or {}).get(name)
            return _unpaired(found.astype(kept) if kept else found, leaf)

        slots = {
            name: structure.unflatten([first(name, slot, *each) for each in zip(leaves, assigned.groups, strict=True)])
            if leaves
            else params  # nothing to train, or optax.tree.map_params asking where parameters go
            for name, slot in initial_slots.items()
        }
        plateau = {name: plateaus.start(values) for name, values in driven.items()}
        numbers = report(evaluated(0, leaves, plateau))
        dtype = next((row.dtype for row in jax.tree.leaves(numbers)), jnp.float32)
        shared = {name: jnp.full(len(active), value, dtype) for name, value in rule.shared.items()}
        count, bias_offset = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
        return OptimizerState(count, dict.fromkeys(active, ()), numbers, shared, slots, plateau, bias_offset)

    def update(
        updates: Any, state: Any, params: Any = None, *, step: ArrayLike | None = None, **extra: Any
    ) -> tuple[Any, OptimizerState]:
        del extra
        if params is None:
            raise ValueError(f"{optimizer}: update needs the parameters: tx.update(gradients, opt_state, params)")
        check_state(optimizer, state, active, initial_slots)
        gradients, structure = _flatten(updates)
        leaves = structure.flatten_up_to(params)
        assigned = assignment(params).groups
        if jnp.ndim(state.bias_offset):
            state = restarted(state, init(params), dict.fromkeys(state.slots, structure.unflatten(assigned)))
        slots = {name: structure.flatten_up_to(tree) for name, tree in state.slots.items()}
        plateau = {name: plateaus.refresh(values, state.plateau.get(name, {})) for name, values in driven.items()}
        numbers = evaluated(state.count if step is None else as_step(step), leaves, plateau)
        own_options = options
        if state.overrides:
            _check_overrides(optimizer, rule, state, active)
            numbers = overridden(numbers, state.overrides, len(active))
            own_options = {
                name: _options(rule, definition, {**values, **state.overrides}, fixed or {})
                for name, values in active.items()
            }
        if rule.max_norm is not None and numbers and numbers[rule.max_norm] is not None:
            trained = [i for i, group in enumerate(assigned) if group in active]
            clipped = clip_by_norm([gradients[i] for i in trained], jnp.ravel(numbers[rule.max_norm])[0])
            for i, gradient in zip(trained, clipped, strict=True):
                gradients[i] = gradient
        count = jnp.asarray(optax.safe_increment(state.count))

        def steps(own: Values) -> Mapping[str, jax.Array]:
            return rule.per_step(Hypers(**own)) if rule.per_step else {}

        known = {**numbers, **state.shared, "count": corrected_count(state, count)}
        per_step = {**state.shared, **(steps(known) if active else {})}
        of_group = dict(zip(active, _by_group({**known, **per_step}, len(active)), strict=True))
        if factors:
            before = dict(zip(active, _by_group(known, len(active)), strict=True))
            of_group |= {name: by_layer(before[name], own, steps) for name, own in factors.items()}

        def one(i: int, group: str) -> tuple[jax.Array, Slots]:
            own = {name: leaves[i] for name, leaves in slots.items()}
            if group not in active:
                return jnp.zeros_like(leaves[i]), own
            update_of = functools.partial(_update_array, equation=rule.update, options=own_options[group])
            if group in factors or (active[group]["stacked"] and not rule.elementwise):
                update_of = jax.vmap(update_of, (0, 0, 0, 0 if group in factors else None))
            return update_of(gradients[i], own, leaves[i], of_group[group])

        results = [one(i, group) for i, group in enumerate(assigned)]
        new_slots = {name: structure.unflatten([own[name] for _, own in results]) for name in slots}
        shared = {name: jnp.broadcast_to(per_step[name], (len(active),)) for name in rule.shared}
        new_state = OptimizerState(
            count, state.groups, report(numbers), shared, new_slots, plateau, state.bias_offset, state.overrides
        )
        return structure.unflatten([own for own, _ in results]), new_state

    return optax.GradientTransformationExtraArgs(takes_shapes(init), update)


def check_whole(optimizer: str, params: Any, elementwise: bool) -> None:
    """That an optimizer which may look at whole arrays does not get joined ones."""
    if isinstance(params, grouping.JoinedTree) and not elementwise:
        raise ValueError(
            f"{optimizer}: it looks at whole arrays, which flatten_groups joins; leave it out, and build a recipe "
            "without flatten=True"
        )


def check_parameter(optimizer: str, leaf: Any, path: str, *, is_frozen: bool) -> None:
    """That a leaf of the parameters is an array and, unless it is frozen, a floating one."""
    if not (hasattr(leaf, "dtype") or is_host_number(leaf)):
        raise TypeError(
            f"{optimizer}: {path!r} is no array but {short(leaf)}; pass the arrays alone, of an Equinox module "
            "eqx.filter(model, eqx.is_inexact_array)"
        )
    if not is_frozen and not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
        raise TypeError(
            f"{optimizer}: parameter {path!r} is {jnp.result_type(leaf)}; only floating ones can be trained. Keep it "
            "out of the tree, or freeze its group with None."
        )


def check_state(optimizer: str, state: Any, groups: Values, slots: Mapping[str, Any]) -> None:
    """That a state is of this optimizer: of other groups it would name the wrong ones, and without a slot not go on."""
    if not isinstance(state, OptimizerState):
        raise TypeError(f"{optimizer}: the state must be what init returned, got {_what_it_is(state)}")
    missing = [name for name in slots if name not in state.slots]
    if sorted(state.groups) != sorted(groups) or missing:
        raise ValueError(
            f"{optimizer}: the state is of another optimizer: it has the groups {_listed(state.groups)} and the slots "
            f"{_listed(state.slots)}; here the groups are {_listed(groups)}, the slots {_listed(slots)}. "
            "To go on from it: js.carry_over(state, tx.init(params))"
        )
    if any(jnp.shape(row) != (len(groups),) for row in jax.tree.leaves(state.hyperparams)):
        raise ValueError(
            f"{optimizer}: state.hyperparams was changed, but it only reports what the last update used; to set a "
            "value from here on: js.optimizers.override(state, lr=...)"
        )


def _check_overrides(optimizer: str, rule: UpdateRule, state: OptimizerState, active: Mapping[str, Values]) -> None:
    """That there is a slot for what was the number 0 when the optimizer was made, and was overridden since."""
    for values in active.values():
        missing = [name for name in rule.slots({**values, **state.overrides}) if name not in state.slots]
        if missing:
            raise ValueError(
                f"{optimizer}: {' and '.join(state.overrides)} cannot be overridden, since the state has no slot "
                f"{', '.join(map(repr, missing))}: make the optimizer with js.constant(0.0) in place of the number 0"
            )


def _what_it_is(state: Any) -> str:
    kind = type(state).__name__
    if isinstance(state, Mapping):
        return (
            f"{kind}: restore a checkpoint with the structure of the state, such as checkpointer.restore(path, "
            "tx.init(params)) of orbax"
        )
    return f"{kind}; the order is tx.update(gradients, opt_state, params)"


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"


def assignment_of(
    rules: grouping.Rules | None, groups: Groups | None
) -> tuple[tuple[grouping.Rule, ...], Callable[[Any], grouping.Grouped]]:
    """The rules, and what finds the groups of the parameters of a tree."""
    ruled = _required(grouping.as_rules(rules), groups or {}, given=rules is not None)
    return ruled, _Assignment(ruled)


def _required(ruled: tuple[grouping.Rule, ...], groups: Groups, given: bool) -> tuple[grouping.Rule, ...]:
    """The rules by role may match nothing, unless the user said something about their group."""
    return ruled if given else tuple(rule._replace(optional=rule.group not in groups) for rule in ruled)


class _Assignment:
    """The groups of the parameters of a tree, found once for each structure: walking paths costs more than tracing."""

    def __init__(self, rules: tuple[grouping.Rule, ...]):
        self.rules = rules
        self.found: dict[Any, grouping.Grouped] = {}

    def __call__(self, params: Any) -> grouping.Grouped:
        leaves, structure = _flatten(params)
        key = (structure, tuple(getattr(leaf, "shape", ()) for leaf in leaves))
        if key not in self.found:
            self.found[key] = grouping.grouped(params, self.rules)
        return self.found[key]


def _options(
    rule: UpdateRule, definition: Definition, values: Values, fixed: Mapping[str, Any]
) -> tuple[tuple[str, Any], ...]:
    """What is known of a group when the optimizer is made; hashable, so that the rule is traced once for each."""
    names = [name for name, own in definition.arguments.items() if own.is_option and name not in LAYOUT]
    known = {**{name: values[name] for name in names}, **fixed}
    decay = rule.weight_decay
    if "decoupled_weight_decay" in known:
        decay = "decoupled" if known["decoupled_weight_decay"] else "coupled"
    if "weight_decay" not in values or is_zero(values["weight_decay"]):
        decay = "none"
    return tuple(sorted({**known, "decay": decay}.items()))


def _by_group(numbers: Values, groups: int) -> list[Values]:
    """For each group its own of the numbers, [] or [1]."""
    rows, structure = _flatten(numbers)
    columns = [[row] * groups if row.ndim == 0 else jax.lax.split(row, (1,) * groups) for row in rows]
    return [structure.unflatten(own) for own in zip(*columns, strict=True)] if rows else [{}] * groups


def _flatten(tree: Any) -> tuple[list[Any], Any]:
    """``jax.tree.flatten``, whose treedef has no type that type checkers know."""
    return jax.tree.flatten(tree)


def _pairs(x: jax.Array) -> jax.Array:
    return jnp.stack([x.real, x.imag], -1) if jnp.iscomplexobj(x) else x


def _unpaired(x: jax.Array, like: Any) -> jax.Array:
    return jax.lax.complex(x[..., 0], x[..., 1]) if jnp.iscomplexobj(like) else x


@functools.partial(jax.jit, static_argnames=("equation", "options"))
def _update_array(
    gradient: jax.Array,
    slots: Slots,
    param: jax.Array,
    numbers: Values,
    *,
    equation: Callable[..., tuple[jax.Array, Slots]],
    options: tuple[tuple[str, Any], ...],
) -> tuple[jax.Array, Slots]:
    """One parameter's update, in its own dtype, and its slots. Jitted: traced once for all arrays of a shape."""
    out, compute = jnp.result_type(param), compute_dtype(param)
    values = jax.tree.map(lambda number: number.astype(jnp.finfo(compute).dtype).reshape(()), numbers)
    values["count"] = numbers["count"].reshape(())
    h = Hypers(**dict(options), **values, dtype=out)
    gradient = reshard_like(jnp.asarray(gradient).astype(compute), param)  # it may be replicated beside sharded ones
    kept = {name: slot.dtype for name, slot in slots.items()}
    slots = {name: slot.astype(compute) for name, slot in slots.items()}
    gradient, at, own = jax.tree.map(_pairs, (gradient, param.astype(compute), slots))
    if getattr(h, "maximize", False):
        gradient = -gradient
    shrink = 0.0
    if h.decay == "coupled":
        gradient = gradient + h.weight_decay * at
    elif h.decay == "decoupled":
        shrink = -h.lr * h.weight_decay * at
    update, own = equation(gradient, own, at + shrink, h)
    update, own = jax.tree.map(lambda x: _unpaired(x, param), (update + shrink, own))
    return update.astype(out), {name: slot.astype(kept[name]) for name, slot in own.items()}
