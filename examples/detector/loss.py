"""YOLOv5's loss with fixed shapes: targets are padded, and what does not match is masked, never cut out.

Labels are ``boxes [batch, T, 4]`` (centre x, y, width, height as fractions of the image) and ``classes [batch, T]``,
padded with class -1. So one compiled program serves any number of boxes up to T to an image.
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

from examples.detector.model import ANCHORS, STRIDES

BALANCE = (4.0, 1.0, 0.4)  # what the objectness of strides 8, 16 and 32 weighs
OFFSETS = ((0, 0), (0.5, 0), (0, 0.5), (-0.5, 0), (0, -0.5))  # own cell; the neighbour left, above, right, below


@dataclasses.dataclass(frozen=True)
class Gains:
    """Weights and options of the loss, scaled for the number of classes and the size of the image.

    Attributes:
        box, obj, cls: weights of the three parts.
        obj_pw, cls_pw: weight of the positive entries in the two binary cross entropies.
        anchor_t: a box matches an anchor whose width and height are within this factor of its own.
        fl_gamma: exponent of the focal loss; 0 for none.
        label_smoothing: 0.1 makes class targets 0.95 and 0.05.
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
        """A hyp.yaml's gains, scaled as YOLOv5 scales them: to 80 classes, 640 pixels and 3 levels."""
        gains = cls(**{f.name: float(hyp[f.name]) for f in dataclasses.fields(cls) if f.name in hyp})
        return dataclasses.replace(gains, cls=gains.cls * classes / 80, obj=gains.obj * (image_size / 640) ** 2)


class Matches(NamedTuple):
    """Which cells of one level answer for which label; ``[batch, 5 offsets, 3 anchors, T]`` each."""

    valid: jax.Array
    row: jax.Array
    column: jax.Array
    box: jax.Array  # [..., 4]: centre from the cell's corner, size; in cells
    anchor: jax.Array  # [..., 2]: in cells


def match(boxes: jax.Array, classes: jax.Array, level: int, rows: int, columns: int, anchor_t: float = 4.0) -> Matches:
    """Labels to the cells and anchors of one level: up to five cells and three anchors to a label.

    Every test is strict, as in YOLOv5: ratio < `anchor_t`, fraction of a cell < 0.5, position > 1 cell.
    """
    grid = jnp.asarray([columns, rows], boxes.dtype)
    # The barrier keeps XLA from turning the division by a constant into a product, which breaks exact ties.
    anchors = jax.lax.optimization_barrier(jnp.asarray(np.array(ANCHORS[level]) / STRIDES[level], boxes.dtype))
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
    """CIoU of boxes (centre, size): overlap, less distance of the centres, less difference of the proportions."""
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
    """Binary cross entropy of each entry, with the focal factor where `gamma` is above 0."""
    weight = 1 + (positive_weight - 1) * target
    loss = (1 - target) * logits + weight * jax.nn.softplus(-logits)
    if gamma > 0:
        p = jax.nn.sigmoid(logits)
        hit = target * p + (1 - target) * (1 - p)
        alpha = target * 0.25 + (1 - target) * 0.75
        loss *= alpha * (1 - hit) ** gamma
    return loss


def last_in_each_cell(index: jax.Array, valid: jax.Array, value: jax.Array, cells: int) -> jax.Array:
    """``[cells]``: the value of the last valid entry that falls in each cell, 0 where none does.

    A maximum of positions and then a look-up: unlike writing the values, it has one answer on every device.
    """
    order = jnp.where(valid, jnp.arange(1, index.size + 1, dtype=jnp.int32), 0)
    last = jnp.zeros(cells, jnp.int32).at[index].max(order)
    return jnp.where(last > 0, value[last - 1], 0)


def level_loss(
    raw: jax.Array, boxes: jax.Array, classes: jax.Array, level: int, gains: Gains
) -> tuple[jax.Array, jax.Array]:
    """The three parts (box, objectness, class) of one level, unweighted, and its objectness target."""
    batch, _, rows, columns, entries = raw.shape
    matches = match(boxes, classes, level, rows, columns, gains.anchor_t)
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
    # Padding has no size; any box will do in its place, since it is masked out below.
    goal = jnp.where(valid[..., None], flat(matches.box, 4), 1)
    iou = complete_iou(box, goal)
    box_loss = mean(1 - iou)

    overlap = jax.lax.stop_gradient(jnp.maximum(iou, 0))
    objectness = jax.vmap(last_in_each_cell, (0, 0, 0, None))(index, valid, overlap, cells)
    obj_loss = cross_entropy(flat(raw, entries)[..., 4], objectness, gains.obj_pw, gains.fl_gamma).mean()

    class_loss = jnp.zeros_like(box_loss)
    if entries > 6:  # one class needs no class loss
        smooth = gains.label_smoothing / 2
        label = jnp.broadcast_to(classes[:, None, None], matches.valid.shape)
        hot = jax.nn.one_hot(flat(label), entries - 5, dtype=raw.dtype) * (1 - 2 * smooth) + smooth
        each = cross_entropy(logits, hot, gains.cls_pw, gains.fl_gamma)
        class_loss = mean(each.mean(-1))
    return jnp.stack([box_loss, obj_loss, class_loss]), objectness.reshape(batch, 3, rows, columns)


def detection_loss(
    raw: list[jax.Array], boxes: jax.Array, classes: jax.Array, gains: Gains
) -> tuple[jax.Array, jax.Array]:
    """The loss summed over the batch (mean times batch size), and its weighted parts (box, objectness, class).

    Args:
        raw: what the network gives, one array for each level.
        boxes: ``[batch, T, 4]``, centre and size as fractions of the image.
        classes: ``[batch, T]``, -1 for padding.
        gains: weights of the parts.
    """
    raw = [level.astype(jnp.promote_types(level.dtype, jnp.float32)) for level in raw]
    if len(label_lengths(classes.shape[1])) == 1:
        parts = weighted_parts(raw, boxes, classes, gains)
        return parts.sum() * raw[0].shape[0], parts
    return branched_loss(raw, boxes, classes, gains)


def label_lengths(most: int) -> list[int]:
    """The numbers of labels to an image for which the loss has a branch, in rising order: `most`, a quarter of it, ...

    The cost of the loss is proportional to the length of the labels. Where one image of a data set has 700 boxes, most
    batches need a small part of that, and each takes the first branch that holds its labels; nothing is compiled anew.
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


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def branched_loss(
    raw: list[jax.Array], boxes: jax.Array, classes: jax.Array, gains: Gains
) -> tuple[jax.Array, jax.Array]:
    """The loss and its parts; of the parts, no gradient. A branch gives its gradient along with its value: otherwise
    each would fill the memory that the backward pass of every other needs."""
    parts = in_branches(partial(weighted_parts, gains=gains), raw, boxes, classes)
    return parts.sum() * raw[0].shape[0], parts


def loss_and_gradient(
    raw: list[jax.Array], boxes: jax.Array, classes: jax.Array, gains: Gains
) -> tuple[tuple[jax.Array, jax.Array], list[jax.Array]]:
    def f(raw: list[jax.Array], boxes: jax.Array, classes: jax.Array) -> tuple[jax.Array, jax.Array]:
        parts = weighted_parts(raw, boxes, classes, gains)
        return parts.sum() * raw[0].shape[0], parts

    return in_branches(jax.value_and_grad(f, has_aux=True), raw, boxes, classes)


branched_loss.defvjp(
    loss_and_gradient, lambda gains, gradient, by: (jax.tree.map(lambda g: g * by[0], gradient), None, None)
)


def weighted_parts(raw: list[jax.Array], boxes: jax.Array, classes: jax.Array, gains: Gains) -> jax.Array:
    """The parts (box, objectness, class) of the loss, each with its weight."""
    weights = jnp.asarray([gains.box, gains.obj, gains.cls], raw[0].dtype)
    parts = jnp.zeros_like(weights)
    for level, (prediction, balance) in enumerate(zip(raw, BALANCE, strict=True)):
        of_level, _ = level_loss(prediction, boxes, classes, level, gains)
        parts += of_level * jnp.asarray([1, balance, 1], parts.dtype)
    return parts * weights
