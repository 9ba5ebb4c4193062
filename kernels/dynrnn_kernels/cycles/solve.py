"""The points of a cycle with a given word of regions.

They solve the block-cyclic system ``z[t+1] - J[t] z[t] = c[t]``, whose product of Jacobians is formed only while it stays small. Otherwise the
blocks are eliminated one by one with Householder reflections (structured QR for two-point problems; Ascher, Mattheij & Russell 1995, chapter 7), which
is stable however large or small the product's eigenvalues are. O(k M^3) either way.
"""

from __future__ import annotations

import numba as nb
import numpy as np

LARGEST_PRODUCT = 1e4                     # forward iteration then loses 4 digits of 16 at most
SINGULAR = 1e-13                          # ratio of pivots below which there is no isolated solution


@nb.njit(cache=True, nogil=True)
def reflect(B, n_pivots):
    """Householder triangularisation in place of the first columns, applied to all; returns smallest and largest pivot."""
    m, n = B.shape
    low, high = np.inf, 0.0
    v, w = np.empty(m), np.empty(n)
    for j in range(n_pivots):
        top = 0.0
        for i in range(j, m):
            top = max(top, abs(B[i, j]))
        if top == 0.0 or not np.isfinite(top):
            return 0.0, 1.0
        norm = 0.0
        for i in range(j, m):
            v[i] = B[i, j] / top
            norm += v[i] * v[i]
        alpha = -np.sqrt(norm) if v[j] > 0 else np.sqrt(norm)
        pivot = alpha * top
        low, high = min(low, abs(pivot)), max(high, abs(pivot))
        squared = norm - v[j] * alpha                     # half of |v - alpha e|^2
        v[j] -= alpha
        B[j, j] = pivot
        B[j + 1 :, j] = 0.0
        if squared == 0.0:
            continue
        w[j + 1 :] = 0.0
        for i in range(j, m):
            for q in range(j + 1, n):
                w[q] += v[i] * B[i, q]
        for i in range(j, m):
            s = v[i] / squared
            for q in range(j + 1, n):
                B[i, q] -= s * w[q]
    return low, high


@nb.njit(cache=True, nogil=True)
def back_substitute(R, b):
    """R x = b in place of b, R the upper triangle."""
    M = len(b)
    for i in range(M - 1, -1, -1):
        s = b[i]
        for j in range(i + 1, M):
            s -= R[i, j] * b[j]
        b[i] = s / R[i, i]


@nb.njit(cache=True, nogil=True)
def solve_product(J, c, z):
    """By (I - J[k-1]...J[0]) z[0] = d; returns the pivots' ratio, or -1 where the product grows too large."""
    k, M = c.shape
    P, d = np.eye(M), np.zeros(M)
    for t in range(k):
        P = J[t] @ P
        d = J[t] @ d + c[t]
        if not np.abs(P).max() <= LARGEST_PRODUCT:
            return -1.0
    B = np.empty((M, M + 1))
    B[:, :M] = np.eye(M) - P
    B[:, M] = d
    low, high = reflect(B, M)
    if low <= SINGULAR * max(high, 1.0):
        return 0.0
    z[0] = B[:, M]
    back_substitute(B, z[0])
    for t in range(k - 1):
        z[t + 1] = J[t] @ z[t] + c[t]
    return low / high


@nb.njit(cache=True, nogil=True)
def solve_blocks(J, c, z):
    """By elimination block after block; returns the pivots' ratio."""
    k, M = c.shape
    if k == 1:
        B = np.empty((M, M + 1))
        B[:, :M] = np.eye(M) - J[0]
        B[:, M] = c[0]
        low, high = reflect(B, M)
        if low <= SINGULAR * high:
            return 0.0
        z[0] = B[:, M]
        back_substitute(B, z[0])
        return low / high
    kept = np.empty((k, M, 3 * M + 1))                    # rows of z[t]: its triangle, then z[0], z[t+1] and the right side
    lowest, highest = np.inf, 0.0
    B = np.zeros((2 * M, 3 * M + 1))
    E, G, f = np.eye(M), -J[0], c[0].copy()               # E z[t] + G z[0] = f
    for t in range(1, k - 1):
        B[:] = 0.0
        B[:M, :M] = E
        B[:M, M : 2 * M] = G
        B[:M, 3 * M] = f
        B[M:, :M] = -J[t]
        B[M:, 2 * M : 3 * M] = np.eye(M)
        B[M:, 3 * M] = c[t]
        low, high = reflect(B, M)
        if low == 0.0:
            return 0.0
        lowest, highest = min(low, lowest), max(high, highest)
        kept[t] = B[:M]
        G, E, f = B[M:, M : 2 * M].copy(), B[M:, 2 * M : 3 * M].copy(), B[M:, 3 * M].copy()
    last = np.empty((2 * M, 2 * M + 1))
    last[:M, :M], last[M:, :M] = E, -J[k - 1]
    last[:M, M : 2 * M], last[M:, M : 2 * M] = G, np.eye(M)
    last[:M, 2 * M], last[M:, 2 * M] = f, c[k - 1]
    low, high = reflect(last, 2 * M)
    lowest, highest = min(low, lowest), max(high, highest)
    if lowest <= SINGULAR * highest:
        return 0.0
    ends = last[:, 2 * M].copy()
    back_substitute(last, ends)
    z[k - 1], z[0] = ends[:M], ends[M:]
    for t in range(k - 2, 0, -1):
        for i in range(M):
                z[t, i] = kept[t, i, 3 * M]
                for j in range(M):
                    z[t, i] -= kept[t, i, M + j] * z[0, j] + kept[t, i, 2 * M + j] * z[t + 1, j]
        back_substitute(kept[t], z[t])
    return lowest / highest


@nb.njit(cache=True, nogil=True)
def affine_pieces(A, W1, W2, h1, h2, word, J, c):
    """J and c of every phase."""
    M, H = W1.shape
    for t in range(len(word)):
        J[t] = A
        c[t] = h1
        for u in range(H):
            if word[t, u]:
                for i in range(M):
                    c[t, i] += W1[i, u] * h2[u]
                    for j in range(M):
                        J[t, i, j] += W1[i, u] * W2[u, j]


@nb.njit(cache=True, nogil=True)
def solve_all(A, W1, W2, h1, h2, words, refine, z, ratio):
    B, k, _ = words.shape
    M = len(h1)
    J, c, dz, r = np.empty((k, M, M)), np.empty((k, M)), np.empty((k, M)), np.empty((k, M))
    for b in range(B):
        affine_pieces(A, W1, W2, h1, h2, words[b], J, c)
        ratio[b] = solve_product(J, c, z[b]) if not refine else -1.0
        if ratio[b] == -1.0:
            ratio[b] = solve_blocks(J, c, z[b])
        if refine and ratio[b] > 0.0:
            for t in range(k):
                r[t] = J[t] @ z[b, t] + c[t] - z[b, (t + 1) % k]
            if solve_blocks(J, r, dz) > 0.0:
                z[b] += dz
