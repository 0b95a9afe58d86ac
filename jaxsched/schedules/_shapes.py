"""The ways from one value to another over some steps, each exact at both ends: for warm-up and cooldown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from jaxsched.schedules._checks import choice
from jaxsched.schedules._progress import fraction_and_lost, fractions, left, sin_squared, split


def between(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array, shape: str) -> jax.Array:
    """``start`` at step 0, ``end`` from ``steps`` on, and between them the ``shape``."""
    over = left(step, steps) <= 0
    return jnp.where(over, end, jnp.where(step <= 0, start, _SHAPES[shape](step, steps, start, end)))


# Each end has its own weight, so that nothing cancels.


def _linear(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array) -> jax.Array:
    gone, left = fractions(step, steps)
    return start * left + end * gone


def _cosine(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array) -> jax.Array:
    gone, left = fractions(step, steps)
    return start * sin_squared(left) + end * sin_squared(gone)


def _quadratic(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array) -> jax.Array:
    gone, left = fractions(step, steps)
    return start * (left * (1.0 + gone)) + end * jnp.square(gone)


def _sqrt(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array) -> jax.Array:
    gone, left = fractions(step, steps)
    root = jnp.sqrt(jnp.where(gone > 0, gone, 1.0))  # not of 0, where its gradient is infinite
    return start * (left / (1.0 + root)) + end * root


def _exponential(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array) -> jax.Array:
    gone, left, whole = split(step, steps)
    return _power(start, *fraction_and_lost(left, whole)) * _power(end, *fraction_and_lost(gone, whole))


def _power(base: jax.Array, exponent: jax.Array, lost: jax.Array) -> jax.Array:
    return jnp.power(base, exponent) * (1.0 + lost * jnp.log(base))


def _constant(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array) -> jax.Array:
    del step, steps, end
    return start


_SHAPES: dict[str, Callable[[jax.Array, Any, jax.Array, jax.Array], jax.Array]] = {
    "linear": _linear,
    "cosine": _cosine,
    "quadratic": _quadratic,
    "sqrt": _sqrt,
    "exponential": _exponential,
    "constant": _constant,
}

Shape = Annotated[str, choice(*_SHAPES)]
"""How to go from one value to another: linear, cosine, quadratic, sqrt, exponential or (not at all, then) constant."""
