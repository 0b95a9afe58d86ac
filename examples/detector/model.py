"""YOLOv5 v6 in Flax NNX: the network, its anchors, the decoding of its boxes, and its sizes.

Layer ``i`` of the original is ``backbone/i`` (0 to 9), one of ``neck`` (10 to 23) or ``head`` (24); `from_torch.py`
has the table. Images are NHWC in [0, 1]. The raw prediction of one level has the shape
``[batch, 3 anchors, ny, nx, 5 + classes]``: x, y, w, h, objectness and classes, before the sigmoid.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from examples.detector import fused

Anchors = tuple[tuple[tuple[float, float], ...], ...]

STRIDES = (8, 16, 32)
ANCHORS: Anchors = (  # YOLOv5's, found on COCO: width, height in pixels of the network's input, three for each stride
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
SIZES = {  # name: depth multiple, width multiple
    "n": (0.33, 0.25),
    "s": (0.33, 0.50),
    "m": (0.67, 0.75),
    "l": (1.00, 1.00),
    "x": (1.33, 1.25),
}
BN_MOMENTUM = 0.97  # share of the old statistics that is kept (torch's momentum is the other share: 0.03)
EPSILON = 1e-3  # of batch norm


def bottlenecks(depth: float) -> tuple[int, ...]:
    """Numbers of bottlenecks in short, middle and long blocks."""
    return tuple(max(round(n * depth), 1) for n in (3, 6, 9))


def convolution(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """NHWC convolution with an HWIO kernel."""
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


class Convolution(nnx.Module):
    """Convolution with an optional bias, initialised as torch does: uniform within 1 / sqrt(fan in).

    Attributes:
        fused: Use the forms of `fused.py`, which are faster on a CPU.
    """

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, padding: int, *, bias: bool, rngs: nnx.Rngs):
        bound = 1 / math.sqrt(inputs * size * size)
        self.kernel = nnx.Param(
            jax.random.uniform(rngs.params(), (size, size, inputs, outputs), minval=-bound, maxval=bound)
        )
        if bias:
            self.bias = nnx.Param(jax.random.uniform(rngs.params(), (outputs,), minval=-bound, maxval=bound))
        self.stride, self.padding, self.has_bias = stride, padding, bias
        self.fused = False

    def __call__(self, x: jax.Array) -> jax.Array:
        convolve = fused.convolve if self.fused else convolution
        y = convolve(x, self.kernel[...].astype(x.dtype), self.stride, self.padding)
        return y + self.bias[...].astype(x.dtype) if self.has_bias else y


class BatchNorm(nnx.Module):
    """Batch norm as torch computes it, in float32.

    It normalises with the biased variance of the batch but remembers the unbiased one, unlike `nnx.BatchNorm`.
    """

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        # Not 1: YOLOv5 finds its strides by one forward pass of zeros, at torch's default momentum of 0.1. The dtype
        # is explicit, since a weakly typed array would compile the training step twice.
        self.var = nnx.BatchStat(jnp.full(channels, 0.9, float))

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        mean, var = self.mean[...], self.var[...]
        x = x.astype(mean.dtype)
        if train:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            self.remember(mean, var, x.size // x.shape[-1])
        return (x - mean) * (jax.lax.rsqrt(var + EPSILON) * self.scale[...]) + self.bias[...]

    def remember(self, mean: jax.Array, var: jax.Array, count: int) -> None:
        """Move the running statistics towards those of a batch of `count` values for each channel."""
        unbiased = var * (count / max(count - 1, 1))
        for running, new in ((self.mean, mean), (self.var, unbiased)):
            running[...] = BN_MOMENTUM * running[...] + (1 - BN_MOMENTUM) * jax.lax.stop_gradient(new)


class Conv(nnx.Module):
    """Convolution, batch norm, SiLU.

    Attributes:
        fused: In training, compute batch norm and SiLU with one hand-written gradient (`fused.py`).
    """

    def __init__(
        self, inputs: int, outputs: int, size: int = 1, stride: int = 1, padding: int | None = None, *, rngs: nnx.Rngs
    ):
        padding = size // 2 if padding is None else padding
        self.conv = Convolution(inputs, outputs, size, stride, padding, bias=False, rngs=rngs)
        self.bn = BatchNorm(outputs)
        self.fused = False

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = self.conv(x)
        if train and self.fused:
            bn = self.bn
            y, mean, var = fused.norm_silu(x, bn.scale[...], bn.bias[...], bn.mean[...], EPSILON)
            bn.remember(mean, var, x.size // x.shape[-1])
            return y
        return jax.nn.silu(self.bn(x, train)).astype(x.dtype)


class Bottleneck(nnx.Module):
    """A 1x1 and a 3x3 convolution; with `shortcut` their result is added to the input."""

    def __init__(self, channels: int, shortcut: bool, *, rngs: nnx.Rngs):
        self.cv1 = Conv(channels, channels, rngs=rngs)
        self.cv2 = Conv(channels, channels, 3, rngs=rngs)
        self.shortcut = shortcut

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        y = self.cv2(self.cv1(x, train), train)
        return x + y if self.shortcut else y


class C3(nnx.Module):
    """Two branches of half the width, one of them with bottlenecks, joined by a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, repeats: int, shortcut: bool = True, *, rngs: nnx.Rngs):
        half = outputs // 2
        self.cv1 = Conv(inputs, half, rngs=rngs)
        self.cv2 = Conv(inputs, half, rngs=rngs)
        self.cv3 = Conv(2 * half, outputs, rngs=rngs)
        self.m = nnx.List([Bottleneck(half, shortcut, rngs=rngs) for _ in range(repeats)])

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        y = self.cv1(x, train)
        for bottleneck in self.m:
            y = bottleneck(y, train)
        return self.cv3(jnp.concatenate([y, self.cv2(x, train)], -1), train)


def max_pool(x: jax.Array, size: int = 5) -> jax.Array:
    """Maximum over size x size, stride 1, padded with minus infinity. Of equal values the first gets the gradient."""
    for axis in (1, 2):
        padding = [(0, 0)] * x.ndim
        padding[axis] = (size // 2, size // 2)
        padded = jnp.pad(x, padding, constant_values=-jnp.inf)
        shifted = [jax.lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i in range(size)]
        x = functools.reduce(lambda best, other: jnp.where(other > best, other, best), shifted)
    return x


class SPPF(nnx.Module):
    """Spatial pyramid pooling: the input and its maxima over 5, 9 and 13 pixels, concatenated."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        self.cv1 = Conv(inputs, inputs // 2, rngs=rngs)
        self.cv2 = Conv(inputs // 2 * 4, outputs, rngs=rngs)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        pyramid = [self.cv1(x, train)]
        for _ in range(3):
            pyramid.append(max_pool(pyramid[-1]))
        return self.cv2(jnp.concatenate(pyramid, -1), train)


def upsample(x: jax.Array) -> jax.Array:
    """Nearest-neighbour upsampling by 2."""
    n, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None, :], (n, h, 2, w, 2, c)).reshape(n, 2 * h, 2 * w, c)


class Detect(nnx.Module):
    """The head: one 1x1 convolution for each level. Its biases start so that few cells predict an object."""

    def __init__(self, channels: tuple[int, ...], classes: int, *, rngs: nnx.Rngs):
        self.classes = classes
        self.levels = nnx.List([Convolution(c, 3 * (5 + classes), 1, 1, 0, bias=True, rngs=rngs) for c in channels])
        for level, stride in zip(self.levels, STRIDES, strict=True):
            bias = level.bias[...].reshape(3, 5 + classes)
            bias = bias.at[:, 4].add(math.log(8 / (640 / stride) ** 2))  # 8 objects in an image of 640 pixels
            bias = bias.at[:, 5:].add(math.log(0.6 / (classes - 0.99999)))
            level.bias[...] = bias.reshape(-1)

    def __call__(self, features: list[jax.Array]) -> list[jax.Array]:
        raw = []
        for level, x in zip(self.levels, features, strict=True):
            n, ny, nx, _ = x.shape
            raw.append(level(x).reshape(n, ny, nx, 3, 5 + self.classes).transpose(0, 3, 1, 2, 4))
        return raw


class YOLOv5(nnx.Module):
    """YOLOv5 v6 with `classes` classes.

    Args:
        classes: Number of classes, at least 1.
        depth: Multiplies the number of bottlenecks. ``SIZES`` has the depth and width of n, s, m, l and x.
        width: Multiplies the number of channels, rounded up to a multiple of 8.
        anchors: (width, height) in pixels of three anchors for each stride.
        rngs: Draws the initial parameters from the distributions that torch uses.

    ``model.set_attributes(fused=True)`` selects the forms that are faster on a CPU (`fused.py`).

    Example:
        >>> model = YOLOv5(10, *SIZES["n"], rngs=nnx.Rngs(0))
        >>> parameter_count(model)
        1777447
    """

    def __init__(self, classes: int, depth: float, width: float, anchors: Anchors = ANCHORS, *, rngs: nnx.Rngs):
        if classes < 1:
            raise ValueError(f"classes is {classes}; a detector needs at least 1.")
        if depth <= 0 or width <= 0:
            raise ValueError(f"depth is {depth} and width is {width}; both multiples must be above 0.")
        self.anchors = anchors
        c1, c2, c3, c4, c5 = (math.ceil(c * width / 8) * 8 for c in (64, 128, 256, 512, 1024))
        r3, r6, r9 = bottlenecks(depth)
        self.classes = classes
        self.backbone = nnx.List([
            Conv(3, c1, 6, 2, 2, rngs=rngs),
            Conv(c1, c2, 3, 2, rngs=rngs),
            C3(c2, c2, r3, rngs=rngs),
            Conv(c2, c3, 3, 2, rngs=rngs),
            C3(c3, c3, r6, rngs=rngs),
            Conv(c3, c4, 3, 2, rngs=rngs),
            C3(c4, c4, r9, rngs=rngs),
            Conv(c4, c5, 3, 2, rngs=rngs),
            C3(c5, c5, r3, rngs=rngs),
            SPPF(c5, c5, rngs=rngs),
        ])  # fmt: skip
        self.neck = nnx.Dict({
            "lateral5": Conv(c5, c4, rngs=rngs),
            "up4": C3(2 * c4, c4, r3, False, rngs=rngs),
            "lateral4": Conv(c4, c3, rngs=rngs),
            "up3": C3(2 * c3, c3, r3, False, rngs=rngs),
            "down3": Conv(c3, c3, 3, 2, rngs=rngs),
            "out4": C3(2 * c3, c4, r3, False, rngs=rngs),
            "down4": Conv(c4, c4, 3, 2, rngs=rngs),
            "out5": C3(2 * c4, c5, r3, False, rngs=rngs),
        })  # fmt: skip
        self.head = Detect((c3, c4, c5), classes, rngs=rngs)

    def __call__(self, images: jax.Array, train: bool = False) -> list[jax.Array]:
        """Raw predictions at strides 8, 16 and 32; with `train`, batch norm uses and remembers the batch."""
        x, p3, p4 = images, None, None
        for i, layer in enumerate(self.backbone):
            x = layer(x, train)
            p3, p4 = (x if i == 4 else p3), (x if i == 6 else p4)
        join = lambda a, b: jnp.concatenate([a, b], -1)  # noqa: E731
        neck = self.neck
        top5 = neck["lateral5"](x, train)
        top4 = neck["lateral4"](neck["up4"](join(upsample(top5), p4), train), train)
        out3 = neck["up3"](join(upsample(top4), p3), train)
        out4 = neck["out4"](join(neck["down3"](out3, train), top4), train)
        out5 = neck["out5"](join(neck["down4"](out4, train), top5), train)
        return self.head([out3, out4, out5])


def decode(raw: list[jax.Array], anchors: Anchors) -> jax.Array:
    """Raw predictions to ``[batch, N, 5 + classes]``: box centre and size in pixels, then probabilities."""
    boxes = []
    for level, stride, sizes in zip(raw, STRIDES, anchors, strict=True):
        n, a, ny, nx, entries = level.shape
        p = jax.nn.sigmoid(level)
        cell = jnp.stack(jnp.meshgrid(jnp.arange(nx), jnp.arange(ny)), -1).astype(p.dtype)
        centre = (2 * p[..., :2] - 0.5 + cell) * stride
        size = (2 * p[..., 2:4]) ** 2 * jnp.asarray(sizes, p.dtype)[:, None, None]
        boxes.append(jnp.concatenate([centre, size, p[..., 4:]], -1).reshape(n, a * ny * nx, entries))
    return jnp.concatenate(boxes, 1)


def parameter_count(model: nnx.Module) -> int:
    """Number of trained values."""
    return sum(int(np.prod(p.shape)) for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
