"""A recipe: the plain description of a training run's optimization, from which the optax chain is built."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from jaxsched import groups as grouping
from jaxsched import optimizers, transforms
from jaxsched.checks import did_you_mean, positive, short
from jaxsched.numerics import MAX_STEP, FieldKey
from jaxsched.optimizers.internal import (
    Argument,
    Definition,
    definition_of,
    definition_of_factory,
    dtype_name,
    optax_factory,
)
from jaxsched.recipe._html import recipe_html
from jaxsched.recipe._json import from_json, to_json
from jaxsched.schedules import Value
from jaxsched.schedules.internal import check_value, has_more_parts

MOST_GROUPS = 4096
MOST_PARTS = 4096
"""Most schedules in a recipe: a report evaluates each of them, at 100 us."""


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True)
class Accumulation:
    """How many batches make an update; see `accumulate`.

    Attributes:
        every: Batches per update: a number or a schedule.
        mean: Whether the gradients are averaged rather than summed.
        drop_at_epoch_end: Whether gradients that are left at the end of an epoch are dropped.
        at_multiples: Whether updates happen at multiples of ``every``, or ``every`` batches after the last update.
        state_dtype: The dtype in which gradients are gathered, by name; None for that of the parameters, float32 at
            least.

    Examples:
        >>> import jaxsched as js
        >>> recipe = js.Recipe("sgd", dict(lr=0.1), accumulate=js.Accumulation(every=4, mean=True), steps=8)
        >>> js.report.update_steps(recipe)
        array([False, False, False,  True, False, False, False,  True])
    """

    every: Value
    mean: bool = False
    drop_at_epoch_end: bool = False
    at_multiples: bool = False
    state_dtype: str | None = None

    def __post_init__(self) -> None:
        if self.state_dtype is not None:
            object.__setattr__(self, "state_dtype", dtype_name("Accumulation: state_dtype", self.state_dtype))

    def tree_flatten_with_keys(self) -> Any:
        static = (self.mean, self.drop_at_epoch_end, self.at_multiples, self.state_dtype)
        return ((FieldKey("every"), self.every),), static

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> Accumulation:
        return cls(*children, *aux)


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True)
class Recipe:
    """The optimization of a training run: optimizer, hyperparameters of each group, clipping, accumulation, EMA.

    A recipe is a value: it prints, compares and pickles, and passes through ``jax.jit`` and ``jax.vmap``. Its numbers
    and those of its schedules are pytree leaves; its strings and bools are static.

    Attributes:
        optimizer: The name of an optimizer in ``jaxsched.optimizers``; not ``lbfgs``, which has no groups. Or of one of
            optax, such as ``"optax.lion"`` or ``"optax.contrib.prodigy"``, whose hyperparameters have optax's names;
            `grouped` builds it.
        hyperparameters: Arguments of the optimizer, for all groups.
        groups: The hyperparameters that each group overrides; None freezes a group.
        rules: Rules that assign parameters to groups.
        clip_norm: Largest global norm of the gradients, or None.
        clip_value: Largest absolute value of an entry of a gradient, or None.
        clip_each_norm: Largest norm of the gradient of a single parameter, or None. By value is clipped first, then
            each gradient, then all together.
        accumulate: Gradient accumulation; None for one batch per update.
        ema: Decay of the EMA of the parameters, per update; None for no EMA.
        steps: Length of the run in steps (batches).
        steps_per_epoch: Batches in an epoch.
        batch_size: Images in a batch, over all devices.
        nominal_batch_size: Images per update that the learning rates are meant for, if the source says so.
        notes: What a port left out, and what it decided.
        origin: For a field or ``group.hyperparameter``, the setting that its value comes from.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> recipe = js.Recipe("sgd", dict(lr=js.cosine(0.1, steps=100), momentum=0.9), steps=100)
        >>> params = {"kernel": jnp.ones(3)}
        >>> state = recipe.build().init(params)
        >>> float(js.hyperparams(state)["weight"]["lr"])  # in float32
        0.10000000149011612
    """

    optimizer: str
    hyperparameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Any] | None] = dataclasses.field(default_factory=dict)
    rules: tuple[grouping.Rule, ...] = grouping.BY_ROLE
    clip_norm: Value | None = None
    clip_value: float | None = None
    clip_each_norm: Value | None = None
    accumulate: Accumulation | None = None
    ema: Value | None = None
    steps: int | None = None
    steps_per_epoch: int | None = None
    batch_size: int | None = None
    nominal_batch_size: int | None = None
    notes: tuple[str, ...] = ()
    origin: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if _definition(self.optimizer) is None:
            raise ValueError(_refusal(self.optimizer))
        for name in ("hyperparameters", "groups", "origin"):
            if not isinstance(getattr(self, name), Mapping):
                raise TypeError(f"Recipe: {name} must be a dict, got {getattr(self, name)!r}")
        for name in ("steps", "steps_per_epoch", "batch_size", "nominal_batch_size"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"Recipe: {name} must be a whole number >= 1 or None, got {short(value)}")
            if value is not None and value > MAX_STEP:
                raise ValueError(f"Recipe: {name} must be below 2**31 (steps are int32), got {short(value)}")
        if self.accumulate is not None and not isinstance(self.accumulate, Accumulation):
            raise TypeError(f"Recipe: accumulate must be js.Accumulation(every=...) or None, got {self.accumulate!r}")
        options = _options(self.optimizer)
        groups = {name: own if own is None else _as_values(own, options) for name, own in self.groups.items()}
        object.__setattr__(self, "hyperparameters", _as_values(self.hyperparameters, options))
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "rules", grouping.as_rules(self.rules))
        object.__setattr__(self, "notes", tuple(self.notes))
        for name in ("clip_norm", "clip_each_norm", "ema"):
            object.__setattr__(self, name, _as_value(name, getattr(self, name)))
        self.by_group()  # which checks the hyperparameters
        self._check_size()
        object.__setattr__(self, "_options", _Options.of(self))
        self._around()

    def _check_size(self) -> None:
        if len(self.groups) > MOST_GROUPS:
            raise ValueError(f"Recipe: groups must have at most {MOST_GROUPS:,} entries, got {len(self.groups):,}")
        own = [list(values.values()) for values in self.groups.values() if values]
        every = None if self.accumulate is None else self.accumulate.every
        if has_more_parts([*self.hyperparameters.values(), *own, self.clip_norm, self.ema, every], MOST_PARTS):
            raise ValueError(f"Recipe: it is made of more than {MOST_PARTS:,} schedules; use js.table for long lists")

    def build(self, *, flatten: bool = False) -> optax.GradientTransformationExtraArgs:
        """Build the optax transformation: clipping, optimizer and EMA, inside the accumulation.

        Call ``update`` once per batch, with the parameters. It returns zero updates while it accumulates.

        Args:
            flatten: Keep and update the parameters of each group as one vector, which can be faster where there are
                many small arrays; see `flatten_groups`. Not with ``clip_each_norm``.

        Raises:
            ValueError: If a hyperparameter is not known or out of its range.
        """
        before, after, accumulate = self._around()
        frozen = [group for group, overrides in self.groups.items() if overrides is None]
        if frozen:  # frozen parameters do not count in the norm that is clipped, as without a gradient
            before = [optax.masked(optax.set_to_zero(), grouping.mask(*frozen, rules=self.rules)), *before]
        factory = optax_factory(self.optimizer)
        make = functools.partial(optimizers.grouped, factory) if factory else getattr(optimizers, self.optimizer)
        tx = _chained(*before, make(**self.hyperparameters, groups=self.groups, rules=self.rules), *after)
        return accumulate(transforms.flatten_groups(tx, self.rules) if flatten else tx)

    def _around(self) -> tuple[list[Any], list[Any], Callable[[Any], optax.GradientTransformationExtraArgs]]:
        """The transformations before, after and around the optimizer; constructing them checks their arguments."""
        try:
            before: list[Any] = [] if self.clip_value is None else [optax.clip(positive("clip_value", self.clip_value))]
            before += [] if self.clip_each_norm is None else [transforms.clip_each_norm(self.clip_each_norm)]
            before += [] if self.clip_norm is None else [transforms.clip_norm(self.clip_norm)]
            after = [] if self.ema is None else [transforms.ema(self.ema)]
            own = self.accumulate
            if own is None:
                return before, after, lambda tx: tx
            if own.drop_at_epoch_end and self.steps_per_epoch is None:
                raise ValueError("accumulate: drop_at_epoch_end needs steps_per_epoch")
            around = functools.partial(
                transforms.accumulate,
                every=own.every,
                mean=own.mean,
                steps_per_epoch=self.steps_per_epoch if own.drop_at_epoch_end else None,
                at_multiples=own.at_multiples,
                state_dtype=own.state_dtype,
            )
            around(optax.identity())
        except (TypeError, ValueError) as error:
            raise type(error)(f"Recipe: {error}") from None
        return before, after, around

    def by_group(self) -> dict[str, dict[str, Any] | None]:
        """All hyperparameters of each group, with defaults; None if it is frozen."""
        names = tuple(dict.fromkeys(rule.group for rule in self.rules))
        definition = _definition(self.optimizer)
        assert definition  # checked in __post_init__
        return definition.by_group(self.hyperparameters, self.groups, names)

    def to_json(self) -> str:
        """Write the recipe as JSON: every number exactly, and no code.

        Raises:
            TypeError: If it holds a function of the user's own (as a schedule or in a rule), or traced numbers.

        Examples:
            >>> import jaxsched as js
            >>> recipe = js.Recipe("sgd", dict(lr=js.cosine(0.1, steps=100)), steps=100)
            >>> js.Recipe.from_json(recipe.to_json()) == recipe
            True
        """
        return to_json(self, RECORDS)

    @staticmethod
    def from_json(text: str | bytes) -> Recipe:
        """Read a recipe that `to_json` wrote. Nothing in the string is executed.

        Raises:
            TypeError: If ``text`` is not a string or bytes.
            ValueError: If it is not a valid recipe; the error names the field and the value.
        """
        recipe: Recipe = from_json(text, RECORDS)
        return recipe

    def _repr_html_(self) -> str:
        return recipe_html(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recipe):
            return NotImplemented
        structure: Any = jax.tree.structure(self)
        if structure != jax.tree.structure(other):
            return False
        same_numbers = all(map(np.array_equal, jax.tree.leaves(self), jax.tree.leaves(other)))
        return same_numbers and self.notes == other.notes and dict(self.origin) == dict(other.origin)

    __hash__ = None  # type: ignore[assignment]

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    # The static part is fixed at construction, whatever the leaves become under a transformation.
    def tree_flatten_with_keys(self) -> Any:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        options: _Options = self._options  # type: ignore[attr-defined]
        numbers = {name: fields.pop(name) for name in _NUMBERS}
        numbers["hyperparameters"] = _less(numbers["hyperparameters"], options.hyperparameters)
        numbers["groups"] = _each(_less, numbers["groups"], options.groups)
        remarks = _Remarks(fields.pop("notes"), fields.pop("origin"))
        children = tuple((FieldKey(name), value) for name, value in numbers.items())
        return children, (options, tuple(fields.items()), remarks)

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> Recipe:
        options, fields, remarks = aux
        values = {**dict(zip(_NUMBERS, children, strict=True)), **dict(fields), **vars(remarks), "_options": options}
        values["hyperparameters"] = _with(values["hyperparameters"], options.hyperparameters)
        values["groups"] = _each(_with, values["groups"], options.groups)
        recipe = object.__new__(cls)
        for name, value in values.items():
            object.__setattr__(recipe, name, value)
        return recipe


def _chained(*members: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """``optax.chain``, which says what is wrong with a state of another form."""
    chain = optax.chain(*members)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        if type(state) is not tuple or len(state) != len(members):
            raise TypeError(
                f"recipe: the state must be what build().init(params) returned, a tuple of {len(members)}, got "
                f"{type(state).__name__}; the state of an optimizer alone takes the place of the OptimizerState in it, "
                "and a checkpoint is restored with the structure of that tuple"
            )
        return chain.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(chain.init, update)


class _Options(NamedTuple):
    """The static hyperparameters of a recipe: options, by the signature of its optimizer."""

    hyperparameters: Any
    groups: Any

    @classmethod
    def of(cls, recipe: Recipe) -> _Options:
        names = _options(recipe.optimizer)

        def options(values: Any) -> Any:
            found = values.items() if isinstance(values, Mapping) else ()
            return frozenset((name, value) for name, value in found if name in names and value is not None)

        return cls(
            options(recipe.hyperparameters), frozenset((name, options(own)) for name, own in recipe.groups.items())
        )


# Within a jax transformation anything may take the place of a dict: it is left as it is.


def _less(values: Any, options: Any) -> Any:
    names = dict(options)
    return {n: v for n, v in values.items() if n not in names} if isinstance(values, Mapping) else values


def _with(values: Any, options: Any) -> Any:
    return {**values, **dict(options)} if isinstance(values, Mapping) else values


def _each(change: Callable[[Any, Any], Any], groups: Any, options: Any) -> Any:
    own = dict(options)
    return {n: change(v, own.get(n, ())) for n, v in groups.items()} if isinstance(groups, Mapping) else groups


def _as_values(values: Any, options: Mapping[str, Argument]) -> Any:
    """Convert pairs such as betas to tuples, so that they compare, and functions of the step to schedules.

    Anything but a mapping is left to `by_group`, which reports it."""
    if not isinstance(values, Mapping):
        return values
    return {
        name: _as_option(name, value, options[name]) if name in options else _as_value(name, value)
        for name, value in values.items()
    }


def _as_option(name: str, value: Any, argument: Argument) -> Any:
    """An option in its canonical form: a part of the recipe's tree structure, which compares and hashes."""
    value = tuple(value) if isinstance(value, list) else value
    try:
        value = argument.check(name, value)
    except (TypeError, ValueError):  # which by_group reports
        return value
    try:
        hash(value)
    except TypeError:
        remedy = "; leave it out and give each group its own weight_decay" if "mask" in name else ""
        kind = type(value).__name__
        raise TypeError(f"Recipe: the option {name} cannot be a {kind}, got {short(value)}{remedy}") from None
    return value


def _as_value(name: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(check_value(f"{name}[{i}]", x) if _is_function(x) else x for i, x in enumerate(value))
    return check_value(name, value) if _is_function(value) else value


def _is_function(value: Any) -> bool:
    return callable(value) and not hasattr(value, "dtype")


def _definition(name: Any) -> Definition | None:
    """The definition of the optimizer of this name, or None if no optimizer with groups has it."""
    if not isinstance(name, str):
        return None
    factory = optax_factory(name)
    return definition_of_factory(factory) if factory else definition_of(getattr(optimizers, name, None))


def _options(name: str) -> dict[str, Argument]:
    """Those arguments of the optimizer that are options."""
    definition = _definition(name)
    return {own: argument for own, argument in definition.arguments.items() if argument.is_option} if definition else {}


def _refusal(name: Any) -> str:
    known = tuple(filter(_definition, dir(optimizers)))
    text = (
        f"Recipe: optimizer must be one of {', '.join(known)}, or one of optax such as 'optax.lion', got {short(name)}"
    )
    if not isinstance(name, str):
        return text
    if callable(getattr(optimizers, name, None)):
        return f"{text}; js.{name} has no groups, and so no place in a recipe: call it yourself"
    return text + did_you_mean(name, known)


class _Remarks:
    """Notes and origins. All instances are equal, so that they do not cause a recompilation."""

    def __init__(self, notes: tuple[str, ...], origin: Mapping[str, str]):
        self.notes, self.origin = notes, origin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Remarks)

    def __hash__(self) -> int:
        return hash(_Remarks)


_NUMBERS = ("hyperparameters", "groups", "clip_norm", "clip_value", "clip_each_norm", "accumulate", "ema")

RECORDS = {"$recipe": Recipe, "$accumulation": Accumulation}
"""The records that a file may hold; the first is the outermost."""
