"""Gradients that are not finite make no update, and are counted."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import unboxed
from jaxsched.numerics import reshard_like, takes_shapes
from jaxsched.optimizers.internal import check_kind, checked_arguments, states


class SkipState(NamedTuple):
    """The state of `skip_nonfinite`.

    Attributes:
        skipped: Updates that were not made; int32 [], saturating.
        inner: The state of what is wrapped.
    """

    skipped: jax.Array
    inner: Any


@checked_arguments
def skip_nonfinite(
    inner: optax.GradientTransformation, *, watch: Literal["gradients", "updates"] = "gradients"
) -> optax.GradientTransformationExtraArgs:
    """No update where any gradient is infinite or NaN: the state of ``inner`` stays, and `nonfinite_count` counts.

    ``optax.apply_if_finite`` that never gives up, as torch's ``GradScaler`` skips ``optimizer.step``. A schedule in
    ``inner`` counts updates, unless `accumulate` is around both and gives it the step. What should go on, such as `ema`
    in YOLOv5, is chained after it.

    Args:
        inner: A transformation of jaxsched or of optax, such as a chain.
        watch: "gradients", or "updates" to look at what ``inner`` makes of them: the gradients of float16 may be finite
            and their squares not. That computes the update in any case.

    Returns:
        A transformation whose updates have the dtypes of the parameters.

    Raises:
        ValueError: If ``watch`` is neither.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.skip_nonfinite(js.sgd(lr=0.1))
        >>> params = {"w": jnp.ones(())}
        >>> updates, state = tx.update({"w": jnp.nan}, tx.init(params), params)
        >>> float(updates["w"]), int(js.transforms.nonfinite_count(state))
        (0.0, 1)
    """
    wrapped = optax.with_extra_args_support(inner)

    def init(params: Any) -> SkipState:
        return SkipState(jnp.zeros((), jnp.int32), wrapped.init(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, SkipState]:
        check_kind("skip_nonfinite", state, SkipState)
        like = updates if params is None else params

        def apply(state: Any) -> Any:
            new, after = wrapped.update(updates, state, params, **extra)
            return jax.tree.map(lambda x, p: x.astype(jnp.result_type(p)), new, like), after

        def skip(state: Any) -> Any:
            return jax.tree.map(lambda p: reshard_like(jnp.zeros_like(p), p), like), state

        if watch == "gradients":
            finite = _all_finite(updates)
            new, inner_state = jax.lax.cond(finite, apply, skip, state.inner)
        else:
            made = apply(state.inner)
            finite = _all_finite(made[0])
            new, inner_state = jax.tree.map(lambda x, y: jnp.where(finite, x, y), made, skip(state.inner))
        skipped = jnp.where(finite, state.skipped, optax.safe_increment(state.skipped))
        return new, SkipState(skipped, inner_state)

    return optax.GradientTransformationExtraArgs(takes_shapes(init), update)


def _all_finite(tree: Any) -> jax.Array:
    kinds = [(leaf, jnp.result_type(leaf)) for leaf in jax.tree.leaves(tree)]
    found = [jnp.all(jnp.isfinite(leaf)) for leaf, kind in kinds if jnp.issubdtype(kind, jnp.inexact)]
    return jnp.all(jnp.stack(found)) if found else jnp.ones((), bool)


def nonfinite_count(opt_state: Any) -> jax.Array:
    """How many updates were not made because a gradient was not finite; int32 [].

    Args:
        opt_state: Anything that holds the state of `skip_nonfinite` or ``optax.apply_if_finite``, as for `hyperparams`.

    Raises:
        ValueError: If there is none.
    """
    found = [state.skipped for state in states(opt_state, SkipState)]
    found += [state.total_notfinite for state in states(opt_state, optax.ApplyIfFiniteState)]
    if not found:
        raise ValueError(f"nonfinite_count: there is no skip_nonfinite in {type(opt_state).__name__}")
    return sum((jnp.asarray(unboxed(count)) for count in found), start=jnp.zeros((), jnp.int32))
