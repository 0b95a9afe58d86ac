"""Exponential moving averages of the parameters and of other state."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxsched.groups import separated, unboxed
from jaxsched.numerics import EmaWeights, compute_dtype, one_minus, takes_shapes
from jaxsched.optimizers import OptimizerState
from jaxsched.optimizers.internal import Fraction, check_kind, checked_arguments, states
from jaxsched.schedules import value_at
from jaxsched.transforms._accumulate import did_update


class EmaState(NamedTuple):
    """The state of `ema`.

    Attributes:
        count: Updates averaged; int32 [].
        shares: The weights, in the last update, of the average (the decay) and of the parameters; float32 [].
        average: A tree like the parameters; float32 for half precision.
    """

    count: jax.Array  # type: ignore[assignment]
    shares: EmaWeights
    average: Any


@checked_arguments
def ema(decay: Fraction) -> optax.GradientTransformationExtraArgs:
    """An exponential moving average of the parameters: the last member of a chain.

    ``average = decay * average + (1 - decay) * params`` with the parameters after this update. It starts as a copy of
    the first parameters (torch's AveragedModel copies those after its first update: a decay of
    ``piecewise([0.0, decay], at=[1])``). Read it with `ema_params`; average other state alike with `ema_update`.

    Args:
        decay: A number in [0, 1], or a schedule of the update's index (from 0): `exponential_ramp` (YOLOv5, mmengine's
            ExpMomentumEMA), `power_ramp` (timm), `ratio_ramp` (mmengine's MomentumAnnealingEMA, mmcv).

    Raises:
        ValueError: If the decay is not in [0, 1], or ``update`` is called without the parameters.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js, optax
        >>> tx = optax.chain(js.sgd(lr=1.0), js.ema(0.5))
        >>> params = {"w": jnp.ones(())}
        >>> _, state = tx.update(params, tx.init(params), params)
        >>> float(js.ema_params(state)["w"])
        0.5
    """

    def shares_at(count: jax.Array) -> EmaWeights:
        now = value_at(decay, count)
        return EmaWeights(now, one_minus([decay], now))

    def init(params: Any) -> EmaState:
        copy = jax.tree.map(lambda p: jnp.array(p, dtype=compute_dtype(p) if _moves(p) else None), params)
        count = jnp.zeros((), jnp.int32)
        return EmaState(count, shares_at(count), copy)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, EmaState]:
        del extra
        if params is None:
            raise ValueError("ema: update needs the parameters: tx.update(gradients, opt_state, params)")
        check_kind("ema", state, EmaState)
        shares = shares_at(state.count)
        average = _average(state.average, optax.apply_updates(params, updates), shares)
        return updates, EmaState(jnp.asarray(optax.safe_increment(state.count)), shares, average)

    return optax.GradientTransformationExtraArgs(takes_shapes(init), update)


def _moves(value: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(value), jnp.inexact))


def _average(average: Any, value: Any, shares: EmaWeights) -> Any:
    def one(old: jax.Array, new: jax.Array) -> jax.Array:
        if not _moves(new):
            return new
        share = shares.new.astype(old.dtype)
        kept = jnp.where(share == 1, 0, old)  # so that a copy is exact
        return kept + share * (new.astype(old.dtype) - kept)

    return jax.tree.map(one, average, value)


def ema_params(opt_state: Any) -> Any:
    """The average of the parameters that `ema` keeps, or else `asgd`.

    Args:
        opt_state: Anything that holds the state, as for `hyperparams`.

    Returns:
        A tree like the parameters; float32 for parameters of half precision. Before the first update a copy of the
        parameters.

    Raises:
        ValueError: If there is none, or more than one.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js, optax
        >>> tx = optax.chain(js.sgd(lr=1.0), js.ema(0.9))
        >>> js.ema_params(tx.init({"w": jnp.ones(2)}))
        {'w': Array([1., 1.], dtype=float32)}
    """
    by_asgd = [state.slots["ax"] for state in states(opt_state, OptimizerState) if "ax" in state.slots]
    if len(by_asgd) == 1 and not states(opt_state, EmaState):
        return separated(by_asgd[0])
    return separated(_ema_state(opt_state).average)


def ema_update(opt_state: Any, average: Any, value: Any) -> Any:
    """Average other state, such as batch-norm statistics, as `ema` averaged the parameters in this very step.

    Args:
        opt_state: The optimizer's state after the update.
        average: The average so far; a copy of ``value`` at the start.
        value: The state now.

    Returns:
        ``decay * average + (1 - decay) * value`` for floating leaves and ``value`` for others; ``average`` itself where
        the step ended in no update.

    Raises:
        ValueError: If there is no `ema` in the state, or more than one.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js, optax
        >>> tx = optax.chain(js.sgd(lr=1.0), js.ema(0.75))
        >>> params = {"w": jnp.ones(())}
        >>> _, state = tx.update(params, tx.init(params), params)
        >>> float(js.ema_update(state, average=jnp.zeros(()), value=jnp.ones(())))
        0.25
    """
    shares = EmaWeights(*(jnp.asarray(unboxed(share)) for share in _ema_state(opt_state).shares))
    now = did_update(opt_state)
    return jax.tree.map(lambda new, old: jnp.where(now, new, old), _average(average, value, shares), average)


def _ema_state(opt_state: Any) -> EmaState:
    found = states(opt_state, EmaState)
    if len(found) != 1:
        raise ValueError(f"there must be one ema in the state, found {len(found)} in {type(opt_state).__name__}")
    return found[0]
