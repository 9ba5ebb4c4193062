"""Cycles of one period by trial: solve a word's points, take the regions that they are in as the next word, until a word is its own.

Two maps of words are used in turn: the regions of the orbit that starts at the first point (Eisenmann, Monfared, Goering & Durstewitz 2023), and the regions of
all solved points, which is Newton's method on the whole cycle and does not lose long unstable ones to the orbit's expansion.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from dynrnn.analysis.piecewise.cycle_solver import arrays_of
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn_kernels.cycles.walk import walk_all


def walk_words(map: PiecewiseLinearMap, starts: Bool[np.ndarray, "n k H"]) -> tuple[Bool[np.ndarray, "n k H"], np.ndarray]:
    """Where every start leads: words, and solutions taken, negative where the walk ended at no cycle."""
    words, moves = np.array(starts, order="C"), np.zeros(len(starts), np.int64)
    walk_all(*arrays_of(map), words, moves)
    return words, moves


def random_starts(map: PiecewiseLinearMap, k: int, n: int, rng: np.random.Generator, states: Float[np.ndarray, "points M"]) -> Bool[np.ndarray, "n k H"]:
    """Half regions drawn one by one (their phases independent), half visited by free orbits; from ``states`` where there are any.

    Without states points are drawn around the switching planes, at scales from a tenth to a hundred times their distance.
    """
    M, H = map.latent_dim, map.n_units
    n_free = n // 2

    def points(*shape: int) -> np.ndarray:
        if len(states):
            return states[rng.integers(len(states), size=shape)]
        length = np.linalg.norm(map.W2, axis=1)
        distance = np.abs(map.h2[length > 0]) / length[length > 0]
        size = max(np.median(distance) if len(distance) else 0.0, np.abs(map.h1).max(), 1e-3)
        return rng.standard_normal((*shape, M)) * size * 10 ** rng.uniform(-1, 2, (*shape, 1))

    independent = H <= M and np.linalg.matrix_rank(map.W2) == H                     # then every word is some state's
    drawn = rng.random((n - n_free, k, H)) < 0.5 if independent else map.words(points(n - n_free, k))
    z, free = points(n_free), np.zeros((n_free, k, H), bool)
    skip = rng.integers(0, 4 * k + 1, n_free)                                       # steps before the word begins
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(5 * k + 1):
            here = (t >= skip) & (t < skip + k)
            free[here, (t - skip)[here]] = map.words(z[here])
            z = map.step(z)
            z = np.where(np.isfinite(z) & (np.abs(z) < 1e100), z, 0.0)
    order = rng.permutation(n)
    return np.concatenate([drawn, free])[order]
