"""Accumulation of gradients inside the clock: schedules go on counting batches."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxsched.checks import WholeLength
from jaxsched.groups import unboxed
from jaxsched.numerics import as_step, compute_dtype, reshard_like, takes_shapes
from jaxsched.optimizers.internal import AtLeastOne, OneDtype, check_kind, checked_arguments, states
from jaxsched.schedules import value_at
from jaxsched.transforms._flatten import check_form, flattened, unflattened


class AccumulateState(NamedTuple):
    """The state of `accumulate`.

    Attributes:
        count: Batches seen, the step of the next one; int32 [], saturating at 2**31 - 1.
        waited: Batches since the last update; int32 [].
        gathered: Batches that wait in ``gradients``; int32 [].
        applied: Whether the last call ended in an update; bool [].
        gradients: The sum of the gathered gradients, left over where ``gathered`` is 0; a tree like the parameters, in
            float32 for half precision.
        inner: The state of what is wrapped.
    """

    count: jax.Array  # type: ignore[assignment]
    waited: jax.Array
    gathered: jax.Array
    applied: jax.Array
    gradients: Any
    inner: Any


@checked_arguments
def accumulate(
    inner: optax.GradientTransformation,
    every: AtLeastOne,
    *,
    mean: bool = False,
    steps_per_epoch: WholeLength | None = None,
    at_multiples: bool = False,
    state_dtype: OneDtype = None,
) -> optax.GradientTransformationExtraArgs:
    """Gather the gradients of several batches, then update once; schedules go on counting batches.

    At each step the gradient is added. An update is due when ``every`` batches have come since the last one. Other
    steps return updates of zero, in the dtype of the parameters as all are. The wrapped transformation receives the
    step, so that its schedules count batches and not updates.

    Args:
        inner: What to apply when an update is due.
        every: Batches per update, >= 1: a number, or a schedule of the step.
        mean: Divide by the number of gathered batches. YOLOv5 and Ultralytics sum (their loss is multiplied by the
            batch size); mmengine and ``optax.MultiSteps`` average.
        steps_per_epoch: If given, what is gathered and not used by the end of an epoch is dropped, as YOLOv5 does;
            the count since the last update goes on, so that the first update of an epoch may hold fewer batches.
        at_multiples: An update is due when ``step % every == 0`` instead, as in YOLOv5 up to 5.0: the first at step 0,
            on one batch.
        state_dtype: In what the gradients are gathered, such as "bfloat16"; the dtype of the parameters where left out,
            float32 for half precision.

    Returns:
        A transformation. `did_update` says whether its last call was an update.

    Raises:
        ValueError: If ``every`` is a number below 1, or ``steps_per_epoch`` is not a positive whole one.

    Examples:
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
    wrapped = optax.with_extra_args_support(inner)

    def init(params: Any) -> AccumulateState:
        return AccumulateState(  # no array twice, so that the state can be donated
            count=jnp.zeros((), jnp.int32),
            waited=jnp.zeros((), jnp.int32),
            gathered=jnp.zeros((), jnp.int32),
            applied=jnp.zeros((), bool),
            gradients=jax.tree.map(
                lambda p: jnp.zeros_like(p, dtype=_dtype_of_sum(p, state_dtype)), flattened(inner, params, params)
            ),
            inner=wrapped.init(params),
        )

    def update(
        updates: Any, state: Any, params: Any = None, *, step: ArrayLike | None = None, **extra: Any
    ) -> tuple[Any, AccumulateState]:
        check_kind("accumulate", state, AccumulateState)
        at = state.count if step is None else as_step(step)
        keep = state.gathered > 0
        if steps_per_epoch is not None:
            keep &= at % steps_per_epoch != 0
        gathered = jnp.where(keep, state.gathered, 0) + 1
        like = updates if params is None else params
        kinds = jax.eval_shape(lambda: flattened(inner, like, like))
        updates = flattened(inner, updates, like)
        check_form(state.gradients, updates)
        gradients = jax.tree.map(functools.partial(_added, keep), state.gradients, updates)
        # Not a difference of steps: these end at 2**31 - 1, and no further update would be due.
        waited = state.waited + (at - state.count) + 1
        wanted = value_at(every, at)
        at_multiple = at % jnp.ceil(wanted).astype(jnp.int32) == 0
        due = at_multiple if at_multiples else waited.astype(wanted.dtype) >= wanted

        # Returning the sum from the conditional would copy it, so it only goes in. The next step starts a new sum.
        def apply(gradients: Any, inner_state: Any) -> Any:
            if mean or state_dtype:
                gradients = jax.tree.map(lambda g: g.astype(compute_dtype(g)), gradients)
            if mean:
                gradients = jax.tree.map(lambda g: g / gathered.astype(g.dtype), gradients)
            new, inner_state = wrapped.update(gradients, inner_state, params, step=at, **extra)
            return jax.tree.map(
                lambda x, kind, g: reshard_like(x.astype(kind.dtype), g), new, kinds, gradients
            ), inner_state

        def wait(gradients: Any, inner_state: Any) -> Any:
            zeros = jax.tree.map(lambda kind, g: reshard_like(jnp.zeros_like(kind, kind.dtype), g), kinds, gradients)
            return zeros, inner_state

        new, inner_state = jax.lax.cond(due, apply, wait, gradients, state.inner)
        return unflattened(inner, new, like), AccumulateState(
            count=jnp.asarray(optax.safe_increment(at)),
            waited=jnp.where(due, 0, waited),
            gathered=jnp.where(due, 0, gathered),
            applied=due,
            gradients=gradients,
            inner=inner_state,
        )

    return optax.GradientTransformationExtraArgs(takes_shapes(init), update)


def _dtype_of_sum(param: Any, state_dtype: Any) -> Any:
    return state_dtype if state_dtype and jnp.issubdtype(param.dtype, jnp.floating) else compute_dtype(param)


def _added(keep: jax.Array, total: jax.Array, gradient: Any) -> jax.Array:
    if jnp.result_type(gradient) == jax.dtypes.float0:  # of an integer, which is frozen
        return total
    return jnp.where(keep, total, 0) + reshard_like(jnp.asarray(gradient).astype(total.dtype), total)


def did_update(opt_state: Any) -> jax.Array:
    """Whether the last call of ``update`` ended in an update; always, where nothing is accumulated.

    Args:
        opt_state: Anything that holds the state of `accumulate` or ``optax.MultiSteps``, as for `hyperparams`.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.accumulate(js.sgd(lr=0.1), every=2)
        >>> params = {"w": jnp.ones(())}
        >>> _, state = tx.update(params, tx.init(params), params)
        >>> bool(js.did_update(state))
        False
    """
    found = [unboxed(state.applied) for state in states(opt_state, AccumulateState)]
    found += [unboxed(state.mini_step) == 0 for state in states(opt_state, optax.MultiStepsState)]
    return jnp.all(jnp.stack([jnp.asarray(now) for now in found])) if found else jnp.ones((), bool)
