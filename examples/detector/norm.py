"""Batch norm and SiLU as one function with a gradient of its own.

Differentiated step by step, the two keep three arrays of the size of the activations and pass over them a dozen times.
Here only the input is kept; the forward pass reads it three times, the backward pass four. What a pass costs is why
some lines below are written as they are: XLA stores whatever two of its kernels have in common.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

EPSILON = 1e-3
AXES = (1, 2, 3)  # of [parts, batch, height, width, channels]: each part is normalised by itself


@jax.custom_vjp
def norm_silu(
    x: jax.Array, scale: jax.Array, bias: jax.Array, about: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``silu((x - mean) / sqrt(var + EPSILON) * scale + bias)``, the mean and the biased variance of the batch.

    Args:
        x: ``[parts, batch, height, width, channels]``; computed with in the dtype of `about`.
        scale, bias: ``[channels]``.
        about: ``[channels]``, where the mean is expected; both moments are taken in one pass about it, and lose digits
            only as far as it is away. No gradient goes to it, nor through the moments.
    """
    return forward(x, scale, bias, about)[0]


def forward(x: jax.Array, scale: jax.Array, bias: jax.Array, about: jax.Array) -> tuple[Any, Any]:
    wide = x.astype(about.dtype)
    mean = wide.mean(AXES, keepdims=True)
    square = jnp.square(wide - about).mean(AXES, keepdims=True)
    var = jnp.maximum(square - jnp.square(mean - about), 0)
    inverse = jax.lax.rsqrt(var + EPSILON)
    # The mean is taken off first: folded into the bias, it would cost digits where the gain is large.
    z = (wide - mean) * (scale * inverse) + bias
    # A division, or it would be computed again for each of its readers.
    y = z / (1 + jnp.exp(-z))
    return (y.astype(x.dtype), mean, var), (x, scale, bias, about, mean, inverse)


def backward(kept: Any, cotangents: Any) -> tuple[jax.Array, ...]:
    x, scale, bias, about, mean, inverse = kept
    wide, gradient = x.astype(about.dtype), cotangents[0].astype(about.dtype)
    z = (wide - mean) * (scale * inverse) + bias
    # By tanh, or the exponential of the forward pass would be stored for it.
    sigmoid = 0.5 * jnp.tanh(0.5 * z) + 0.5
    of_z = gradient * (sigmoid * (1 + z * (1 - sigmoid)))
    sums = of_z.sum(AXES, keepdims=True)
    # Not `wide - about`, or that of the forward pass would be stored for it.
    products = (of_z * (wide + -about)).sum(AXES, keepdims=True) - (mean - about) * sums
    products = products * inverse  # with the normalised input
    count = x[0].size // x.shape[-1]
    of_x = (scale * inverse) * (of_z - sums / count - (wide - mean) * (inverse * products / count))
    return of_x.astype(x.dtype), products.sum((0, *AXES)), sums.sum((0, *AXES)), jnp.zeros_like(about)


norm_silu.defvjp(forward, backward)
