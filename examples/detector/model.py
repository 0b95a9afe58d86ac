"""YOLOv5 v6 in Flax NNX: the network, its decoding of boxes, and its sizes.

Layer ``i`` of the original is ``backbone/i`` (0 to 9), ``neck/i - 10`` (10 to 23) or ``head`` (24); `from_torch.py`
spells that out. Images are NHWC in [0, 1]. A raw prediction of one level is ``[batch, 3 anchors, ny, nx, 5 +
classes]``: x, y, w, h, objectness and classes, before any sigmoid.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from examples.detector.norm import EPSILON, norm_silu

STRIDES = (8, 16, 32)
ANCHORS = (  # width, height in pixels of the network's input, three for each stride
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
BN_MOMENTUM = 0.97  # the share of the old statistics that stays (torch calls the other share momentum: 0.03)


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1, padding: int = 0) -> jax.Array:
    """NHWC convolution with an HWIO kernel, each kind written as the device computes it fastest."""
    size, _, inputs, outputs = kernel.shape
    if (size, stride, padding) == (1, 1, 0):
        return (x.reshape(-1, inputs) @ kernel[0, 0]).reshape(*x.shape[:-1], -1)
    if (size, stride, padding) == (6, 2, 2):  # 3x3 over blocks of 2x2 pixels
        n, h, w, _ = x.shape
        rows = x.reshape(n, h // 2, 2, w // 2, 2 * inputs)
        x = jnp.concatenate([rows[:, :, 0], rows[:, :, 1]], -1)
        kernel = kernel.reshape(3, 2, 3, 2, inputs, outputs).transpose(0, 2, 1, 3, 4, 5).reshape(3, 3, -1, outputs)
        stride = padding = 1
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


class Convolution(nnx.Module):
    """Kernel, and bias where asked, drawn as torch draws them: uniform within 1 / sqrt(fan in)."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, padding: int, *, bias: bool, rngs: nnx.Rngs):
        bound = 1 / math.sqrt(inputs * size * size)
        self.kernel = nnx.Param(
            jax.random.uniform(rngs.params(), (size, size, inputs, outputs), minval=-bound, maxval=bound)
        )
        if bias:
            self.bias = nnx.Param(jax.random.uniform(rngs.params(), (outputs,), minval=-bound, maxval=bound))
        self.stride, self.padding, self.has_bias = stride, padding, bias

    def __call__(self, x: jax.Array) -> jax.Array:
        y = convolve(x, self.kernel[...].astype(x.dtype), self.stride, self.padding)
        return y + self.bias[...].astype(x.dtype) if self.has_bias else y


class BatchNormSiLU(nnx.Module):
    """torch's batch norm, then SiLU: it normalises with the biased variance, but remembers the unbiased one.

    ``parts`` is into how many parts the batch falls, each normalised by itself; 1 for the whole batch, whatever
    number of devices it is spread over. (``model.set_attributes(parts=8)`` sets it everywhere.)
    """

    def __init__(self, channels: int):
        self.parts = 1
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        # Not 1: YOLOv5 finds its strides by one forward pass of zeros, at torch's default momentum of 0.1.
        # With its type: a weak one would have the step compiled twice.
        self.var = nnx.BatchStat(jnp.full(channels, 0.9, float))

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        mean, var, scale, bias = self.mean[...], self.var[...], self.scale[...], self.bias[...]
        if not train:
            wide = x.astype(mean.dtype)
            return jax.nn.silu((wide - mean) * (scale * jax.lax.rsqrt(var + EPSILON)) + bias).astype(x.dtype)
        parts = x.reshape(self.parts, -1, *x.shape[1:])
        y, batch_mean, batch_var = norm_silu(parts, scale, bias, mean)
        count = parts[0].size // parts.shape[-1]
        self.mean[...] = remember(mean, batch_mean)
        self.var[...] = remember(var, batch_var * (count / max(count - 1, 1)))
        return y.reshape(x.shape)


def remember(old: jax.Array, new: jax.Array) -> jax.Array:
    """A running statistic after a batch; of several parts of the batch their mean counts."""
    return BN_MOMENTUM * old + (1 - BN_MOMENTUM) * jax.lax.stop_gradient(new.mean((0, 1, 2, 3)))


class Conv(nnx.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(
        self, inputs: int, outputs: int, size: int = 1, stride: int = 1, padding: int | None = None, *, rngs: nnx.Rngs
    ):
        padding = size // 2 if padding is None else padding
        self.conv = Convolution(inputs, outputs, size, stride, padding, bias=False, rngs=rngs)
        self.bn = BatchNormSiLU(outputs)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return self.bn(self.conv(x), train)


class Bottleneck(nnx.Module):
    """1x1, then 3x3, added to the input where `shortcut` says so."""

    def __init__(self, channels: int, shortcut: bool, *, rngs: nnx.Rngs):
        self.cv1 = Conv(channels, channels, rngs=rngs)
        self.cv2 = Conv(channels, channels, 3, rngs=rngs)
        self.shortcut = shortcut

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        y = self.cv2(self.cv1(x, train), train)
        return x + y if self.shortcut else y


class C3(nnx.Module):
    """Two branches of half the width, bottlenecks in one of them, joined by a 1x1."""

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
    """Maximum over size x size, stride 1, padded with minus infinity. Of equal ones the first has the gradient."""
    for axis in (1, 2):
        padding = [(0, 0)] * x.ndim
        padding[axis] = (size // 2, size // 2)
        padded = jnp.pad(x, padding, constant_values=-jnp.inf)
        shifted = [jax.lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i in range(size)]
        x = functools.reduce(lambda best, other: jnp.where(other > best, other, best), shifted)
    return x


class SPPF(nnx.Module):
    """Spatial pyramid pooling: the input beside its maxima over 5, 9 and 13 pixels."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        self.cv1 = Conv(inputs, inputs // 2, rngs=rngs)
        self.cv2 = Conv(inputs // 2 * 4, outputs, rngs=rngs)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        pyramid = [self.cv1(x, train)]
        for _ in range(3):
            pyramid.append(max_pool(pyramid[-1]))
        return self.cv2(jnp.concatenate(pyramid, -1), train)


def upsample(x: jax.Array) -> jax.Array:
    """Twice the height and width, each pixel repeated."""
    n, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None, :], (n, h, 2, w, 2, c)).reshape(n, 2 * h, 2 * w, c)


class Detect(nnx.Module):
    """The head: one 1x1 convolution for each level, its biases set so that few cells start as objects."""

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
        classes: number of classes, at least 1.
        depth: multiplies the number of bottlenecks. ``SIZES`` holds depth and width of n, s, m, l and x.
        width: multiplies the number of channels, rounded up to a multiple of 8.
        rngs: draws the start, as torch would (other numbers, the same distribution).

    Example:
        >>> model = YOLOv5(10, *SIZES["n"], rngs=nnx.Rngs(0))
        >>> parameter_count(model)
        1777447
    """

    def __init__(self, classes: int, depth: float, width: float, *, rngs: nnx.Rngs):
        if classes < 1:
            raise ValueError(f"classes is {classes}; a detector needs at least 1.")
        if depth <= 0 or width <= 0:
            raise ValueError(f"depth is {depth} and width is {width}; both multiples must be above 0.")
        c1, c2, c3, c4, c5 = (math.ceil(c * width / 8) * 8 for c in (64, 128, 256, 512, 1024))
        r3, r6, r9 = (max(round(n * depth), 1) for n in (3, 6, 9))
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
        """Raw predictions at strides 8, 16 and 32; `train` uses and updates the statistics of the batch."""
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


def decode(raw: list[jax.Array]) -> jax.Array:
    """Raw predictions to ``[batch, N, 5 + classes]``: box centre and size in pixels, then probabilities."""
    boxes = []
    for level, stride, anchors in zip(raw, STRIDES, ANCHORS, strict=True):
        n, a, ny, nx, entries = level.shape
        p = jax.nn.sigmoid(level)
        cell = jnp.stack(jnp.meshgrid(jnp.arange(nx), jnp.arange(ny)), -1).astype(p.dtype)
        centre = (2 * p[..., :2] - 0.5 + cell) * stride
        size = (2 * p[..., 2:4]) ** 2 * jnp.asarray(anchors, p.dtype)[:, None, None]
        boxes.append(jnp.concatenate([centre, size, p[..., 4:]], -1).reshape(n, a * ny * nx, entries))
    return jnp.concatenate(boxes, 1)


def parameter_count(model: nnx.Module) -> int:
    """How many numbers are trained."""
    return sum(int(np.prod(p.shape)) for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
