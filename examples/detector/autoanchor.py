"""Whether the anchors fit the boxes of a data set, and better ones where they do not, as in YOLOv5's AutoAnchor.

A box can be learned if an anchor is within a factor of `anchor_t` of its width and height; the best possible recall is
the share of such boxes.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import differential_evolution
from sklearn.cluster import KMeans

from examples.detector.data import Dataset
from examples.detector.model import Anchors

ENOUGH = 0.98  # the best possible recall from which anchors are kept
SMALLEST = 2.0  # pixels; YOLOv5 fits anchors to boxes at least as large


def box_sizes(dataset: Dataset, image_size: int) -> np.ndarray:
    """``[n, 2]``: width and height of all boxes in pixels of the network's input."""
    sizes = [
        boxes[:, 2:] * np.array(size) * (image_size / max(size))
        for boxes, size in zip(dataset.boxes, dataset.sizes, strict=True)
    ]
    return np.concatenate(sizes).astype(np.float64) if sizes else np.zeros((0, 2))


def fit(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """``[n, k]``: how well each anchor fits each box: 1 for equal, 1 / f where a side is off by a factor of f."""
    ratio = sizes[:, None] / anchors[None]
    return np.minimum(ratio, 1 / ratio).min(-1)


def best_possible_recall(sizes: np.ndarray, anchors: Anchors, anchor_t: float) -> float:
    """Share of the boxes that an anchor fits; 1 where there is no box."""
    best = fit(sizes, np.array(anchors, float).reshape(-1, 2)).max(1)
    return float((best > 1 / anchor_t).mean()) if len(best) else 1.0


def fitted_anchors(sizes: np.ndarray, anchor_t: float, seed: int = 0, count: int = 9, rounds: int = 30) -> Anchors:
    """Anchors for boxes of `sizes`: the centres of clusters, improved by evolution, from small to large.

    Args:
        sizes: ``[n, 2]``, width and height of boxes, in pixels.
        anchor_t: The largest factor between a box and its anchor.
        seed: Of the clustering and the evolution.
        count: Number of anchors, a multiple of 3.
        rounds: Generations of the evolution.

    Raises:
        ValueError: If there are fewer different sizes than anchors.
    """
    sizes = sizes[(sizes >= SMALLEST).any(1)]
    if len(np.unique(sizes, axis=0)) < count:
        raise ValueError(f"the boxes have fewer than {count} different sizes")
    few = sizes[np.random.default_rng(seed).permutation(len(sizes))[:2000]]
    spread = sizes.std(0) + 1e-9
    centres = KMeans(count, n_init=3, random_state=seed).fit(few / spread).cluster_centers_ * spread

    def unfit(flat: np.ndarray) -> float:  # YOLOv5's fitness: the mean fit of boxes that an anchor fits at all
        best = fit(few, flat.reshape(-1, 2)).max(1)
        return -float(np.where(best > 1 / anchor_t, best, 0).mean())

    bounds = [(max(1.0, v / 2), 2 * v + 1) for v in centres.ravel()]
    evolved = differential_evolution(
        unfit, bounds, x0=centres.ravel().clip(1), maxiter=rounds, popsize=5, rng=seed, polish=False
    )
    best = evolved.x.reshape(-1, 2)
    ordered = best[np.argsort(best.prod(1))].round(2).tolist()
    third = count // 3
    return tuple(tuple((w, h) for w, h in ordered[k * third : (k + 1) * third]) for k in range(3))


def suited(dataset: Dataset, anchors: Anchors, image_size: int, anchor_t: float, seed: int = 0) -> tuple[Anchors, str]:
    """`anchors` if they fit the data set, else better ones; and what was found, in words."""
    sizes = box_sizes(dataset, image_size)
    recall = best_possible_recall(sizes, anchors, anchor_t)
    if recall > ENOUGH:
        return anchors, f"anchors: best possible recall {recall:.4f}"
    try:
        new = fitted_anchors(sizes, anchor_t, seed)
    except ValueError as error:
        return anchors, f"anchors: best possible recall only {recall:.4f}; kept, since {error}"
    improved = best_possible_recall(sizes, new, anchor_t)
    if improved <= recall:
        return anchors, f"anchors: best possible recall only {recall:.4f}; kept, since none better were found"
    return new, f"anchors: fitted to the boxes, best possible recall {improved:.4f} (before: {recall:.4f})"
