"""Groups and schedules around any optimizer of optax."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxsched import groups as grouping
from jaxsched.metric import internal as plateaus
from jaxsched.numerics import as_step, is_host_number, takes_shapes
from jaxsched.optimizers._assignment import assignment_of
from jaxsched.optimizers._checks import check_parameter, check_shapes, check_state, check_whole, leaves_like
from jaxsched.optimizers._hyperparameters import Groups, Values
from jaxsched.optimizers._optax import definition_of_factory
from jaxsched.optimizers._override import overridden
from jaxsched.optimizers._part import Part
from jaxsched.optimizers._reset import counted, restarted
from jaxsched.optimizers._state import OptimizerState
from jaxsched.optimizers._values import evaluate
from jaxsched.schedules import Schedule


def grouped(
    factory: Callable[..., optax.GradientTransformation],
    *,
    groups: Groups | None = None,
    rules: grouping.Rules | None = None,
    **hyperparameters: Any,
) -> optax.GradientTransformationExtraArgs:
    """Any optimizer of optax with schedules and groups: each number may be a schedule, and differ by group.

    Each group has the optimizer ``factory(**its hyperparameters)``, constructed at each step with the current values;
    all share one count. As for the optimizers of jaxsched, `hyperparams` reads the values, `override` sets them, and a
    `plateau` may stand for any of them. Numbers that do not change are passed to ``factory`` as they are.

    Args:
        factory: Such as ``optax.lion`` or ``optax.adabelief``: from keyword arguments to a transformation.
        groups: What single groups override, by name; None freezes a group, which then has no state.
        rules: Pairs of a match and a group name; by default by role (``bias``, ``norm``, ``weight``).
        hyperparameters: The arguments of ``factory`` for all groups.

    Returns:
        An optax transformation whose updates have the dtypes of the parameters. Its state is an `OptimizerState`, with
        the state of each group's optimizer in ``slots``: of dicts of parameters only what is the group's.

    Raises:
        ValueError: If ``factory`` has no such argument, an argument that it needs is missing, or the rules make no such
            group.
        TypeError: If an argument is of the wrong type.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js, optax
        >>> lr = js.linear(1.0, 0.0, 10)
        >>> tx = js.optimizers.grouped(optax.lion, learning_rate=lr, groups={"bias": dict(learning_rate=0.5 * lr)})
        >>> params = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
        >>> updates, state = tx.update(params, tx.init(params), params)
        >>> round(float(updates["bias"][0]), 2), float(js.hyperparams(state)["weight"]["learning_rate"])
        (-0.5, 1.0)
    """
    definition = definition_of_factory(factory)
    ruled, assignment = assignment_of(rules, groups)
    names = tuple(dict.fromkeys(rule.group for rule in ruled))
    by_group = definition.by_group(hyperparameters, groups, names)
    active = {name: values for name, values in sorted(by_group.items()) if values is not None}
    numeric = [name for name in definition.arguments if _is_numeric([values[name] for values in active.values()])]
    for values in active.values():
        definition.check_shapes({name: values[name] for name in numeric})
    driven = {name: values for name, values in active.items() if plateaus.definitions(values)}

    def evaluated(step: ArrayLike, plateau: Mapping[str, Any]) -> Values:
        present = [plateaus.resolve(values, plateau.get(name, {})) for name, values in active.items()]
        return evaluate(present, numeric, step, jnp.dtype(jnp.result_type(float)))

    def made(group: str, i: int, numbers: Values, changed: Mapping[str, Any]) -> Any:
        """The optimizer of a group, with the numbers in force."""
        values = {
            name: _in_force(value, numbers[name], i, name in changed) if name in numeric else value
            for name, value in active[group].items()
        }
        try:
            return optax.with_extra_args_support(factory(**values))
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{definition.name}: {error}") from error

    def init(params: Any) -> OptimizerState:
        check_whole(definition.name, params, elementwise=False)  # for all that is known of it
        structure: Any = jax.tree.structure(params)
        assigned = assignment(params)
        of = assigned.groups
        for leaf, path, group in zip(structure.flatten_up_to(params), assigned.paths, of, strict=True):
            check_parameter(definition.name, leaf, path, is_frozen=group not in active)
        plateau = {name: plateaus.start(values) for name, values in driven.items()}
        numbers = evaluated(0, plateau)
        slots = {}
        for i, group in enumerate(active):
            tx = made(group, i, numbers, {})
            if of:
                part = Part(structure, tuple(of), group)
                slots[group] = part.shrunk(_started(tx, part.of(params)))
            else:  # nothing to train, or optax.tree.map_params asking where parameters go
                slots[group] = _started(tx, params)
        slots = jax.tree.map(jnp.array, slots)  # some keep the parameters, which cannot be donated twice
        zeros = (jnp.zeros((), jnp.int32) for _ in range(2))
        return OptimizerState(next(zeros), dict.fromkeys(active, ()), report(numbers), {}, slots, plateau, next(zeros))

    def report(numbers: Values) -> Values:
        return jax.tree.map(lambda row: jnp.broadcast_to(row, (len(active),)), numbers)

    def update(
        updates: Any, state: Any, params: Any = None, *, step: ArrayLike | None = None, **extra: Any
    ) -> tuple[Any, OptimizerState]:
        check_state(definition.name, state, active, active)
        like = updates if params is None else params
        if jnp.ndim(state.bias_offset):
            state = restarted(state, init(like), {group: group for group in active})
        structure: Any = jax.tree.structure(updates)
        paths, of = assignment(like)
        leaves = leaves_like(definition.name, updates, "the parameters", like)
        gradients = map(_of_an_example, jax.tree.leaves(updates), leaves)
        check_shapes(definition.name, paths, "the gradient of", list(gradients), leaves)
        plateau = {name: plateaus.refresh(values, state.plateau.get(name, {})) for name, values in driven.items()}
        numbers = evaluated(state.count if step is None else as_step(step), plateau)
        numbers = overridden(numbers, state.overrides, len(active)) if state.overrides else numbers
        new = [jnp.zeros_like(leaf) for leaf in leaves]
        slots = dict(state.slots)
        for i, group in enumerate(active):
            if group not in of:
                continue
            part, tx = Part(structure, tuple(of), group), made(group, i, numbers, state.overrides)
            mine = None if params is None else part.of(params)
            own, after = tx.update(part.of(updates), part.grown(state.slots[group]), mine, **extra)
            slots[group] = part.shrunk(after)
            for j, (found, name) in enumerate(zip(structure.flatten_up_to(own), of, strict=True)):
                if name == group:
                    new[j] = found.astype(jnp.result_type(leaves[j]))
        check_shapes(definition.name, paths, "the update of", new, leaves)
        new_state = counted(state)._replace(hyperparams=report(numbers), slots=slots, plateau=plateau)
        return structure.unflatten(new), new_state

    made_init = takes_shapes(init)
    arguments = {"factory": factory, "hyperparameters": hyperparameters, "groups": groups, "rules": rules}
    made_init.made_by = (grouped, arguments)  # type: ignore[attr-defined]  # for reports on a chain of them
    return optax.GradientTransformationExtraArgs(made_init, update)


def _of_an_example(gradient: Any, leaf: Any) -> Any:
    """A gradient without the axis of examples that ``optax.contrib.dpsgd`` takes before the others."""
    shape = jnp.shape(gradient)
    return jax.ShapeDtypeStruct(shape[1:], gradient.dtype) if len(shape) == jnp.ndim(leaf) + 1 else gradient


def _started(tx: Any, params: Any) -> Any:
    """The state of a group's optimizer: of its usual form without parameters too, for ``optax.tree.map_params``."""
    try:
        return tx.init(params)
    except Exception:
        if jax.tree.leaves(params) or not _starts_with_one(tx):
            raise
        return ()  # it cannot do without parameters, as ``optax.lbfgs``, which asks the first for its dtype


def _starts_with_one(tx: Any) -> bool:
    try:
        jax.eval_shape(tx.init, jax.ShapeDtypeStruct((1, 1), jnp.float32))
    except Exception:
        return False
    return True


def _is_numeric(values: Sequence[Any]) -> bool:
    """Whether an argument is a number or a schedule, or a tuple of them, in one group, and that or None in all."""
    found = list(map(_is_value, values))
    return any(found) and all(own or value is None for own, value in zip(found, values, strict=True))


def _is_value(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(map(_is_value, value))
    is_key = hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return is_host_number(value) or isinstance(value, Schedule) or (hasattr(value, "dtype") and not is_key)


def _in_force(value: Any, row: Any, i: int, is_set: bool) -> Any:
    """What the factory gets: a number of Python where it does not change, so that the factory may look at it."""
    if isinstance(value, tuple):
        return tuple(_in_force(*each, i, is_set) for each in zip(value, row, strict=True))
    if value is None or (is_host_number(value) and not is_set):
        return value
    return row if row.ndim == 0 else row[i]
