"""Layer-wise decay of the learning rate: smaller for layers nearer to the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Match, Rule, as_condition
from jaxsched.optimizers._hyperparameters import Hyperparameter


def layer_decay(
    layers: Sequence[Match], lr: Hyperparameter, decay: float, *, undecayed: Match | None = None
) -> dict[str, Any]:
    """``rules`` and ``groups`` that give layer i of n, from 0, the learning rate ``lr * decay**(n - 1 - i)``.

    Args:
        layers: From the input to the head, a match for the parameters of each layer: a glob or a `Condition`. The first
            match wins, and together they must cover all parameters.
        lr: The learning rate of the last layer.
        decay: The factor from a layer to the one before it, > 0.
        undecayed: A match for the parameters without weight decay, such as ``js.role("bias", "norm", "norm_bias")``:
            they form a group of their own in each layer.

    Returns:
        ``{"rules": ..., "groups": ...}`` for any optimizer: ``js.adamw(lr, **js.layer_decay(...))``. The groups are
        named ``layer 0``, ``layer 1`` and so on, and ``layer 0 undecayed``.

    Raises:
        ValueError: If there are no layers, or ``decay`` is not positive.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> by_layer = js.layer_decay(["stem/**", "block/**", "head/**"], lr=1.0, decay=0.5)
        >>> tx = js.adamw(**by_layer)
        >>> state = tx.init({name: {"w": jnp.ones(2)} for name in ("stem", "block", "head")})
        >>> [float(group["lr"]) for group in js.hyperparams(state).values()]
        [0.25, 0.5, 1.0]
    """
    if not layers:
        raise ValueError("layer_decay: there must be at least one layer")
    if not decay > 0:
        raise ValueError(f"layer_decay: decay must be positive, got {short(decay)}")
    rules, groups = [], {}
    for i, match in enumerate(layers):
        name, rate = f"layer {i}", decay ** (len(layers) - 1 - i) * lr  # type: ignore[operator]
        if undecayed is not None:
            both = as_condition(match) & as_condition(undecayed)
            rules.append(Rule(both, f"{name} undecayed", optional=True))
            groups[f"{name} undecayed"] = {"lr": rate, "weight_decay": 0.0}
        rules.append(Rule(match, name, optional=undecayed is not None))
        groups[name] = {"lr": rate}
    return {"rules": rules, "groups": groups}
