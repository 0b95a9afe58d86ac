"""Forms of the network's operations that are faster on a CPU; the same functions up to rounding.

`norm_silu` is batch norm and SiLU with one hand-written gradient. Differentiated operation by operation, the two keep
three arrays of the size of the activations and pass over them a dozen times; here only the input is kept, the forward
pass reads it three times and the backward pass four. `convolve` writes 1x1 convolutions as matrix products and the
6x6 stem as a 3x3 convolution over blocks of 2x2 pixels; products and large convolutions have gradients of their own on
a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

AXES = (0, 1, 2)  # of [batch, height, width, channels]
LARGE = 2**19  # values: 2 MB in float32, about what the cache of one core holds
BLOCK = 1024  # pixels of which a kernel gradient is summed at a time

Sides = tuple[tuple[int, int], ...]  # padding: (above, below), (left, right)


def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """NHWC convolution with an HWIO kernel."""
    size, _, inputs, outputs = kernel.shape
    if (size, stride, padding) == (1, 1, 0):
        return product(x.reshape(-1, inputs), kernel[0, 0]).reshape(*x.shape[:-1], outputs)
    if (size, stride, padding) == (6, 2, 2):
        n, h, w, _ = x.shape
        rows = x.reshape(n, h // 2, 2, w // 2, 2 * inputs)
        x = jnp.concatenate([rows[:, :, 0], rows[:, :, 1]], -1)
        kernel = kernel.reshape(3, 2, 3, 2, inputs, outputs).transpose(0, 2, 1, 3, 4, 5).reshape(3, 3, -1, outputs)
        stride = padding = 1
    if x.size // stride**2 > LARGE and (stride == 2 or inputs >= 32):  # with fewer channels it is not faster
        return large_convolution(x, kernel, stride, padding)
    return convolution(x, kernel, stride, padding)


def convolution(x: jax.Array, kernel: jax.Array, stride: int, padding: int | Sides) -> jax.Array:
    sides = ((padding, padding),) * 2 if isinstance(padding, int) else padding
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), sides, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@jax.custom_vjp
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``x @ kernel``, with the gradient of the kernel by `transposed_product` on a CPU."""
    return x @ kernel


def product_backward(kept: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    of_kernel = jax.lax.platform_dependent(x, gradient, cpu=transposed_product, default=lambda x, g: x.T @ g)
    return gradient @ kernel.T, of_kernel


product.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), product_backward)


def transposed_product(a: jax.Array, b: jax.Array) -> jax.Array:
    """``a.T @ b`` of two long arrays: the narrower one is the transposed one, which takes half the time."""
    if a.shape[1] <= b.shape[1]:
        return a.T @ b
    return jax.lax.optimization_barrier(b.T @ a).T  # without the barrier XLA turns it round again


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def large_convolution(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """`convolution`, with gradients that a CPU computes one image at a time, in blocks that fit its cache."""
    return convolution(x, kernel, stride, padding)


def large_backward(stride: int, padding: int, kept: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    def by_xla(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        of_x = jax.linear_transpose(lambda x: convolution(x, kernel, stride, padding), x)
        of_kernel = jax.linear_transpose(lambda kernel: convolution(x, kernel, stride, padding), kernel)
        return *of_x(gradient), *of_kernel(gradient)

    def by_image(images: tuple[jax.Array, jax.Array], kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, gradient = images
        in_place = (kernel.shape[0], stride, padding) == (3, 2, 1) and x.shape[1] % 2 == x.shape[2] % 2 == 0

        def add(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            x, total = carry
            image, of_y = (jax.lax.dynamic_index_in_dim(a, i, keepdims=False) for a in (x, gradient))
            total += kernel_gradient(image, of_y, kernel.shape[0], stride, padding)
            if in_place:
                # The gradient of an image replaces the image, which XLA must have read before. A barrier does not
                # ensure that on a CPU (jax 0.10.2 copies all of x); that the kernel depends on the sum does. If the
                # sum is not finite, neither is this gradient: that step is lost in any case.
                after = kernel + (0 * total[0, 0]).astype(kernel.dtype)
                x = jax.lax.dynamic_update_index_in_dim(x, input_gradient(of_y, after, image.shape), i, 0)
            return x, total

        dtype = jnp.promote_types(x.dtype, jnp.float32)
        zeros = jnp.zeros((kernel.shape[-1], kernel.size // kernel.shape[-1]), dtype)
        of_x, of_kernel = jax.lax.fori_loop(0, len(x), add, (x, zeros))
        if not in_place:
            of_x = jax.linear_transpose(lambda x: convolution(x, kernel, stride, padding), x)(gradient)[0]
        return of_x, of_kernel.T.reshape(1, *kernel.shape)

    def on_cpu(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        of_x, of_kernel = on_each_device(by_image)((x, gradient), kernel)  # a gradient of the kernel for each device
        return of_x, of_kernel.sum(0).astype(kernel.dtype)

    return jax.lax.platform_dependent(*kept, gradient, cpu=on_cpu, default=by_xla)


large_convolution.defvjp(
    lambda x, kernel, stride, padding: (large_convolution(x, kernel, stride, padding), (x, kernel)), large_backward
)


def on_each_device(function: Callable[[Any, jax.Array], Any]) -> Callable[[Any, jax.Array], Any]:
    """`function` of images and a kernel, computed by each device for its part of the images.

    XLA divides operations over the devices, but not a loop over images: it would copy all images to each device.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return function
    images, whole = PartitionSpec(mesh.axis_names), PartitionSpec()
    return jax.shard_map(function, in_specs=(images, whole), out_specs=images, check_vma=False)


def kernel_gradient(x: jax.Array, gradient: jax.Array, size: int, stride: int, padding: int) -> jax.Array:
    """Gradient of a square kernel from one image, ``[outputs, size * size * inputs]``, given that of the result.

    Each entry of the kernel has met a shifted copy of `x`; its gradient is the matrix product of `gradient` with that
    copy. XLA computes it as a convolution whose window is the whole image, which takes 1.6 to 4 times as long.
    """
    rows, columns, outputs = gradient.shape
    block = next(r for r in range(rows, 0, -1) if rows % r == 0 and (r * columns <= BLOCK or r == 1))
    x = jnp.pad(x, ((padding, padding), (padding, padding), (0, 0)))

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        of_x = jax.lax.dynamic_slice_in_dim(x, i * block * stride, stride * (block - 1) + size)
        of_y = jax.lax.dynamic_slice_in_dim(gradient, i * block, block)
        copies = [
            of_x[r : r + stride * (block - 1) + 1 : stride, c : c + stride * (columns - 1) + 1 : stride]
            for r in range(size)
            for c in range(size)
        ]
        copies = jnp.concatenate(copies, -1).reshape(block * columns, -1)
        return total + jnp.matmul(of_y.reshape(-1, outputs).T, copies, preferred_element_type=total.dtype)

    dtype = jnp.promote_types(x.dtype, jnp.float32)
    return jax.lax.fori_loop(0, rows // block, add, jnp.zeros((outputs, size * size * x.shape[-1]), dtype))


def input_gradient(gradient: jax.Array, kernel: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Gradient of an image of this shape, given that of its convolution with a 3x3 kernel at stride 2, padding 1.

    A block of 2x2 pixels comes from 2x2 of the result: one convolution gives the even rows and one the odd ones, each
    with two pixels in its channels. XLA's own takes two to three times as long.
    """
    left, here, right = kernel.transpose(1, 0, 3, 2)
    taps = jnp.stack([jnp.concatenate(pair, -1) for pair in ((here, right), (jnp.zeros_like(left), left))], 1)
    even = convolution(gradient[None], taps[1:2], 1, ((0, 0), (0, 1)))
    odd = convolution(gradient[None], taps[2::-2], 1, ((0, 1), (0, 1)))
    return jnp.stack([even[0], odd[0]], 1).reshape(shape)


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
