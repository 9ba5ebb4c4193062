"""Cycles of one period by trial: solve a word's points, take the regions that they are in as the next word, until a word is its own.

Two maps of words are used in turn: the regions of the orbit that starts at the first point (Eisenmann, Monfared, Goering & Durstewitz 2023), and the regions of
all solved points, which is Newton's method on the whole cycle and does not lose long unstable ones to the orbit's expansion.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from jaxtyping import Bool, Float

from dynrnn.analysis.piecewise.cycle_solver import affine_pieces, arrays_of, solve_blocks, solve_product
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap

MOVES = 40                                # words tried from one start before the next


@nb.njit(cache=True, nogil=True)
def _walk(A, W1, W2, h1, h2, word, newton, J, c, z):
    """Moves ``word`` until it is a cycle's; returns the solutions it took, negative where it got stuck."""
    k, H = word.shape
    M = len(h1)
    x, y, onward = np.empty(M), np.empty(H), np.empty(M)
    for move in range(MOVES):
        affine_pieces(A, W1, W2, h1, h2, word, J, c)
        ratio = solve_product(J, c, z)
        if ratio == -1.0:
            ratio = solve_blocks(J, c, z)
        if ratio <= 0.0:
            return -(move + 1)
        real = True
        for t in range(k):
            for u in range(H):
                s = h2[u]
                for j in range(M):
                    s += W2[u, j] * z[t, j]
                real = real and (s > 0) == word[t, u]
                if newton:
                    word[t, u] = s > 0
        if real:
            return move + 1
        if newton:
            continue
        x[:] = z[0]
        for t in range(k):
            for u in range(H):
                y[u] = h2[u]
                for j in range(M):
                    y[u] += W2[u, j] * x[j]
                word[t, u] = y[u] > 0
            for i in range(M):
                onward[i] = h1[i]
                for j in range(M):
                    onward[i] += A[i, j] * x[j]
                for u in range(H):
                    if word[t, u]:
                        onward[i] += W1[i, u] * y[u]
            x[:] = onward
            if not np.isfinite(x.sum()):
                return -(move + 1)
    return -MOVES


@nb.njit(cache=True, nogil=True)
def _walk_all(A, W1, W2, h1, h2, words, moves):
    n, k, _ = words.shape
    M = len(h1)
    J, c, z = np.empty((k, M, M)), np.empty((k, M)), np.empty((k, M))
    for b in range(n):
        moves[b] = _walk(A, W1, W2, h1, h2, words[b], b % 2 == 1, J, c, z)


def walk_words(map: PiecewiseLinearMap, starts: Bool[np.ndarray, "n k H"]) -> tuple[Bool[np.ndarray, "n k H"], np.ndarray]:
    """Where every start leads: words, and solutions taken, negative where the walk ended at no cycle."""
    words, moves = np.array(starts, order="C"), np.zeros(len(starts), np.int64)
    _walk_all(*arrays_of(map), words, moves)
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


def n_unseen(hits: np.ndarray) -> float:
    """Objects of a search that were not hit, by how many were hit once and twice (Chao 1984, bias-corrected); hits (objects,).

    >>> n_unseen(np.array([1, 1, 1, 2, 5]))
    1.5
    """
    once, twice = (hits == 1).sum(), (hits == 2).sum()
    return float(once * (once - 1) / (2 * (twice + 1)))
