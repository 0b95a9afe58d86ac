"""OpenMMLab's EMA hooks: the decay of the average at each update."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxsched.checks import Count, Number, PositiveCount
from jaxsched.numerics import real
from jaxsched.ports.openmmlab._hooks import OF_A_NETWORK
from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.ports.shared import shifted
from jaxsched.schedules import Schedule, Value, constant, exponential_ramp, no_moments, piecewise, schedule, value_at
from jaxsched.transforms import ratio_ramp


@schedule(moments=no_moments)
def momentum_ramp(step: jax.Array, most: Number, warm_up: Number) -> jax.Array:
    """``1 - min(most, (1 + step) / (warm_up + step))``: the decay of mmcv's EMAHook."""
    return 1.0 - jnp.minimum(most, (1.0 + real(step)) / (warm_up + real(step)))


@schedule(moments=no_moments)
def every_nth(step: jax.Array, schedule: Value, every: PositiveCount, ahead: Count = 0) -> jax.Array:
    """The schedule where ``step + ahead`` is a multiple of ``every``; elsewhere 1, which keeps the average."""
    return jnp.where((step + jnp.asarray(ahead, jnp.int32)) % every == 0, value_at(schedule, step), 1.0)


def mmcv_hook(kind: str, settings: Settings) -> Schedule:
    """mmcv 1.7.2's EMAHook, or MMDetection 2.28.2's ExpMomentumEMAHook or LinearMomentumEMAHook, at update ``i``.

    ``Exp``: ``m = (1 - m0) exp(-(1 + i) / total_iter) + m0``; the others
    ``m = min(m0 ** interval, (1 + i) / (warm_up + i))``. The decay is ``1 - m``. mmcv's acts at every ``interval``-th
    ``i``, MMDetection's at every ``interval``-th ``i + 1``.
    """
    if kind == OF_A_NETWORK:
        return _network_hook(settings)
    interval = settings.count("interval", 1, least=1)
    for name in ("resume_from", "checkpoint", "skip_buffers"):
        settings.take(name, None)
    m0 = settings.number("momentum", 0.0002)
    if kind == "ExpMomentumEMAHook":
        decay = exponential_ramp(1.0 - m0, settings.number("total_iter", 2000))
    else:
        decay = momentum_ramp(m0**interval, settings.number("warm_up", 100))
    if interval == 1:
        return decay
    return every_nth(decay, interval, 0 if kind == "EMAHook" else 1)


def _network_hook(settings: Settings) -> Schedule:
    """MMEditing 0.16.1's ExponentialMovingAverageHook, MMGeneration's with the fixed momentum alike.

    Before iteration ``start_iter`` it copies the parameters; from there it averages at each ``interval``-th. The decay
    is ``momentum``.
    """
    settings.take("module_keys", None)
    for name, only in (("interp_mode", "lerp"), ("momentum_policy", "fixed")):
        if settings.take(name, only) != only:
            raise ValueError(
                f"{settings.where}: {name} is read as {only!r} only: take the hook out, and set "
                "recipe.replace(ema=...) to the decay at each update"
            )
    if settings.take("momentum_cfg", None):
        raise ValueError(f"{settings.where}: momentum_cfg has no effect with a fixed momentum: remove it")
    lerp = Settings(f"{settings.where}: interp_cfg", settings.take("interp_cfg", None) or {})
    decay = lerp.number("momentum", 0.999, low=0.0)
    lerp.take("momentum_nontrainable", None)
    lerp.finish()
    start, interval = settings.count("start_iter", 0), settings.number("interval", -1)
    if interval < 1 or interval != int(interval):
        raise ValueError(f"{settings.where}: interval={interval!r} never averages: set it to 1, or take the hook out")
    averaging = constant(decay) if interval == 1 else every_nth(decay, int(interval), 1)
    return piecewise([0.0, shifted(averaging, -start)], at=[start]) if start else averaging


def mmengine_hook(settings: Settings, steps_per_epoch: int) -> Schedule:
    """mmengine 0.10.7's EMAHook: it copies the parameters until the first update after ``begin``, then averages.

    With ``s`` the updates since: ``ExponentialMovingAverage`` ``m = momentum``; ``ExpMomentumEMA`` (MMDetection)
    ``m = (1 - momentum) exp(-(1 + s) / gamma) + momentum``; ``MomentumAnnealingEMA``
    ``m = max(momentum, gamma / (gamma + s))``; ``StochasticWeightAverage`` the mean. The decay is ``1 - m``.
    """
    kind = settings.take("ema_type", "ExponentialMovingAverage")
    kind = kind.rpartition(".")[2] if isinstance(kind, str) else kind
    begin_step, begin_epoch = settings.count("begin_iter", 0), settings.count("begin_epoch", 0)
    if begin_step and begin_epoch:
        raise ValueError(f"{settings.where}: give begin_iter or begin_epoch, not both")
    interval = settings.count("interval", 1, least=1)
    for name in ("strict_load", "update_buffers", "evaluate_on_ema", "evaluate_on_origin"):
        settings.take(name, None)
    m0 = 0.0 if kind == "StochasticWeightAverage" else settings.number("momentum", 0.0002)
    decay: Schedule | float
    if kind == "ExponentialMovingAverage":
        decay = 1.0 - m0
    elif kind == "ExpMomentumEMA":
        decay = exponential_ramp(1.0 - m0, settings.number("gamma", 2000))
    elif kind == "MomentumAnnealingEMA":
        decay = ratio_ramp(1.0 - m0, settings.number("gamma", 100))
    elif kind == "StochasticWeightAverage":
        decay = ratio_ramp(1.0, 1.0)
    else:
        raise ValueError(f"{settings.where}: ema_type {kind!r} is not known")
    if interval > 1:
        if kind == "StochasticWeightAverage":
            raise ValueError(f"{settings.where}: StochasticWeightAverage is read with interval=1 only, got {interval}")
        decay = every_nth(decay, interval)
    begin = max(begin_step - 1, 0) if begin_step else max(begin_epoch - 1, 0) * steps_per_epoch
    return piecewise([0.0, shifted(decay, -begin) if begin else decay], at=[begin + 1])
