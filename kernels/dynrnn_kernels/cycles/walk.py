"""From a word to the word of the regions that its solution is in, until a word is its own."""

from __future__ import annotations

import numba as nb
import numpy as np

from dynrnn_kernels.cycles.solve import affine_pieces, solve_blocks, solve_product

MOVES = 40                                # words tried from one start before the next


@nb.njit(cache=True, nogil=True)
def walk(A, W1, W2, h1, h2, word, newton, J, c, z):
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
def walk_all(A, W1, W2, h1, h2, words, moves):
    n, k, _ = words.shape
    M = len(h1)
    J, c, z = np.empty((k, M, M)), np.empty((k, M)), np.empty((k, M))
    for b in range(n):
        moves[b] = walk(A, W1, W2, h1, h2, words[b], b % 2 == 1, J, c, z)
