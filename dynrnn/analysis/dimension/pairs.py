"""Pairs of points closer than a radius, counted by block of either, without pairs that are close in time."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

NUMBERS = 2**22          # of distances held at once


def block_of(time: np.ndarray, n_blocks: int) -> np.ndarray:
    """Stretches of about equal numbers of points."""
    return np.arange(len(time)) * n_blocks // len(time)


def pair_counts(x: np.ndarray, time: np.ndarray, reference: np.ndarray, radii: np.ndarray, theiler: int, n_blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts [B, B, n] of pairs (reference point in block a, point in block b) within each radius, and of all such pairs [B, B].

    Pairs with ``|time_i - time_j| < theiler``, among them a point and itself, are left out (Theiler 1986, Phys. Rev. A 34, 2427). x [N, D]; time [N]
    whole, increasing;
    reference: indices. Maximum norm. Two trees a pair of blocks count; what lies within the window is counted off by its distances, O(R theiler). Nothing
        is held of size N^2.
    """
    block, R = block_of(time, n_blocks), len(reference)
    trees = [KDTree(x[block == b]) for b in range(n_blocks)]
    mine = block[reference]
    counts, total = np.zeros((n_blocks, n_blocks, len(radii))), np.zeros((n_blocks, n_blocks))
    sizes = np.bincount(block, minlength=n_blocks)
    for a in range(n_blocks):
        if not (mine == a).any():
            continue
        own = KDTree(x[reference[mine == a]])
        for b in range(n_blocks):
            counts[a, b] = own.count_neighbors(trees[b], radii, p=np.inf)
            total[a, b] = own.n * sizes[b]
    first, last = np.searchsorted(time, time[reference] - theiler, "right"), np.searchsorted(time, time[reference] + theiler, "left")
    widths = last - first
    chunk = max(1, NUMBERS // (max(1, int(widths.max())) * x.shape[1]))
    for start in range(0, R, chunk):
        stop = min(R, start + chunk)
        width = widths[start:stop]
        i = np.repeat(np.arange(start, stop), width)
        j = np.arange(width.sum()) - np.repeat(np.cumsum(width) - width, width) + np.repeat(first[start:stop], width)
        distance = np.abs(x[reference[i]] - x[j]).max(1)
        rank = np.searchsorted(radii, distance, "left")                          # the first radius that holds the pair
        near = np.zeros((n_blocks, n_blocks, len(radii) + 1))
        np.add.at(near, (mine[i], block[j], rank), 1.0)
        counts -= near[..., :-1].cumsum(-1)
        np.add.at(total, (mine[i], block[j]), -1.0)
    return counts, total


def correlation_sums(counts: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The correlation sum [n], and those without the pairs of one block each [B, n]; 0 where there is no pair."""
    rows, columns, both = counts.sum(1), counts.sum(0), counts[np.arange(len(counts)), np.arange(len(counts))]
    n_rows, n_columns, n_both = total.sum(1), total.sum(0), total.diagonal()
    left, n_left = counts.sum((0, 1)) - rows - columns + both, total.sum() - n_rows - n_columns + n_both
    return counts.sum((0, 1)) / total.sum(), np.clip(left, 0, None) / n_left[:, None]
