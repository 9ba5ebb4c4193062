"""Which of many end points of a search are the same object."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

SAFETY = 1e3             # two roots are two if they lie further apart than so many times the bound of Newton's error


def components(points: np.ndarray, radius: np.ndarray | float, owner: np.ndarray | None = None) -> np.ndarray:
    """Label (n,) of the connected component of every point, where points nearer than the larger of their radii are joined.

    owner (n,) : points of one owner are one node, as the points of one cycle are. Cost O(n log n + edges).
    """
    n = len(points)
    if owner is None:
        owner = np.arange(n)
    if not n:
        return np.zeros(0, dtype=np.int64)
    radius = np.broadcast_to(radius, (n,))
    near = KDTree(points).query_ball_point(points, radius)
    left = np.repeat(owner, [len(found) for found in near])
    right = owner[np.concatenate([np.asarray(found, dtype=np.int64) for found in near])]
    m = int(owner.max()) + 1
    return connected_components(coo_matrix((np.ones(len(left), dtype=bool), (left, right)), shape=(m, m)), directed=False)[1]


def leaders(points: np.ndarray, radius: np.ndarray, quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Few points that stand for all, best ``quality`` (lowest) first, and how many each stands for: those within its radius.

    O(n) per leader, where the graph of n coincident points would have n^2 edges.
    """
    left = np.argsort(quality, kind="stable")
    chosen, counts = [], []
    while len(left):
        first = left[0]
        same = np.linalg.norm(points[left] - points[first], axis=-1) <= radius[first]
        same[0] = True
        chosen.append(first)
        counts.append(int(same.sum()))
        left = left[~same]
    return np.array(chosen, dtype=np.int64), np.array(counts, dtype=np.int64)


def distinct(points: np.ndarray, radius: np.ndarray, quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the best point of every component, and the hits of the component."""
    best, counts = leaders(points, radius, quality)
    label = components(points[best], radius[best])
    first = np.unique(label, return_index=True)[1]                                  # leaders come best first
    return best[first], np.bincount(label, weights=counts).astype(np.int64)


def whitening(states: np.ndarray) -> np.ndarray:
    """Matrix (M, M) that turns states into coordinates of unit variance; flat directions count a tenth of the widest."""
    centred = states - states.mean(0)
    _, s, Vt = np.linalg.svd(centred / np.sqrt(max(len(states) - 1, 1)), full_matrices=True)
    sd = np.zeros(states.shape[1])
    sd[: len(s)] = s
    widest = sd.max() or 1.0
    return Vt.T / np.maximum(sd, 0.1 * widest)
