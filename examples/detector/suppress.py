"""From decoded predictions to detections: batched non-maximum suppression with fixed shapes."""

from __future__ import annotations

import jax
import jax.numpy as jnp

CONFIDENCE = 0.001  # detections above it count in evaluation
OVERLAP = 0.6  # boxes of one class that overlap by more count as one in evaluation
SHOWN = 0.25  # confidence from which a detection is drawn, and counted in the confusion matrix
SHOWN_OVERLAP = 0.45  # like `OVERLAP`, for the detections that a person sees
DETECTIONS = 300  # the most in an image
CANDIDATES = 1024  # (box, class) pairs of an image that suppression sees

Found = tuple[jax.Array, jax.Array, jax.Array]


def overlaps(a: jax.Array, b: jax.Array) -> jax.Array:
    """``[n, m]``: intersection over union of boxes given by their corners."""
    low = jnp.maximum(a[:, None, :2], b[None, :, :2])
    high = jnp.minimum(a[:, None, 2:], b[None, :, 2:])
    both = jnp.maximum(high - low, 0).prod(-1)
    area = lambda x: (x[:, 2:] - x[:, :2]).prod(-1)  # noqa: E731
    return both / (area(a)[:, None] + area(b)[None] - both + 1e-9)


def suppress(corners: jax.Array, overlap: float | jax.Array) -> jax.Array:
    """Which boxes greedy suppression keeps, given boxes in falling order of score.

    A box is kept if no kept box of a higher score overlaps it by more than `overlap`. Deciding for all boxes at once,
    and repeating until nothing changes, gives the same answer as the sequential loop within a few rounds.
    """
    n = corners.shape[0]
    hides = (overlaps(corners, corners) > overlap) & (jnp.arange(n)[:, None] < jnp.arange(n)[None])

    def decide(state):  # type: ignore[no-untyped-def]
        kept, _ = state
        new = ~(hides & kept[:, None]).any(0)
        return new, (new != kept).any()

    return jax.lax.while_loop(lambda s: s[1], decide, (jnp.ones(n, bool), jnp.asarray(True)))[0]


def detections(
    decoded: jax.Array,
    candidates: int = CANDIDATES,
    *,
    confidence: float | jax.Array = CONFIDENCE,
    overlap: float | jax.Array = OVERLAP,
    every_class: bool = True,
) -> Found:
    """Decoded predictions ``[batch, N, 5 + classes]`` to the detections of each image, best first.

    The defaults are those of YOLOv5's evaluation, except that suppression sees the best `candidates` pairs of box and
    class where YOLOv5 keeps up to 30,000.

    Args:
        decoded: What `model.decode` returns.
        candidates: Number of (box, class) pairs of an image that suppression sees.
        confidence: A detection's score is above it.
        overlap: Boxes of one class that overlap by more count as one.
        every_class: Every class of a box is a detection; otherwise only its best class.

    Returns:
        Corners ``[batch, D, 4]`` in pixels of the network's input, scores ``[batch, D]`` (0 where there is no
        detection), classes ``[batch, D]``.
    """

    def of_image(p: jax.Array) -> Found:
        classes = p.shape[1] - 5
        scores = p[:, 4:5] * p[:, 5:]
        if not every_class:
            scores = jnp.where(jnp.arange(classes) == scores.argmax(1)[:, None], scores, 0)
        scores = scores.reshape(-1)
        if not isinstance(scores.size, int) or scores.size < candidates:  # symbolic, or few
            scores = jnp.pad(scores, (0, candidates))
        best, where = jax.lax.top_k(scores, candidates)
        box, label = p[where // classes, :4], where % classes
        corners = jnp.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], -1)
        # Boxes of different classes never overlap if each class has a plane of its own.
        plane = label[:, None] * (corners.max() - corners.min() + 1)
        score = jnp.where(suppress(corners + plane, overlap) & (best > confidence), best, 0)
        kept, order = jax.lax.top_k(score, min(DETECTIONS, candidates))
        return corners[order], kept, label[order]

    return jax.vmap(of_image)(decoded)


def to_draw(
    decoded: jax.Array, confidence: float | jax.Array = SHOWN, overlap: float | jax.Array = SHOWN_OVERLAP
) -> Found:
    """The detections that a person is shown, as YOLOv5's detect.py chooses them: the best class of each box."""
    return detections(decoded, confidence=confidence, overlap=overlap, every_class=False)
