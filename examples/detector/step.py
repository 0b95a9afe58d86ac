"""The training step: one batch in, the next state out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import jaxsched as js
from examples.detector.loss import Gains, detection_loss


class TrainState(NamedTuple):
    """All that a training step passes on to the next.

    Attributes:
        params: The parameters.
        stats: Running statistics of batch norm.
        average: Their moving average, updated together with that of the parameters.
        opt: The optimizer's state: momentum, accumulated gradients, moving average of the parameters, count.
    """

    params: Any
    stats: Any
    average: Any
    opt: Any


Batch = dict[str, jax.Array]
Step = Callable[[TrainState, Batch], tuple[TrainState, dict[str, Any]]]


def initial_state(model: nnx.Module, tx: optax.GradientTransformationExtraArgs) -> tuple[Any, TrainState]:
    """The model's structure, and the state of a run that starts from it.

    The state holds plain arrays: as many `nnx.Variable` would add several milliseconds to each call of a step.
    """
    graph, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    params, stats = nnx.as_pure(params), nnx.as_pure(stats)
    return graph, TrainState(params, stats, jax.tree.map(jnp.copy, stats), jax.jit(tx.init)(params))


def training_step(
    graph: Any,
    tx: optax.GradientTransformationExtraArgs,
    gains: Gains,
    *,
    dtype: Any = jnp.float32,
    ratios_of: js.Recipe | None = None,
) -> Step:
    """The training step as a pure function, not yet compiled.

    Args:
        graph: Structure of the model.
        tx: What a recipe's ``build`` returns.
        gains: Of the loss.
        dtype: Of the computation inside the network.
        ratios_of: A recipe; if given, the metrics hold ``ratio``: for each of its groups, the norm of the update over
            the norm of the parameters.
    """

    def loss_of(params: Any, stats: Any, batch: Batch) -> tuple[jax.Array, Any]:
        model = nnx.merge(graph, params, stats, copy=True)
        raw = model(batch["image"].astype(dtype) / 255, train=True)
        total, parts = detection_loss(raw, batch["boxes"], batch["classes"], model.anchors, gains)
        return total, (parts, nnx.as_pure(nnx.state(model, nnx.BatchStat)))

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Any]]:
        (loss, (parts, stats)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params, state.stats, batch)
        updates, opt = tx.update(grads, state.opt, state.params)
        metrics = {"loss": loss, "parts": parts, "hyper": js.hyperparams(opt), "applied": js.did_update(opt)}
        if ratios_of:
            norms = js.group_norms(state.params, updates=updates, rules=ratios_of.rules)
            metrics["ratio"] = {group: norm["update_ratio"] for group, norm in norms.items()}
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, stats, js.ema_update(opt, state.average, stats), opt), metrics

    return step
