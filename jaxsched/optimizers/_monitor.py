"""Norms by group, and a flat dict for a logger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxsched import groups as grouping
from jaxsched.numerics import compute_dtype, replicate


def group_norms(
    params: Any, gradients: Any = None, updates: Any = None, rules: grouping.Rules | None = None
) -> dict[str, dict[str, jax.Array]]:
    """The norms of the parameters, gradients and updates of each group, and the ratio of update to parameters.

    Inside a jitted step it costs one more pass over each array.

    Args:
        params: The parameters, before the update.
        gradients: Like them, or None.
        updates: Like them, or None.
        rules: The rules of the groups, as for the optimizer; by role where left out.

    Returns:
        ``{group: {"param_norm", "gradient_norm", "update_norm", "update_ratio"}}``, float32 scalars, for what is given.
        ``update_ratio`` is ``update_norm / param_norm``, and 0 where all parameters are 0.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> params = {"kernel": jnp.array([3.0, 4.0]), "bias": jnp.ones(1)}
        >>> norms = js.group_norms(params, updates={"kernel": jnp.array([0.3, 0.4]), "bias": jnp.zeros(1)})
        >>> float(norms["weight"]["param_norm"]), round(float(norms["weight"]["update_ratio"]), 3)
        (5.0, 0.1)
    """
    structure: Any = jax.tree.structure(params)
    names = structure.flatten_up_to(grouping.labels(params, rules))
    trees = {"param_norm": params, "gradient_norm": gradients, "update_norm": updates}
    found: dict[str, dict[str, jax.Array]] = {name: {} for name in dict.fromkeys(names)}
    for key, tree in trees.items():
        leaves = [] if tree is None else structure.flatten_up_to(tree)
        for group in found if leaves else ():
            own = [leaf for leaf, name in zip(leaves, names, strict=True) if name == group]
            found[group][key] = jnp.sqrt(_sum_of_squares(own))
    for norms in found.values():
        if "update_norm" in norms:
            size = norms["param_norm"]
            norms["update_ratio"] = jnp.where(size > 0, norms["update_norm"] / jnp.where(size > 0, size, 1), 0)
    return found


SMALL = 4096
"""Arrays of fewer numbers are joined before they are summed: a kernel for each of many biases costs more to launch than
to run."""


def _sum_of_squares(leaves: list[Any]) -> jax.Array:
    real = [part for leaf in map(jnp.asarray, leaves) for part in (_real(leaf) if leaf.size else ())]
    small = [replicate(part).ravel() for part in real if part.size < SMALL]
    joined = [jnp.concatenate(small)] if small else []
    parts = [part for part in real if part.size >= SMALL] + joined
    return jnp.asarray(sum(jnp.sum(jnp.square(part)) for part in parts))


def _real(x: jax.Array) -> tuple[jax.Array, ...]:
    """In float32 at least; a complex array as its real and imaginary parts."""
    wide = x.astype(compute_dtype(x))
    return (wide.real, wide.imag) if jnp.iscomplexobj(wide) else (wide,)


def flatten_dict(*values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Merge nested dicts into one flat dict, with keys joined by ``/``, as loggers take it.

    Args:
        values: Nested dicts such as those of `hyperparams` and `group_norms`. Items of tuples become ``/0``, ``/1``.
        prefix: Put before every key.

    Raises:
        ValueError: If two values get the same key.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> state = js.adam(lr=0.5).init({"kernel": jnp.ones(2)})
        >>> log = js.flatten_dict(js.hyperparams(state), prefix="train/")
        >>> float(log["train/weight/lr"]), round(float(log["train/weight/betas/0"]), 3)
        (0.5, 0.9)
    """
    found: dict[str, Any] = {}
    for value in values:
        _flatten_into(found, value, prefix)
    return found


def _flatten_into(found: dict[str, Any], value: Any, path: str) -> None:
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, tuple | list):
        items = [(str(i), item) for i, item in enumerate(value)]
    elif value is None:
        return
    else:
        if path in found:
            raise ValueError(f"flatten_dict: two values are named {path!r}; flatten one of them with a prefix")
        found[path] = value
        return
    for key, item in items:
        _flatten_into(found, item, f"{path}/{key}" if path and not path.endswith("/") else path + key)
