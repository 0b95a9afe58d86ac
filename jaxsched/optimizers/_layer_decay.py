"""Layer-wise decay of the learning rate: smaller for layers nearer to the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxsched.checks import positive, short
from jaxsched.groups import Match, Rule, as_condition
from jaxsched.numerics import is_host_number
from jaxsched.optimizers._hyperparameters import Hyperparameter
from jaxsched.optimizers._optax import definition_of_factory, optax_factory
from jaxsched.optimizers._optimizer import definition_of
from jaxsched.optimizers._roles import name_of


def layer_decay(
    layers: Sequence[Match | tuple[Match, int]],
    lr: Hyperparameter,
    decay: float,
    *,
    undecayed: Match | None = None,
    optimizer: str | Callable[..., Any] | None = None,
) -> dict[str, Any]:
    """``rules`` and ``groups`` that give layer i of n, from 0, the learning rate ``lr * decay**(n - 1 - i)``.

    Args:
        layers: From the input to the head, a match for the parameters of each layer: a glob or a `Condition`. The first
            match wins, and together they must cover all parameters. For layers that are stacked along the first axis of
            their arrays, as by ``nn.scan``, a pair of the match and how many they are.
        lr: The learning rate of the last layer.
        decay: The factor from a layer to the one before it, > 0.
        undecayed: A match for the parameters without weight decay, such as ``js.role("bias", "norm", "norm_bias")``:
            they form a group of their own in each layer.
        optimizer: An optimizer of optax, such as ``optax.lion`` or ``"optax.lion"``, if the groups are for one: the
            groups then have its names, such as ``learning_rate``. Left out for the optimizers of jaxsched.

    Returns:
        ``{"rules": ..., "groups": ...}`` for any optimizer: ``js.adamw(lr, **js.layer_decay(...))``. The groups are
        named ``layer 0``, ``layer 1`` and so on, and ``layer 0 undecayed``; of a stack ``layers 1 to 12``, with the lr
        of the last of them and the factors of all as ``stacked``.

    Raises:
        TypeError: If ``layers`` is a string, or ``lr`` or ``decay`` is no number.
        ValueError: If there are no layers, ``decay`` is not positive, or a stack has fewer than one layer; or if
            ``optimizer`` is not known, or has no such hyperparameter: no optimizer of optax takes stacked layers.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> by_layer = js.layer_decay(["stem/**", "block/**", "head/**"], lr=1.0, decay=0.5)
        >>> tx = js.adamw(**by_layer)
        >>> state = tx.init({name: {"w": jnp.ones(2)} for name in ("stem", "block", "head")})
        >>> [float(group["lr"]) for group in js.hyperparams(state).values()]
        [0.25, 0.5, 1.0]
    """
    if isinstance(layers, str):
        raise TypeError(f"layer_decay: layers must be a list of matches, got the string {short(layers)}; write [...]")
    if not layers:
        raise ValueError("layer_decay: there must be at least one layer")
    positive("layer_decay: decay", decay)
    if lr is None or isinstance(lr, str):
        raise TypeError(f"layer_decay: lr must be a number or a schedule, got {short(lr)}")
    stacks = [_stack(i, layer) for i, layer in enumerate(layers)]
    names = _Names(optimizer)
    rules: list[Rule] = []
    groups: dict[str, dict[str, Any]] = {}
    total, last = sum(size or 1 for _, size in stacks), -1
    for match, size in stacks:
        first, last = last + 1, last + (size or 1)
        own: dict[str, Any] = {names.of("lr"): decay ** (total - 1 - last) * lr}  # type: ignore[operator]
        name = f"layer {first}"
        if size:
            name = f"layers {first} to {last}"
            own[names.of("stacked")] = tuple(decay ** (last - i) for i in range(first, last + 1))
        if undecayed is not None:
            both = as_condition(match) & as_condition(undecayed)
            rules.append(Rule(both, f"{name} undecayed", optional=True))
            groups[f"{name} undecayed"] = {**own, names.of("weight_decay"): 0.0}
        rules.append(Rule(match, name, optional=undecayed is not None))
        groups[name] = own
    return {"rules": rules, "groups": groups}


class _Names:
    """The names of the hyperparameters that the groups override."""

    def __init__(self, optimizer: str | Callable[..., Any] | None):
        factory = optax_factory(optimizer) if isinstance(optimizer, str) else optimizer
        if optimizer is not None and not callable(factory):
            raise ValueError(
                "layer_decay: optimizer must be one of optax, such as optax.lion or 'optax.lion', got "
                f"{short(optimizer)}; leave it out for those of jaxsched"
            )
        self.definition = factory and (definition_of(factory) or definition_of_factory(factory))

    def of(self, role: str) -> str:
        """The name of the ``"lr"``, ``"weight_decay"`` or ``"stacked"``."""
        if self.definition is None:
            return role
        name = name_of(role, self.definition.arguments)
        if name is None:
            words = {"lr": "no learning rate", "stacked": "no stacked layers: name each layer by itself"}
            raise ValueError(f"layer_decay: {self.definition.name} has {words.get(role, 'no weight decay')}")
        return name


def _stack(i: int, layer: Match | tuple[Match, int]) -> tuple[Match, int]:
    """The match of some layers and how many are stacked, 0 for a single one that is not."""
    if not isinstance(layer, tuple):
        return layer, 0
    if len(layer) != 2 or not is_host_number(layer[1]) or not layer[1] >= 1 or layer[1] % 1:
        raise ValueError(
            f"layer_decay: layers[{i}] must be a match, or a pair of a match and how many layers are stacked, got "
            f"{short(layer)}"
        )
    return layer[0], int(layer[1])
