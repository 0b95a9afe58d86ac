"""What optax lacks around an optimizer: accumulation inside the clock, torch's clipping, averages that follow."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxsched.optimizers._state import states
from jaxsched.schedules import Value, value_at
from jaxsched.schedules._checks import is_host_number
from jaxsched.schedules._schedule import as_step


class AccumulateState(NamedTuple):
    """The state of `accumulate`."""

    step: jax.Array
    """Batches seen; int32 []."""
    last: jax.Array
    """The step of the last update, -1 before the first; int32 []."""
    gathered: jax.Array
    """Batches in ``gradients``; int32 []."""
    applied: jax.Array
    """Whether the last call ended in an update; bool []."""
    gradients: Any
    """The sum of the gathered gradients, a tree like the parameters; float32 for half precision."""
    inner: Any
    """The state of what is wrapped."""


def accumulate(
    inner: optax.GradientTransformation, every: Value, *, mean: bool = False, steps_per_epoch: int | None = None
) -> optax.GradientTransformationExtraArgs:
    """Gather the gradients of several batches, then update once; schedules go on counting batches.

    At each step the gradient is added. An update is due when ``step - last >= every``, ``last`` being the step of the
    last update (-1 at first). Other steps return updates of zero. The wrapped transformation receives the step, so
    that its schedules count batches and not updates.

    Args:
        inner: What to apply when an update is due.
        every: Batches to an update, >= 1: a number, or a schedule of the step.
        mean: Divide by the number of gathered batches. YOLOv5 and Ultralytics sum (their loss is multiplied by the
            batch size); mmengine and ``optax.MultiSteps`` average.
        steps_per_epoch: If given, what is gathered and not used by the end of an epoch is dropped, as YOLOv5 does;
            the count since the last update goes on, so that the first update of an epoch may hold fewer batches.

    Returns:
        A transformation. `applied` tells whether its last call was an update.

    Raises:
        ValueError: If ``every`` is a number below 1.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.accumulate(js.sgd(lr=js.linear(1.0, 0.0, 4)), every=2)
        >>> params = {"w": jnp.ones(())}
        >>> state = tx.init(params)
        >>> for _ in range(4):
        ...     updates, state = tx.update(params, state, params)
        ...     print(float(updates["w"]))
        0.0
        -1.5
        0.0
        -0.5
    """
    if is_host_number(every) and every < 1:  # type: ignore[operator]
        raise ValueError(f"accumulate: every must be >= 1 batches, got {every!r}")
    if steps_per_epoch is not None and steps_per_epoch < 1:
        raise ValueError(f"accumulate: steps_per_epoch must be >= 1, got {steps_per_epoch!r}")
    wrapped = optax.with_extra_args_support(inner)

    def init(params: Any) -> AccumulateState:
        return AccumulateState(  # no array twice, so that the state can be donated
            step=jnp.zeros((), jnp.int32),
            last=jnp.full((), -1, jnp.int32),
            gathered=jnp.zeros((), jnp.int32),
            applied=jnp.zeros((), bool),
            gradients=_wide_zeros(params),
            inner=wrapped.init(params),
        )

    def update(
        updates: Any, state: AccumulateState, params: Any = None, *, step: ArrayLike | None = None, **extra: Any
    ) -> tuple[Any, AccumulateState]:
        at = state.step if step is None else as_step(step)
        keep = jnp.ones((), bool) if steps_per_epoch is None else at % steps_per_epoch != 0
        gathered = jnp.where(keep, state.gathered, 0) + 1
        gradients = jax.tree.map(lambda sum_, g: jnp.where(keep, sum_, 0) + g, state.gradients, updates)
        due = at - state.last >= value_at(every, at)

        def apply(gradients: Any, inner_state: Any) -> Any:
            if mean:
                gradients = jax.tree.map(lambda g: g / gathered.astype(g.dtype), gradients)
            new, inner_state = wrapped.update(gradients, inner_state, params, step=at, **extra)
            return _like(new, updates), inner_state, jax.tree.map(jnp.zeros_like, gradients)

        def wait(gradients: Any, inner_state: Any) -> Any:
            return jax.tree.map(jnp.zeros_like, updates), inner_state, gradients

        new, inner_state, gradients = jax.lax.cond(due, apply, wait, gradients, state.inner)
        return new, AccumulateState(
            step=optax.safe_increment(at),
            last=jnp.where(due, at, state.last),
            gathered=jnp.where(due, 0, gathered),
            applied=due,
            gradients=gradients,
            inner=inner_state,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _wide(x: Any) -> Any:
    return jnp.promote_types(jnp.result_type(x), jnp.float32)


def _wide_zeros(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.zeros(jnp.shape(x), _wide(x)), tree)


def _like(tree: Any, other: Any) -> Any:
    return jax.tree.map(lambda x, y: x.astype(y.dtype), tree, other)


def applied(opt_state: Any) -> jax.Array:
    """Whether the last call of ``update`` ended in an update; always, where nothing is accumulated.

    Args:
        opt_state: Anything that holds the state, as for `hyperparams`.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.accumulate(js.sgd(lr=0.1), every=2)
        >>> params = {"w": jnp.ones(())}
        >>> _, state = tx.update(params, tx.init(params), params)
        >>> bool(js.applied(state))
        False
    """
    found = states(opt_state, AccumulateState)
    return jnp.all(jnp.stack([_array(state.applied) for state in found])) if found else jnp.ones((), bool)


def _array(x: Any) -> jax.Array:
    return jnp.asarray(x.get_value() if hasattr(x, "get_value") else x)


def clip_norm(max_norm: Value) -> optax.GradientTransformationExtraArgs:
    """Scale all gradients together so that their norm is at most ``max_norm``, with torch's formula.

    The factor is ``min(1, max_norm / (norm + 1e-6))``, as ``torch.nn.utils.clip_grad_norm_`` (torch 2.13.0).
    (``optax.clip_by_global_norm`` has no 1e-6.)

    Args:
        max_norm: The largest norm, > 0: a number or a schedule.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.clip_norm(1.0)
        >>> gradients = {"w": jnp.array([3.0, 4.0])}
        >>> clipped, state = tx.update(gradients, tx.init(gradients))
        >>> round(float(jnp.linalg.norm(clipped["w"])), 4)
        1.0
    """
    if is_host_number(max_norm) and max_norm <= 0:  # type: ignore[operator]
        raise ValueError(f"clip_norm: max_norm must be positive, got {max_norm!r}")

    def init(params: Any) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(
        updates: Any,
        state: optax.ScaleByScheduleState,
        params: Any = None,
        *,
        step: ArrayLike | None = None,
        **extra: Any,
    ) -> tuple[Any, optax.ScaleByScheduleState]:
        del params, extra
        limit = value_at(max_norm, state.count if step is None else as_step(step))
        norm = optax.tree.norm(jax.tree.map(lambda g: g.astype(_wide(g)), updates))
        factor = jnp.minimum(1.0, limit / (norm + 1e-6))
        scaled = jax.tree.map(lambda g: (g * factor).astype(g.dtype), updates)
        return scaled, optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(init, update)


class EmaState(NamedTuple):
    """The state of `ema`."""

    count: jax.Array  # type: ignore[assignment]
    """Updates averaged; int32 []."""
    decay: jax.Array
    """What the last update used; float32 []."""
    average: Any
    """A tree like the parameters; float32 for half precision."""


def ema(decay: Value) -> optax.GradientTransformationExtraArgs:
    """An exponential moving average of the parameters: the last member of a chain.

    ``average = decay * average + (1 - decay) * params`` with the parameters after this update. It starts as a copy of
    the first parameters. Read it with `averaged`; average other state alike with `average`.

    Args:
        decay: A number in [0, 1], or a schedule of the update's index (from 0), such as `exponential_ramp`.

    Example:
        >>> import jax.numpy as jnp, jaxsched as js, optax
        >>> tx = optax.chain(js.sgd(lr=1.0), js.ema(0.5))
        >>> params = {"w": jnp.ones(())}
        >>> _, state = tx.update(params, tx.init(params), params)
        >>> float(js.averaged(state)["w"])
        0.5
    """
    if is_host_number(decay) and not 0 <= decay <= 1:  # type: ignore[operator]
        raise ValueError(f"ema: decay must be in [0, 1], got {decay!r}")

    def init(params: Any) -> EmaState:
        copy = jax.tree.map(lambda p: jnp.array(p, dtype=_wide(p)), params)
        return EmaState(jnp.zeros((), jnp.int32), value_at(decay, 0), copy)

    def update(updates: Any, state: EmaState, params: Any = None, **extra: Any) -> tuple[Any, EmaState]:
        del extra
        if params is None:
            raise ValueError("ema: update needs the parameters: tx.update(gradients, opt_state, params)")
        now = value_at(decay, state.count)
        average = _average(state.average, optax.apply_updates(params, updates), now)
        return updates, EmaState(optax.safe_increment(state.count), now, average)

    return optax.GradientTransformationExtraArgs(init, update)


def _average(average: Any, value: Any, decay: jax.Array) -> Any:
    def one(old: jax.Array, new: jax.Array) -> jax.Array:
        if not jnp.issubdtype(jnp.result_type(new), jnp.inexact):
            return new
        d = decay.astype(old.dtype)
        return d * old + (1 - d) * new.astype(old.dtype)

    return jax.tree.map(one, average, value)


def averaged(opt_state: Any) -> Any:
    """The average of the parameters that `ema` keeps.

    Args:
        opt_state: Anything that holds the state, as for `hyperparams`.

    Raises:
        ValueError: If there is none.
    """
    return _ema_state(opt_state).average


def average(opt_state: Any, average: Any, value: Any) -> Any:
    """Average other state, such as batch-norm statistics, as `ema` averaged the parameters in this very step.

    Args:
        opt_state: The optimizer's state after the update.
        average: The average so far; a copy of ``value`` at the start.
        value: The state now.

    Returns:
        ``decay * average + (1 - decay) * value`` for floating leaves and ``value`` for others; ``average`` itself where
        the step ended in no update.
    """
    moved = _average(average, value, jnp.asarray(_array(_ema_state(opt_state).decay)))
    now = applied(opt_state)
    return jax.tree.map(lambda new, old: jnp.where(now, new, old), moved, average)


def _ema_state(opt_state: Any) -> EmaState:
    found = states(opt_state, EmaState)
    if len(found) != 1:
        raise ValueError(f"there must be one ema in the state, found {len(found)} in {type(opt_state).__name__}")
    return found[0]
