"""Trees of shapes in place of arrays: what a state will look like, before there is memory for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax


def takes_shapes(init: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``init`` that, of parameters which are ``jax.ShapeDtypeStruct``, returns a state which is, and makes no array."""

    @functools.wraps(init)
    def of_either(params: Any) -> Any:
        if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(params)):
            return jax.eval_shape(init, params)
        return init(params)

    return of_either
