"""Forms of the network's operations that are faster on a CPU; the same functions up to rounding.

`norm_silu` is batch norm and SiLU with one hand-written gradient. Differentiated operation by operation, the two keep
three arrays of the size of the activations and pass over them a dozen times; here only the input is kept, the forward
pass reads it three times and the backward pass four. `convolve` writes 1x1 convolutions as matrix products and the
6x6 stem as a 3x3 convolution over blocks of 2x2 pixels; `large_convolution` has a gradient of its own on a CPU.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

AXES = (0, 1, 2)  # of [batch, height, width, channels]
LARGE = 2**19  # values: 2 MB in float32, about what the cache of one core holds


def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """NHWC convolution with an HWIO kernel."""
    size, _, inputs, outputs = kernel.shape
    if (size, stride, padding) == (1, 1, 0):
        return (x.reshape(-1, inputs) @ kernel[0, 0]).reshape(*x.shape[:-1], -1)
    if (size, stride, padding) == (6, 2, 2):
        n, h, w, _ = x.shape
        rows = x.reshape(n, h // 2, 2, w // 2, 2 * inputs)
        x = jnp.concatenate([rows[:, :, 0], rows[:, :, 1]], -1)
        kernel = kernel.reshape(3, 2, 3, 2, inputs, outputs).transpose(0, 2, 1, 3, 4, 5).reshape(3, 3, -1, outputs)
        stride = padding = 1
    if x.size // stride**2 > LARGE and (stride == 2 or inputs >= 32):  # with fewer channels it is not faster
        return large_convolution(x, kernel, stride, padding)
    return convolution(x, kernel, stride, padding)


def convolution(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def large_convolution(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """`convolution`, with the gradient of the kernel by `kernel_gradient` on a CPU.

    By itself XLA computes it as a convolution whose window is the whole image, which takes 1.6 to 3 times the processor
    time at stride 2, and 1.1 to 1.6 times at stride 1.
    """
    return convolution(x, kernel, stride, padding)


def convolve_forward(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> tuple[jax.Array, Any]:
    return convolution(x, kernel, stride, padding), (x, kernel)


def convolve_backward(stride: int, padding: int, kept: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    (of_x,) = jax.linear_transpose(lambda x: convolution(x, kernel, stride, padding), x)(gradient)
    of_kernel = jax.lax.platform_dependent(
        x,
        gradient,
        cpu=lambda x, g: kernel_gradient(x, g, kernel.shape[0], stride, padding).astype(kernel.dtype),
        default=lambda x, g: jax.linear_transpose(lambda k: convolution(x, k, stride, padding), kernel)(g)[0],
    )
    return of_x, of_kernel


large_convolution.defvjp(convolve_forward, convolve_backward)


def kernel_gradient(x: jax.Array, gradient: jax.Array, size: int, stride: int, padding: int) -> jax.Array:
    """Gradient of the kernel of a ``size x size`` convolution of `x`, given that of its result.

    Each entry of the kernel has met a shifted copy of `x`; its gradient is the matrix product of that copy with
    `gradient`. One product serves a row of the kernel. The scan takes as many images at a time as the cache holds.
    """
    n, rows, columns, outputs = gradient.shape
    inputs = x.shape[-1]
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    parts = next(k for k in range(1, n + 1) if n % k == 0 and (k == n or n // k * rows * columns * inputs <= LARGE))

    def add(total: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        x, gradient = part
        x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        gradient = gradient.reshape(-1, outputs)
        products = []
        for i in range(size):
            shifted = x[:, i : i + stride * (rows - 1) + 1 : stride]
            copies = [shifted[:, :, j : j + stride * (columns - 1) + 1 : stride] for j in range(size)]
            copies = jnp.concatenate(copies, -1).reshape(-1, size * inputs)
            products.append(jnp.matmul(copies.T, gradient, preferred_element_type=dtype))
        return total + jnp.concatenate(products), None

    split = [a.reshape(parts, n // parts, *a.shape[1:]) for a in (x, gradient)]
    total = jax.lax.scan(add, jnp.zeros((size * size * inputs, outputs), dtype), tuple(split))[0]
    return total.reshape(size, size, inputs, outputs)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def norm_silu(
    x: jax.Array, scale: jax.Array, bias: jax.Array, about: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``silu((x - mean) / sqrt(var + epsilon) * scale + bias)``, the mean and the biased variance of the batch.

    Args:
        x: ``[batch, height, width, channels]``. The computation runs in the dtype of `about`.
        scale, bias: ``[channels]``.
        about: ``[channels]``, a guess of the mean, such as the running one. Both moments are taken in one pass about
            it, and lose digits only as far as the guess is off. It gets no gradient, nor do the moments pass one on.
        epsilon: Added to the variance.
    """
    return forward(x, scale, bias, about, epsilon)[0]


def forward(x: jax.Array, scale: jax.Array, bias: jax.Array, about: jax.Array, epsilon: float) -> tuple[Any, Any]:
    wide = x.astype(about.dtype)
    mean = wide.mean(AXES)
    square = jnp.square(wide - about).mean(AXES)
    var = jnp.maximum(square - jnp.square(mean - about), 0)
    inverse = jax.lax.rsqrt(var + epsilon)
    # Subtracting the mean first keeps digits that folding it into the bias would lose where the gain is large.
    z = (wide - mean) * (scale * inverse) + bias
    # A division, since XLA recomputes a logistic for each of its readers.
    y = z / (1 + jnp.exp(-z))
    return (y.astype(x.dtype), mean, var), (x, scale, bias, about, mean, inverse)


def backward(epsilon: float, kept: Any, cotangents: Any) -> tuple[jax.Array, ...]:
    x, scale, bias, about, mean, inverse = kept
    wide, gradient = x.astype(about.dtype), cotangents[0].astype(about.dtype)
    z = (wide - mean) * (scale * inverse) + bias
    # By tanh: XLA would store the exponential of the forward pass if both passes used it.
    sigmoid = 0.5 * jnp.tanh(0.5 * z) + 0.5
    of_z = gradient * (sigmoid * (1 + z * (1 - sigmoid)))
    sums = of_z.sum(AXES)
    # `wide + -about` for the same reason: the forward pass has `wide - about`.
    products = (of_z * (wide + -about)).sum(AXES) - (mean - about) * sums
    products = products * inverse  # sum of the gradient times the normalised input
    count = x.size // x.shape[-1]
    of_x = (scale * inverse) * (of_z - sums / count - (wide - mean) * (inverse * products / count))
    return of_x.astype(x.dtype), products, sums, jnp.zeros_like(about)


norm_silu.defvjp(forward, backward)
