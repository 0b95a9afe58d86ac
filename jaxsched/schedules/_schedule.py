"""A schedule is a pure function of the step, and a value.

`schedule` turns ``f(step, a, b)`` into ``f(a, b) -> Schedule``. The `Schedule` remembers which function and which
arguments: it can be called, printed, compared, hashed, pickled, changed, and it is a pytree whose numbers are leaves.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Concatenate, ParamSpec, cast, overload

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxsched.checks import Size, checked, number, short, static_arguments
from jaxsched.numerics import FieldKey, as_step, is_host_number, real
from jaxsched.schedules._declarations import ClockOf, MomentsOf, no_moments

P = ParamSpec("P")


@jax.tree_util.register_pytree_with_keys_class
class Schedule:
    """A function of the step together with its arguments. Made by the functions that `schedule` decorates.

    Calling it with a step (or an array of steps) gives the value there, in float32 (float64 under
    ``jax_enable_x64``). Steps count from 0, the first update; before step 0 the value is that of step 0, and steps
    beyond 2**31 - 1 are taken as 2**31 - 1.

    As a pytree, its numbers, nested schedules and tables are leaves; its strings, bools and functions are static, which
    is decided when it is made. So it passes through ``jax.jit`` as an argument without a compilation for each value,
    `stack` makes a batch for ``jax.vmap``, and a tree with anything else for leaves has the same structure.

    Attributes:
        maker: The decorated function that made this value; ``maker.__wrapped__`` is the pure function of the step.
        arguments: The arguments by name, defaults included; read only.
        static: The names of the arguments that are not leaves.

    Examples:
        >>> import jaxsched as js
        >>> lr = js.warmup(js.cosine(peak=0.01, steps=1000), steps=100)
        >>> lr
        warmup(cosine(peak=0.01, steps=1000, floor=0.0), steps=100, start=0.0)
        >>> float(lr(0)), float(lr(1000))
        (0.0, 0.0)
        >>> lr.replace(steps=200).arguments["steps"]
        200
    """

    __slots__ = ("__weakref__", "arguments", "maker", "static")  # jax.jit(schedule) keeps a weak reference
    __array_ufunc__ = None  # so that numpy leaves ``np.float32(2) * schedule`` to us

    maker: Callable[..., Schedule]
    arguments: Mapping[str, Any]
    static: frozenset[str]

    def __init__(self, maker: Callable[..., Schedule], arguments: dict[str, Any], static: frozenset[str] | None = None):
        if static is None:
            annotated = static_arguments(maker)
            static = frozenset(name for name, value in arguments.items() if _is_static(value, name in annotated))
        object.__setattr__(self, "maker", maker)
        object.__setattr__(self, "arguments", arguments)
        object.__setattr__(self, "static", static)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Schedule is immutable; use schedule.replace({name}=...)")

    @property
    def name(self) -> str:
        """The name of the function that made it, such as ``"cosine"``."""
        return self.maker.__name__

    def __call__(self, step: ArrayLike) -> jax.Array:
        function: Callable[..., ArrayLike] = self.maker.__wrapped__  # type: ignore[attr-defined]
        args, kwargs = self.bound()
        step = as_step(step)
        value = real(function(step, *args, **kwargs))
        return jnp.broadcast_to(value, jnp.broadcast_shapes(value.shape, step.shape))

    def bound(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as a call takes them: positional ones, and those by name."""
        star = _variadic(self.maker)
        named = {name: value for name, value in self.arguments.items() if name != star}
        return tuple(self.arguments[star]) if star else (), named

    def replace(self, **changes: Any) -> Schedule:
        """A copy with some arguments changed, checked as at construction."""
        args, kwargs = self.bound()
        star = _variadic(self.maker)
        if star and star in changes:
            args = tuple(changes.pop(star))
        return self.maker(*args, **{**kwargs, **changes})

    # As a pytree: what is static was decided when it was made, whatever the leaves are by now.
    def tree_flatten_with_keys(self) -> tuple[tuple[tuple[Any, Any], ...], Any]:
        children = tuple((FieldKey(name), value) for name, value in self.arguments.items() if name not in self.static)
        static = tuple((name, value) for name, value in self.arguments.items() if name in self.static)
        return children, (self.maker, tuple(self.arguments), static)

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Sequence[Any]) -> Schedule:
        maker, names, static_items = aux
        static = dict(static_items)
        rest = iter(children)
        arguments = {name: static[name] if name in static else next(rest) for name in names}
        return cls(maker, arguments, frozenset(static))

    # As a value
    def __repr__(self) -> str:
        args, kwargs = self.bound()
        parts = [_text(value) for value in args]
        parameters = inspect.signature(self.maker).parameters
        for name, value in kwargs.items():
            if (name in self.static or value is None) and value == parameters[name].default:
                continue
            # A schedule inside a schedule reads best as in the docs: warmup(cosine(...), steps=500).
            first = not parts and isinstance(value, Schedule)
            parts.append(_text(value) if first else f"{name}={_text(value)}")
        return f"{self.name}({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return NotImplemented
        same_kind: bool = _kind(self) == _kind(other)
        return same_kind and all(map(np.array_equal, jax.tree.leaves(self), jax.tree.leaves(other)))

    def __hash__(self) -> int:
        # As float64, and -0.0 as 0.0: what compares equal hashes equal.
        return hash((_kind(self), *((np.asarray(leaf, np.float64) + 0.0).tobytes() for leaf in jax.tree.leaves(self))))

    def __reduce__(self) -> Any:
        return Schedule, (self.maker, dict(self.arguments))

    # Arithmetic
    def __mul__(self, other: Any) -> Schedule:
        return _combine(product, self, other)

    def __rmul__(self, other: Any) -> Schedule:
        return _combine(product, other, self)

    def __truediv__(self, other: Any) -> Schedule:
        return _combine(quotient, self, other)

    def __rtruediv__(self, other: Any) -> Schedule:
        return _combine(quotient, other, self)

    def __add__(self, other: Any) -> Schedule:
        return _combine(add, self, other)

    def __radd__(self, other: Any) -> Schedule:
        return _combine(add, other, self)

    def __sub__(self, other: Any) -> Schedule:
        return _combine(add, self, _negated(other))

    def __rsub__(self, other: Any) -> Schedule:
        return _combine(add, other, -self)

    def __neg__(self) -> Schedule:
        return _combine(product, -1, self)


def _combine(maker: Callable[..., Schedule], *operands: Any) -> Any:
    """Of schedules, numbers and other functions of the step, such as optax's."""
    if not all(is_host_number(x) or hasattr(x, "dtype") or callable(x) for x in operands):
        return NotImplemented
    return maker(*operands)


def _negated(value: Any) -> Any:
    return product(-1, value) if callable(value) and not hasattr(value, "dtype") else -value


@overload
def schedule(function: Callable[Concatenate[jax.Array, P], ArrayLike], /) -> Callable[P, Schedule]: ...


@overload
def schedule(
    *, moments: MomentsOf | None = None, clock: ClockOf | None = None, check: Callable[..., None] | None = None
) -> Callable[[Callable[Concatenate[jax.Array, P], ArrayLike]], Callable[P, Schedule]]: ...


def schedule(
    function: Callable[..., ArrayLike] | None = None,
    /,
    *,
    moments: MomentsOf | None = None,
    clock: ClockOf | None = None,
    check: Callable[..., None] | None = None,
) -> Any:
    """Turn a pure function of the step into a maker of `Schedule` values.

    Used bare, or with declarations, which are what ``explain``, ``lint`` and ``plot`` know of a schedule beside its
    values.

    Args:
        function: ``f(step, ...)``, written with jax.numpy. ``step`` is an int32 array of any shape, >= 0; the other
            arguments are numbers, schedules (call them), sequences or arrays of numbers, and static strings, bools and
            functions. Annotate an argument with one of ``jaxsched.schedules``' types to have it checked when a
            schedule is made, on the host: ``Number``, ``Positive``, ``Length``, ``Count``, ``Milestones``, ``Rate``,
            ``Value`` (a number or a schedule). Unannotated arguments must be numbers or schedules.
        moments: Where it ends, jumps or repeats: ``ends("steps")``, ``no_moments``, or a function from its arguments
            and the length of the run, in its own counts, to `Mark` values. Without it nothing is said about it.
        clock: How the schedules within it count: a function from its arguments and its own `Clock` to the clocks of
            its arguments. It is needed only if they are called with anything but ``step`` itself.
        check: A check of the arguments together: it takes all of them by name, and raises.

    Returns:
        The maker: it takes the arguments without ``step`` and returns a `Schedule`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxsched.schedules import Length, Number, schedule
        >>> @schedule
        ... def sawtooth(step, peak: Number, steps: Length):
        ...     return peak * (1 - (step % steps) / steps)
        >>> sawtooth(peak=1.0, steps=4)(jnp.arange(5))
        Array([1.  , 0.75, 0.5 , 0.25, 1.  ], dtype=float32)
    """
    if function is None:
        return lambda function: _curry(function, moments, clock, check)
    return _curry(function, moments, clock, check)


def composition(function: Callable[P, Schedule]) -> Callable[P, Schedule]:
    """A plain function that composes schedules; its arguments are checked by their annotations, as `schedule` does."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Schedule:
        arguments = checked(function, signature, args, kwargs, check_value)
        star = _variadic(make)
        call: Callable[..., Schedule] = function
        return call(*(arguments.pop(star) if star else ()), **arguments)

    return make


def _curry(
    function: Callable[Concatenate[jax.Array, P], ArrayLike],
    moments: MomentsOf | None,
    clock: ClockOf | None,
    check: Callable[..., None] | None,
) -> Callable[P, Schedule]:
    whole = inspect.signature(function)
    step_name, *_ = whole.parameters
    signature = whole.replace(
        parameters=[p for n, p in whole.parameters.items() if n != step_name], return_annotation="Schedule"
    )

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Schedule:
        return Schedule(make, checked(function, signature, args, kwargs, check_value, check))

    make.__signature__ = signature  # type: ignore[attr-defined]
    make.moments, make.clock = moments, clock  # type: ignore[attr-defined]
    return make


def check_value(name: str, value: Any) -> Any:
    """A number or a schedule; any other function of the step is taken as one."""
    if isinstance(value, Schedule):
        return value
    if callable(value) and not hasattr(value, "dtype"):
        return Schedule(from_function, {"function": check_function(name, value)})
    return number(name, value)


def check_function(name: str, value: Any) -> Any:
    """A function from the step to one number, as far as that shows before it is called with one."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {short(value)}")
    if isinstance(value, type):
        raise TypeError(
            f"{name} is the class {value.__name__}; pass an instance, and for a scheduler what it returns for a base lr"
        )
    if isinstance(value, optax.schedules.StatefulSchedule):
        raise TypeError(
            f"{name} is a stateful schedule, {short(value)}, for optax.inject_stateful_hyperparams; here it "
            "must be a function of the step"
        )
    if needed := _missing_beside_the_step(value):
        raise TypeError(
            f"{name} must be a function of the step alone, but {short(value)} needs {needed} too: call it first, as in "
            "js.cosine(0.1, steps=100)"
        )
    try:
        found = jax.eval_shape(value, jax.ShapeDtypeStruct((), jnp.int32))
    except Exception:  # it may be for the host alone, or need what is not there yet: that shows where it is used
        return value
    if isinstance(found, Schedule):
        raise TypeError(
            f"{name} must be a schedule, and this makes one, {found.name}(...): call it with the base lr first, as in "
            f"StepLR(30)(0.1); got {short(value)}"
        )
    if getattr(found, "shape", ()) != ():
        raise ValueError(
            f"{name} must give one number for a step, but gives an array of shape {found.shape}: {short(value)}"
        )
    return value


def _missing_beside_the_step(function: Any) -> str:
    """The names of the arguments that a call with the step alone leaves out, as of ``js.cosine`` that is not called."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some of those in C have none
        return ""
    needed = [
        one for one in parameters if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return ", ".join(one.name for one in needed if one not in positional[:1])


Value = Annotated[float | jax.Array | Schedule | Callable[[Any], Any], check_value]
"""A number, or a schedule: whatever has a value at each step."""


def value_at(value: Any, step: ArrayLike) -> jax.Array:
    """The value at ``step`` of a number, a `Schedule` or any other function of the step."""
    found: Any = value(step) if callable(value) else value
    return real(found)


def stack(schedules: Sequence[Schedule]) -> Schedule:
    """Stack schedules of one kind along a new leading axis of their leaves, as a batch for ``jax.vmap``.

    Args:
        schedules: At least one. They may differ in their numbers, not in functions, strings, bools or nesting.

    Returns:
        A schedule whose numbers are arrays ``[len(schedules)]``, of which ``jax.vmap`` takes one at a time.

    Raises:
        ValueError: If there is none, or they are not of one kind.

    Examples:
        >>> import jax, jaxsched as js
        >>> batch = js.stack([js.cosine(peak, 1000) for peak in (0.1, 0.2)])
        >>> jax.vmap(lambda lr: lr(0))(batch)
        Array([0.1, 0.2], dtype=float32)
    """
    schedules = list(schedules)
    if not schedules:
        raise ValueError("stack needs at least one schedule")
    for i, other in enumerate(schedules):
        if _kind(other) != _kind(schedules[0]):
            raise ValueError(
                "only schedules of one kind can be stacked; they may differ in their numbers, not in functions, "
                f"strings or bools: schedules[0] is {short(schedules[0])}, schedules[{i}] is {short(other)}"
            )
    return cast(Schedule, jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *schedules))


def _kind(value: Schedule) -> Any:
    """All of a schedule but its numbers."""
    return jax.tree.structure(value)


@functools.cache
def _variadic(maker: Callable[..., Any]) -> str | None:
    for name, parameter in inspect.signature(maker).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return name
    return None


def _is_static(value: Any, annotated: bool = False) -> bool:
    """Whether an argument is static: by its annotation, or by its value where the annotation does not say so."""
    if isinstance(value, Schedule) or hasattr(value, "dtype"):
        return False
    if isinstance(value, tuple) and value:
        return all(map(_is_static, value))
    return annotated or isinstance(value, str | bool | Size) or callable(value)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, np.ndarray) and value.size > 6:
        return f"<{value.size} values>"
    if isinstance(value, np.ndarray):
        return repr(value.tolist())
    if isinstance(value, Tracer):
        return f"<traced {value.aval.str_short()}>"
    if isinstance(value, jax.Array):
        return repr(np.asarray(value).tolist()) if value.size <= 6 else f"<{value.size} values>"
    if callable(value) and not isinstance(value, Schedule):
        return getattr(value, "__qualname__", repr(value))
    return repr(value)


# The makers behind the operators, and that of any other function of the step: Schedule itself needs them.


@schedule(moments=no_moments)
def product(step: jax.Array, *schedules: Value) -> jax.Array:
    """The product of schedules and numbers, which ``a * b`` makes: ``a(step) * b(step)``.

    Examples:
        >>> import jaxsched as js
        >>> 2.0 * js.constant(0.25)
        product(2.0, constant(value=0.25))
    """
    return functools.reduce(jnp.multiply, [value_at(s, step) for s in schedules], real(1.0))


@schedule(moments=no_moments)
def quotient(step: jax.Array, over: Value, under: Value) -> jax.Array:
    """The quotient of two schedules or numbers, which ``a / b`` makes: ``over(step) / under(step)``.

    Examples:
        >>> import jaxsched as js
        >>> float((js.constant(1.0) / 4)(0))
        0.25
    """
    return value_at(over, step) / value_at(under, step)


@schedule(moments=no_moments)
def add(step: jax.Array, *schedules: Value) -> jax.Array:
    """The sum of schedules and numbers, which ``a + b`` makes: ``a(step) + b(step)``.

    Examples:
        >>> import jaxsched as js
        >>> float((1.0 - js.constant(0.25))(0))
        0.75
    """
    return functools.reduce(jnp.add, [value_at(s, step) for s in schedules], real(0.0))


@schedule(moments=no_moments)
def from_function(step: jax.Array, function: Annotated[Callable[[Any], Any], check_function]) -> jax.Array:
    """A function of the step, written with jax.numpy, as a `Schedule`. Any optax schedule is one.

    Args:
        function: From an int32 array of steps to values. It is static: two are equal only if they are the same object.

    Examples:
        >>> import jaxsched as js
        >>> float(js.from_function(lambda step: 1 / (1 + step))(3))
        0.25
    """
    return function(step)
