"""How fast neighbours on an orbit move apart, on average over the orbit."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from dynrnn.analysis.dimension.points import embedded


def neighbours_of(x: np.ndarray, reference: np.ndarray, theiler: int, n_neighbours: int, horizon: int) -> np.ndarray:
    """Indices [R, n_neighbours] of the nearest points of x [N, D] that are at least ``theiler`` samples away in time and have ``horizon`` samples after
    them; -1 where fewer are known.

    Among the 2 theiler + n_neighbours nearest are n_neighbours that qualify. O(R (theiler + n_neighbours) log N).
    """
    usable = x[: len(x) - horizon]
    near = KDTree(usable).query(x[reference], k=min(len(usable), 2 * theiler + n_neighbours))[1].reshape(len(reference), -1)
    far = np.abs(near - reference[:, None]) >= theiler
    rank = np.where(far, far.cumsum(1), 0)
    out = np.full((len(reference), n_neighbours), -1)
    for j in range(n_neighbours):
        hit = rank == j + 1
        has = hit.any(1)
        out[has, j] = near[has, hit[has].argmax(1)]
    return out


def divergence(x: np.ndarray, reference: np.ndarray, near: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Mean ln distance [R, n] between each reference point and its neighbours, ``steps`` samples later; NaN where it has none, or all coincide."""
    out, known = np.full((len(reference), len(steps)), np.nan), near >= 0
    for i, k in enumerate(steps):
        distance = np.linalg.norm(x[reference + k][:, None] - x[near + k], axis=-1)
        counted = known & (distance > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(counted, np.log(distance), 0.0)
            out[:, i] = logs.sum(1) / counted.sum(1)
    return out


def block_means(values: np.ndarray, n_blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean over rows of values [R, n], and without each of ``n_blocks`` stretches of them [B, n]; NaN rows are left out."""
    sums, counts = (np.array([part.sum(0) for part in np.array_split(kind, n_blocks)]) for kind in (np.nan_to_num(values), np.isfinite(values).astype(float)))
    with np.errstate(invalid="ignore"):
        return sums.sum(0) / counts.sum(0), (sums.sum(0) - sums) / (counts.sum(0) - counts)


def false_neighbours(x: np.ndarray, delay: int, theiler: int, most: int, share: float = 0.01) -> int:
    """The smallest number of delays at which at most ``share`` of nearest neighbours are false (Kennel, Brown and Abarbanel 1992,
    Phys. Rev. A 45, 3403): their distance in the next delay is more than 10 times that in those before, or more than two standard
    deviations; ``most`` where there is none. x [N, C]."""
    size = float(x.std())
    for m in range(1, most):
        points = embedded(x, m, delay)[: len(x) - m * delay]
        reference = np.unique(np.linspace(0, len(points) - 1, min(1_000, len(points))).astype(int))
        near = neighbours_of(points, reference, theiler, 1, 0)[:, 0]
        reference, near = reference[near >= 0], near[near >= 0]
        now = np.linalg.norm(points[reference] - points[near], axis=1)
        more = np.linalg.norm(x[reference + m * delay] - x[near + m * delay], axis=1)
        if ((more > 10 * now) | (np.hypot(now, more) > 2 * size * np.sqrt(x.shape[1]))).mean() <= share:
            return m
    return most
