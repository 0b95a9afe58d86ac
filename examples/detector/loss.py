"""YOLOv5's loss with fixed shapes: targets are padded and non-matches are masked.

Labels are ``boxes [batch, T, 4]`` (centre x, y, width, height as fractions of the image) and ``classes [batch, T]``,
padded with class -1. One compiled program therefore serves any number of boxes up to T per image.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from examples.detector.model import STRIDES, Anchors

BALANCE = (4.0, 1.0, 0.4)  # weights of the objectness at strides 8, 16 and 32
OFFSETS = ((0, 0), (0.5, 0), (0, 0.5), (-0.5, 0), (0, -0.5))  # own cell; the neighbour left, above, right, below


@dataclasses.dataclass(frozen=True)
class Gains:
    """Weights and options of the loss, scaled to the number of classes and the image size.

    Attributes:
        box, obj, cls: Weights of the three parts.
        obj_pw, cls_pw: Weights of the positive entries in the two binary cross entropies.
        anchor_t: A box matches an anchor whose width and height are within this factor of its own.
        fl_gamma: Exponent of the focal loss; 0 for none.
        label_smoothing: 0.1 makes the class targets 0.95 and 0.05.
    """

    box: float = 0.05
    obj: float = 1.0
    cls: float = 0.5
    obj_pw: float = 1.0
    cls_pw: float = 1.0
    anchor_t: float = 4.0
    fl_gamma: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            low, high = (1 if name == "anchor_t" else 0), (1 if name == "label_smoothing" else math.inf)
            if not low <= value < high:
                raise ValueError(f"hyp: {name} is {value:g}; it must be from {low} to below {high}.")

    @classmethod
    def from_hyp(cls, hyp: Mapping[str, float], *, classes: int, image_size: int) -> Gains:
        """The gains of a hyp.yaml, scaled as in YOLOv5: they are given for 80 classes, 640 pixels and 3 levels."""
        gains = cls(**{f.name: float(hyp[f.name]) for f in dataclasses.fields(cls) if f.name in hyp})
        return dataclasses.replace(gains, cls=gains.cls * classes / 80, obj=gains.obj * (image_size / 640) ** 2)


class Matches(NamedTuple):
    """Which cells and anchors of one level predict which label.

    Attributes:
        valid, row, column: ``[batch, 5 offsets, 3 anchors, T]``.
        box: ``[batch, 5, 3, T, 4]``, centre relative to the cell's corner and size, in cells.
        anchor: ``[batch, 5, 3, T, 2]``, in cells.
    """

    valid: jax.Array
    row: jax.Array
    column: jax.Array
    box: jax.Array
    anchor: jax.Array


def match(
    boxes: jax.Array, classes: jax.Array, anchors: np.ndarray, rows: int, columns: int, anchor_t: float = 4.0
) -> Matches:
    """Assign labels to the cells and anchors of one level: up to five cells and three anchors per label.

    Every test is strict, as in YOLOv5: ratio < `anchor_t`, fraction of a cell < 0.5, position > 1 cell.

    Args:
        boxes, classes: The labels.
        anchors: ``[3, 2]``, in cells of the level.
        rows, columns: Cells of the level.
        anchor_t: Largest ratio of a box to its anchor.
    """
    grid = jnp.asarray([columns, rows], boxes.dtype)
    # The barrier keeps XLA from turning the division by a constant into a product, which breaks exact ties.
    anchors = jax.lax.optimization_barrier(jnp.asarray(anchors, boxes.dtype))
    centre, size = boxes[..., :2] * grid, boxes[..., 2:] * grid  # [B, T, 2]

    ratio = size[:, None] / anchors[:, None]  # [B, 3, T, 2]
    fits = jnp.maximum(ratio, 1 / ratio).max(-1) < anchor_t  # [B, 3, T]
    fits &= (classes >= 0)[:, None]

    from_far = grid - centre
    near = (centre % 1 < 0.5) & (centre > 1)  # [B, T, (left, above)]
    far = (from_far % 1 < 0.5) & (from_far > 1)  # [B, T, (right, below)]
    chosen = jnp.stack([jnp.ones_like(near[..., 0]), *jnp.moveaxis(near, -1, 0), *jnp.moveaxis(far, -1, 0)], 1)
    valid = chosen[:, :, None] & fits[:, None]  # [B, 5, 3, T]

    cell = (centre[:, None] - jnp.asarray(OFFSETS, boxes.dtype)[:, None]).astype(jnp.int32)  # [B, 5, T, 2]
    cell = jnp.clip(cell, 0, jnp.asarray([columns - 1, rows - 1]))
    box = jnp.concatenate([centre[:, None] - cell, jnp.broadcast_to(size[:, None], cell.shape)], -1)

    shape = valid.shape
    return Matches(
        valid,
        jnp.broadcast_to(cell[:, :, None, :, 1], shape),
        jnp.broadcast_to(cell[:, :, None, :, 0], shape),
        jnp.broadcast_to(box[:, :, None], (*shape, 4)),
        jnp.broadcast_to(anchors[:, None], (*shape, 2)),
    )


def complete_iou(a: jax.Array, b: jax.Array, eps: float = 1e-7) -> jax.Array:
    """CIoU of boxes (centre, size): IoU minus the distance of the centres minus the difference in aspect ratio."""
    (a_xy, a_wh), (b_xy, b_wh) = jnp.split(a, 2, -1), jnp.split(b, 2, -1)
    a_low, a_high, b_low, b_high = a_xy - a_wh / 2, a_xy + a_wh / 2, b_xy - b_wh / 2, b_xy + b_wh / 2
    overlap = jax.nn.relu(jnp.minimum(a_high, b_high) - jnp.maximum(a_low, b_low)).prod(-1)
    iou = overlap / (a_wh.prod(-1) + b_wh.prod(-1) - overlap + eps)
    hull = jnp.maximum(a_high, b_high) - jnp.minimum(a_low, b_low)
    distance = jnp.square(a_xy - b_xy).sum(-1) / (jnp.square(hull).sum(-1) + eps)
    turn = jnp.arctan(b_wh[..., 0] / b_wh[..., 1]) - jnp.arctan(a_wh[..., 0] / a_wh[..., 1])
    v = 4 / math.pi**2 * jnp.square(turn)
    alpha = jax.lax.stop_gradient(v / (v - iou + (1 + eps)))
    return iou - (distance + v * alpha)


def cross_entropy(logits: jax.Array, target: jax.Array, positive_weight: float, gamma: float) -> jax.Array:
    """Binary cross entropy of each entry, with the focal factor if `gamma` is above 0."""
    weight = 1 + (positive_weight - 1) * target
    loss = (1 - target) * logits + weight * jax.nn.softplus(-logits)
    if gamma > 0:
        p = jax.nn.sigmoid(logits)
        hit = target * p + (1 - target) * (1 - p)
        alpha = target * 0.25 + (1 - target) * 0.75
        loss *= alpha * (1 - hit) ** gamma
    return loss


def last_in_each_cell(index: jax.Array, valid: jax.Array, value: jax.Array, cells: int) -> jax.Array:
    """``[cells]``: the value of the last valid entry in each cell, 0 where there is none.

    A maximum of positions and then a look-up: unlike a scatter of the values, it is deterministic on every device.
    """
    order = jnp.where(valid, jnp.arange(1, index.size + 1, dtype=jnp.int32), 0)
    last = jnp.zeros(cells, jnp.int32).at[index].max(order)
    return jnp.where(last > 0, value[last - 1], 0)


def level_loss(
    raw: jax.Array, boxes: jax.Array, classes: jax.Array, anchors: np.ndarray, gains: Gains
) -> tuple[jax.Array, jax.Array]:
    """The three unweighted parts (box, objectness, class) of one level, and its objectness target."""
    batch, _, rows, columns, entries = raw.shape
    matches = match(boxes, classes, anchors, rows, columns, gains.anchor_t)
    index = (jnp.arange(3)[:, None] * rows + matches.row) * columns + matches.column
    cells = 3 * rows * columns
    flat = lambda x, *tail: x.reshape(batch, -1, *tail)  # noqa: E731
    index, valid = flat(jnp.where(matches.valid, index, 0)), flat(matches.valid)
    count = jnp.maximum(valid.sum(), 1)
    mean = lambda x: jnp.where(valid, x, 0).sum() / count  # noqa: E731

    at = jax.vmap(lambda rows, where: rows[where])(flat(raw, entries), index)
    centre, size, _, logits = jnp.split(at, (2, 4, 5), -1)
    centre, size = 2 * jax.nn.sigmoid(centre) - 0.5, (2 * jax.nn.sigmoid(size)) ** 2 * flat(matches.anchor, 2)
    box = jnp.concatenate([centre, size], -1)
    # Padding has size 0, whose gradient is NaN; any other box will do, since it is masked out below.
    goal = jnp.where(valid[..., None], flat(matches.box, 4), 1)
    iou = complete_iou(box, goal)
    box_loss = mean(1 - iou)

    overlap = jax.lax.stop_gradient(jnp.maximum(iou, 0))
    objectness = jax.vmap(last_in_each_cell, (0, 0, 0, None))(index, valid, overlap, cells)
    obj_loss = cross_entropy(flat(raw, entries)[..., 4], objectness, gains.obj_pw, gains.fl_gamma).mean()

    class_loss = jnp.zeros_like(box_loss)
    if entries > 6:  # a single class has no class loss
        smooth = gains.label_smoothing / 2
        label = jnp.broadcast_to(classes[:, None, None], matches.valid.shape)
        hot = jax.nn.one_hot(flat(label), entries - 5, dtype=raw.dtype) * (1 - 2 * smooth) + smooth
        each = cross_entropy(logits, hot, gains.cls_pw, gains.fl_gamma)
        class_loss = mean(each.mean(-1))
    return jnp.stack([box_loss, obj_loss, class_loss]), objectness.reshape(batch, 3, rows, columns)


def detection_loss(
    raw: list[jax.Array], boxes: jax.Array, classes: jax.Array, anchors: Anchors, gains: Gains
) -> tuple[jax.Array, jax.Array]:
    """The loss of the batch (mean times batch size), and its weighted parts (box, objectness, class).

    Args:
        raw: The network's predictions, one array for each level.
        boxes: ``[batch, T, 4]``, centre and size as fractions of the image.
        classes: ``[batch, T]``, -1 for padding.
        anchors: The model's.
        gains: Weights of the parts.
    """
    raw = [level.astype(jnp.promote_types(level.dtype, jnp.float32)) for level in raw]
    if len(label_lengths(classes.shape[1])) == 1:
        return summed(weighted_parts(raw, boxes, classes, anchors, gains), raw)
    return branched_loss(raw, boxes, classes, anchors, gains)


def weighted_parts(
    raw: list[jax.Array], boxes: jax.Array, classes: jax.Array, anchors: Anchors, gains: Gains
) -> jax.Array:
    """The parts (box, objectness, class) of the loss, each with its weight."""
    weights = jnp.asarray([gains.box, gains.obj, gains.cls], raw[0].dtype)
    parts = jnp.zeros_like(weights)
    for prediction, sizes, stride, balance in zip(raw, anchors, STRIDES, BALANCE, strict=True):
        of_level, _ = level_loss(prediction, boxes, classes, np.array(sizes) / stride, gains)
        parts += of_level * jnp.asarray([1, balance, 1], parts.dtype)
    return parts * weights


def summed(parts: jax.Array, raw: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """The loss, and its parts."""
    return parts.sum() * raw[0].shape[0], parts


def label_lengths(most: int) -> list[int]:
    """The label lengths for which the loss has a branch, in rising order: `most`, a quarter of it, and so on.

    The cost of the loss is proportional to the length of the labels. Where one image of a data set has 700 boxes, most
    batches need a small part of that. Each batch takes the first branch that holds its labels; nothing is recompiled.
    """
    lengths = [most]
    while lengths[0] > 96:
        lengths.insert(0, -(-lengths[0] // 4))
    return lengths


def in_branches(f: Callable[..., Any], raw: list[jax.Array], boxes: jax.Array, classes: jax.Array) -> Any:
    """``f(raw, boxes, classes)`` with the shortest of `label_lengths` that holds all labels."""
    lengths = label_lengths(classes.shape[1])
    used = jnp.where(classes >= 0, jnp.arange(1, classes.shape[1] + 1), 0).max()
    which = (used > jnp.asarray(lengths[:-1])).sum()
    branches = [lambda raw, boxes, classes, n=n: f(raw, boxes[:, :n], classes[:, :n]) for n in lengths]
    return jax.lax.switch(which, branches, raw, boxes, classes)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def branched_loss(
    raw: list[jax.Array], boxes: jax.Array, classes: jax.Array, anchors: Anchors, gains: Gains
) -> tuple[jax.Array, jax.Array]:
    """The loss and its parts, which pass no gradient on.

    Each branch returns its gradient with its value. Otherwise every branch would hold the memory that the backward
    pass of every other one needs.
    """
    return summed(in_branches(partial(weighted_parts, anchors=anchors, gains=gains), raw, boxes, classes), raw)


def loss_and_gradient(
    raw: list[jax.Array], boxes: jax.Array, classes: jax.Array, anchors: Anchors, gains: Gains
) -> tuple[tuple[jax.Array, jax.Array], list[jax.Array]]:
    def f(raw: list[jax.Array], boxes: jax.Array, classes: jax.Array) -> tuple[jax.Array, jax.Array]:
        return summed(weighted_parts(raw, boxes, classes, anchors, gains), raw)

    return in_branches(jax.value_and_grad(f, has_aux=True), raw, boxes, classes)


def scaled(anchors: Anchors, gains: Gains, gradient: list[jax.Array], cotangents: Any) -> tuple[Any, None, None]:
    return jax.tree.map(lambda g: g * cotangents[0], gradient), None, None


branched_loss.defvjp(loss_and_gradient, scaled)
