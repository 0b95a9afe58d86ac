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
from jaxsched.metric import internal as plateaus
from jaxsched.numerics import as_step, compute_dtype, once, takes_shapes
from jaxsched.optimizers._array import Options, start_slot, update_array
from jaxsched.optimizers._assignment import assignment_of
from jaxsched.optimizers._checks import check_overrides, check_params, check_shapes, check_state, leaves_like
from jaxsched.optimizers._hyperparameters import Definition, Groups, Values
from jaxsched.optimizers._layout import LAYOUT, by_layer, check_slots, check_weights
from jaxsched.optimizers._norm import clip_by_norm
from jaxsched.optimizers._override import overridden
from jaxsched.optimizers._reset import corrected_count, counted, restarted
from jaxsched.optimizers._rule import Hypers, SlotInit, Slots, UpdateRule
from jaxsched.optimizers._state import OptimizerState
from jaxsched.optimizers._values import evaluate, is_constant, is_zero, values_of


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
        groups: The hyperparameters that each group overrides.
        rules: Which parameter belongs to which group; by role where left out.
        check: A check of each group's hyperparameters together.
        fixed: Options of the rule that the signature leaves out.
    """
    ruled, assignment = assignment_of(rules, groups)
    names = tuple(dict.fromkeys(r.group for r in ruled))
    by_group = definition.by_group(given, groups, names)
    active = {name: values for name, values in sorted(by_group.items()) if values is not None}
    for values in active.values():
        definition.check_shapes(values)
    if check:
        check(list(active.values()))
    driver = _Driver(definition, rule, active, assignment, fixed or {})
    return optax.GradientTransformationExtraArgs(takes_shapes(driver.init), driver.update)


class _Driver:
    """A rule and the hyperparameters of each group that is trained.

    Args:
        definition: What the optimizer's signature says.
        rule: The equation on one array.
        active: The hyperparameters of each group that is not frozen, in the order of their names.
        assignment: Finds the groups of the parameters of a tree.
        fixed: Options of the rule that the signature leaves out.
    """

    def __init__(
        self,
        definition: Definition,
        rule: UpdateRule,
        active: dict[str, Values],
        assignment: Callable[[Any], grouping.Grouped],
        fixed: Mapping[str, Any],
    ):
        self.name, self.definition, self.rule, self.fixed = definition.name, definition, rule, fixed
        self.active, self.assignment = active, assignment
        self.numeric = [name for name, argument in definition.arguments.items() if not argument.is_option]
        self.constant = {name for name in self.numeric if all(is_constant(values[name]) for values in active.values())}
        self.options = {name: self._options(values) for name, values in active.items()}
        self.driven = {name: values for name, values in active.items() if plateaus.definitions(values)}
        self.layers = {name: v["stacked"] for name, v in active.items() if isinstance(v["stacked"], tuple)}
        self.slots: dict[str, SlotInit] = {}
        for values in active.values():
            self.slots = {**rule.slots(values), **self.slots}
        check_slots(self.name, list(active.values()), list(self.slots))
        check_weights(self.name, list(active.values()), rule.weights)

    def init(self, params: Any) -> OptimizerState:
        """The state before the first update."""
        leaves, structure = _flatten(params)
        assigned = self.assignment(params)
        check_params(self.name, self.rule, self.active, params, assigned)

        def start(name: str, slot: SlotInit) -> Any:
            if not leaves:  # nothing to train, or optax.tree.map_params asking where parameters go
                return params
            return structure.unflatten(
                start_slot(name, slot, leaf, self.active[group], self._is_by_layer(group))
                if group in self.active
                else optax.MaskedNode()  # no memory, and no leaf: a frozen backbone of 1 GB costs none
                for leaf, group in zip(leaves, assigned.groups, strict=True)
            )

        plateau = {name: plateaus.start(values) for name, values in self.driven.items()}
        numbers = self._report(self._evaluated(0, leaves, plateau))
        dtype = next((row.dtype for row in jax.tree.leaves(numbers)), jnp.float32)
        return OptimizerState(
            count=jnp.zeros((), jnp.int32),
            groups=dict.fromkeys(self.active, ()),
            hyperparams=numbers,
            shared={name: jnp.full(len(self.active), value, dtype) for name, value in self.rule.shared.items()},
            slots={name: start(name, slot) for name, slot in self.slots.items()},
            plateau=plateau,
            bias_offset=jnp.zeros((), jnp.int32),
        )

    def update(
        self, updates: Any, state: Any, params: Any = None, *, step: ArrayLike | None = None, **extra: Any
    ) -> tuple[Any, OptimizerState]:
        """What is added to the parameters, and the next state."""
        del extra
        if params is None:
            raise ValueError(f"{self.name}: update needs the parameters: tx.update(gradients, opt_state, params)")
        check_state(self.name, state, self.active, self.slots)
        gradients, structure = _flatten(updates)
        leaves = leaves_like(self.name, updates, "the parameters", params)
        paths, assigned = self.assignment(params)
        check_shapes(self.name, paths, "the gradient of", gradients, leaves)
        if jnp.ndim(state.bias_offset):
            state = restarted(state, self.init(params), dict.fromkeys(state.slots, structure.unflatten(assigned)))
        slots = {
            name: leaves_like(self.name, updates, f"state.slots[{name!r}]", tree) for name, tree in state.slots.items()
        }
        plateau = {name: plateaus.refresh(own, state.plateau.get(name, {})) for name, own in self.driven.items()}
        numbers = self._evaluated(state.count if step is None else as_step(step), leaves, plateau)
        numbers, options = self._overridden(state, numbers)
        gradients = self._clipped(gradients, assigned, numbers)
        state = counted(state)
        of_group, per_step = self._per_step(state, {**numbers, "count": corrected_count(state)})
        results = []
        for i, group in enumerate(assigned):
            own = {name: leaves_of[i] for name, leaves_of in slots.items()}
            if group in self.active:
                results.append(self._updated(group, gradients[i], own, leaves[i], of_group[group], options[group]))
            else:
                results.append((jnp.zeros_like(leaves[i]), own))
        after = {name: [own[name] for _, own in results] for name in slots}
        for name in slots:
            check_shapes(self.name, paths, f"state.slots[{name!r}] of", slots[name], after[name])
        new_state = state._replace(
            hyperparams=self._report(numbers),
            shared={name: jnp.broadcast_to(per_step[name], (len(self.active),)) for name in self.rule.shared},
            slots={name: structure.unflatten(leaves) for name, leaves in after.items()},
            plateau=plateau,
        )
        return structure.unflatten([update for update, _ in results]), new_state

    def _options(self, values: Values) -> Options:
        """What is known of a group when the optimizer is made; hashable, so that the rule is traced once for each."""
        arguments = self.definition.arguments
        names = [name for name, own in arguments.items() if own.is_option and name not in LAYOUT]
        known = {**{name: values[name] for name in names}, **self.fixed}
        decay = self.rule.weight_decay
        if "decoupled_weight_decay" in known:
            decay = "decoupled" if known["decoupled_weight_decay"] else "coupled"
        if "weight_decay" not in values or is_zero(values["weight_decay"]):
            decay = "none"
        return tuple(sorted({**known, "decay": decay}.items()))

    def _is_by_layer(self, group: str) -> bool:
        """Whether each layer of a stack is an array of its own to the rule."""
        return bool(self.active[group]["stacked"]) and not self.rule.elementwise

    def _evaluated(self, step: ArrayLike, leaves: list[Any], plateau: Mapping[str, Any]) -> Values:
        """The hyperparameters at a step: by name an array, [] if all groups have the same number, or [groups]."""
        wide = any(compute_dtype(leaf) in (jnp.float64, jnp.complex128) for leaf in leaves)
        dtype = jnp.dtype(jnp.float64 if wide else jnp.float32)
        present = [plateaus.resolve(values, plateau.get(name, {})) for name, values in self.active.items()]
        try:
            return evaluate(present, self.numeric, step, dtype, self.rule.averages)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.name}: {error}") from error

    def _overridden(self, state: OptimizerState, numbers: Values) -> tuple[Values, Mapping[str, Options]]:
        """The hyperparameters and the options with what `override` set."""
        if not state.overrides:
            return numbers, self.options
        check_overrides(self.name, self.rule, state, self.active)
        options = {name: self._options({**values, **state.overrides}) for name, values in self.active.items()}
        return overridden(numbers, state.overrides, len(self.active)), options

    def _clipped(self, gradients: list[Any], assigned: Sequence[str], numbers: Values) -> list[Any]:
        """The gradients, with the norm of the trained ones together limited where the rule does that."""
        name = self.rule.max_norm
        if name is None or not numbers or numbers[name] is None:
            return gradients
        trained = [i for i, group in enumerate(assigned) if group in self.active]
        clipped = clip_by_norm([gradients[i] for i in trained], jnp.ravel(numbers[name])[0])
        found = dict(zip(trained, clipped, strict=True))
        return [found.get(i, gradient) for i, gradient in enumerate(gradients)]

    def _per_step(self, state: OptimizerState, numbers: Values) -> tuple[dict[str, Values], Mapping[str, Any]]:
        """The numbers of each group, with what is computed of them once per step; and the latter for all groups."""

        def steps(own: Values) -> Mapping[str, jax.Array]:
            return self.rule.per_step(Hypers(**own)) if self.rule.per_step else {}

        known = {**numbers, **state.shared}
        per_step = {**state.shared, **(steps(known) if self.active else {})}
        every = {**known, **per_step}
        every |= once({name: row for name, row in every.items() if name not in self.constant})
        of_group = dict(zip(self.active, _by_group(every, len(self.active)), strict=True))
        if self.layers:
            before = dict(zip(self.active, _by_group(known, len(self.active)), strict=True))
            of_group |= {name: by_layer(before[name], factors, steps) for name, factors in self.layers.items()}
        return of_group, per_step

    def _updated(
        self, group: str, gradient: Any, slots: Slots, param: Any, numbers: Values, options: Options
    ) -> tuple[jax.Array, Slots]:
        one = functools.partial(update_array, equation=self.rule.update, options=options)
        if group in self.layers or self._is_by_layer(group):
            one = jax.vmap(one, (0, 0, 0, 0 if group in self.layers else None))
        return one(gradient, slots, param, numbers)

    def _report(self, numbers: Values) -> Values:
        return jax.tree.map(lambda row: jnp.broadcast_to(row, (len(self.active),)), values_of(numbers))


def _by_group(numbers: Values, groups: int) -> list[Values]:
    """For each group its own of the numbers, [] or [1]."""
    rows, structure = _flatten(numbers)
    columns = [[row] * groups if row.ndim == 0 else jax.lax.split(row, (1,) * groups) for row in rows]
    return [structure.unflatten(own) for own in zip(*columns, strict=True)] if rows else [{}] * groups


def _flatten(tree: Any) -> tuple[list[Any], Any]:
    """``jax.tree.flatten``, whose treedef has no type that type checkers know."""
    return jax.tree.flatten(tree)
