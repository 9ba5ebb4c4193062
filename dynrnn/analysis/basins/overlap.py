"""Attractors that are no cycles: whether an orbit has settled, and which orbits visit the same places.

Places are balls about visited states, as wide as the gaps that the orbit itself leaves: no grid, so that it works in any number of
dimensions in which the attractor itself is of few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

COVERED = 0.9            # share of an orbit's own states that the balls of its other half reach
SHARED = 0.5             # of another's states, both ways, beyond which two orbits are of one attractor: 0.9 are expected if so, 0 if not
N_SAMPLE = 256           # states that stand for an attractor
STEADY = 0.75            # of the union of two stretches' ranges that must be common


@dataclass(frozen=True)
class Wanderer:
    """An attractor by a sample of its states (n, M) and the radius within which of the others 0.9 find one; distances in units of ``scale`` (M,)."""

    sample: np.ndarray
    radius: float
    scale: np.ndarray

    def share(self, states: np.ndarray) -> float:
        """Of the states (n, M) that are within the radius."""
        apart, _ = KDTree(self.sample / self.scale).query(states / self.scale, distance_upper_bound=self.radius * (1 + 1e-9))
        return float(np.isfinite(apart).mean())


def ranges(states: np.ndarray) -> np.ndarray:
    """Between which values nearly all states lie, (..., 2, M), of stretches (..., n, M)."""
    return np.moveaxis(np.quantile(states, [0.02, 0.98], axis=-2), 0, -2)


def common(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Length that two ranges (..., 2, M) have in common over that of their union, summed over the coordinates: 1 for one and the same, 0 for apart."""
    both = np.minimum(one[..., 1, :], other[..., 1, :]) - np.maximum(one[..., 0, :], other[..., 0, :])
    union = np.maximum(one[..., 1, :], other[..., 1, :]) - np.minimum(one[..., 0, :], other[..., 0, :])
    return np.clip(both, 0, None).sum(-1) / np.maximum(union.sum(-1), 1e-300)


def steady(before: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Whether orbits have settled: their ranges (S, 2, M) of a time half as long ago and those of both halves of the stretch (S, n, M) now agree."""
    half = path.shape[1] // 2
    first, second = ranges(path[:, :half]), ranges(path[:, half:])
    return (common(first, second) >= STEADY) & (common(before, ranges(path)) >= STEADY)


def thinned(states: np.ndarray, n: int) -> np.ndarray:
    """At most n of the states (m, M), evenly spaced."""
    return states if len(states) <= n else states[np.linspace(0, len(states) - 1, n).round().astype(int)]


def _halves(states: np.ndarray, scale: np.ndarray) -> tuple[KDTree, np.ndarray, float]:
    """Balls about the first half, the second half, and the radius by which the one covers the other."""
    half = len(states) // 2
    first, second = states[:half] / scale, states[half:] / scale
    tree = KDTree(first)
    return tree, second, float(np.quantile(tree.query(second)[0], COVERED))


def _alike(one: tuple[KDTree, np.ndarray, float], other: tuple[KDTree, np.ndarray, float]) -> bool:
    there = np.isfinite(one[0].query(other[1], distance_upper_bound=one[2] * (1 + 1e-9) + 1e-12)[0]).mean()
    back = np.isfinite(other[0].query(one[1], distance_upper_bound=other[2] * (1 + 1e-9) + 1e-12)[0]).mean()
    return bool(min(there, back) >= SHARED)


def grouped(paths: np.ndarray) -> np.ndarray:
    """Number of the attractor of each of n settled stretches (n, n_steps, M), from 0 in the order of first appearance.

    Each is compared with the first one of every group so far, and groups once more with all their states together, which leave smaller gaps
    and know more than one orbit does. O(n n_groups n_steps ln n_steps).
    """
    n, n_steps, M = paths.shape
    scale = _scale(paths)
    halves = [_halves(path, scale) for path in paths]
    label, leaders = np.empty(n, dtype=int), []
    for i in range(n):
        own = next((g for g, leader in enumerate(leaders) if _alike(halves[leader], halves[i])), len(leaders))
        if own == len(leaders):
            leaders.append(i)
        label[i] = own
    if len(leaders) == 1:
        return label
    rng = np.random.default_rng(0)
    pooled = []
    for g in range(len(leaders)):
        states = paths[label == g].reshape(-1, M)
        pooled.append(_halves(states[rng.permutation(len(states))[: 4 * n_steps]], scale))
    pairs = [(a, b) for a in range(len(pooled)) for b in range(a) if _alike(pooled[a], pooled[b]) or _alike(halves[leaders[a]], pooled[b])]
    if pairs:
        rows, columns = np.array(pairs).T
        joined = connected_components(coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(pooled), len(pooled))), directed=False)[1]
        label = joined[label]
    order = {g: i for i, g in enumerate(dict.fromkeys(label.tolist()))}
    return np.array([order[g] for g in label.tolist()])


def _scale(paths: np.ndarray) -> np.ndarray:
    spread = paths.reshape(-1, paths.shape[-1]).std(0)
    return np.where(spread > 1e-9 * spread.max(), spread, max(float(spread.max()), 1e-300))


def wanderer(paths: np.ndarray, rng: np.random.Generator) -> Wanderer:
    """A group's sample and radius, from its members' stretches (n, n_steps, M)."""
    states = paths.reshape(-1, paths.shape[-1])
    order = rng.permutation(len(states))
    sample, rest = states[order[:N_SAMPLE]], states[order[N_SAMPLE : 5 * N_SAMPLE]]
    scale = _scale(paths)
    if not len(rest):
        sample, rest = states[order[: len(states) // 2]], states[order[len(states) // 2 :]]
    radius = float(np.quantile(KDTree(sample / scale).query(rest / scale)[0], COVERED))
    return Wanderer(sample, radius, scale)
