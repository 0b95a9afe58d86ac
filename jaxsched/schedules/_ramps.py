"""Interpolations from one value to another, exact at both ends, for warm-up and cooldown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from jaxsched.checks import choice, short
from jaxsched.numerics import exact_fractions, fractions, is_host_number, rounded, sin_squared, split


def between(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array, shape: str) -> jax.Array:
    """``start`` at step 0, ``end`` from ``steps`` on, and an interpolation of the ``shape`` between them."""
    over = rounded(split(step, steps)[1]) <= 0
    return jnp.where(over, end, jnp.where(step <= 0, start, _SHAPES[shape](step, steps, start, end)))


def check_shape(shape: str, **ends: Any) -> None:
    """Raise an error if an end of an exponential interpolation is not positive."""
    for name, end in ends.items():
        if shape == "exponential" and is_host_number(end) and end <= 0:
            raise ValueError(f"{name} must be positive for shape='exponential', got {short(end)}; give a small value")


# Both ends are weighted separately, so that there is no cancellation.


def _linear(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array) -> jax.Array:
    gone, left = fractions(step, steps)
    return start * left + end * gone


def _cosine(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array) -> jax.Array:
    gone, left = exact_fractions(step, steps)
    return start * sin_squared(left.high) + end * sin_squared(gone.high)


def _quadratic(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array) -> jax.Array:
    gone, left = fractions(step, steps)
    return start * (left * (1.0 + gone)) + end * jnp.square(gone)


def _sqrt(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array) -> jax.Array:
    gone, left = fractions(step, steps)
    root = jnp.sqrt(jnp.where(gone > 0, gone, 1.0))  # at 0 the gradient is infinite
    return start * (left / (1.0 + root)) + end * root


def _exponential(step: jax.Array, steps: Any, start: jax.Array, end: jax.Array) -> jax.Array:
    gone, left = exact_fractions(step, steps)
    return _power(start, *left) * _power(end, *gone)


def _power(base: jax.Array, exponent: jax.Array, lost: jax.Array) -> jax.Array:
    positive = base > 0
    some = jnp.where(positive, base, 1.0)
    return jnp.where(positive, jnp.power(some, exponent) * (1.0 + lost * jnp.log(some)), exponent <= 0)


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
"""Shape of an interpolation: linear, cosine, quadratic, sqrt, exponential, or constant: a jump at the end."""
