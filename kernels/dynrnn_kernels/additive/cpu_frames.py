"""Frames of tangent vectors of ROWS states at once, made orthonormal: Gram-Schmidt, twice, which is enough (Giraud et al. 2005, Numer. Math. 101, 87).

A frame is [k * M, ROWS], vector j at rows j M to (j + 1) M. A vector that the others span, up to rounding, has length zero: the
direction is dead, its logarithm is -inf, and any vector orthogonal to those before it takes its place.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.lanes import add_multiple, dots, multiply
from dynrnn_kernels.additive.tile import ROWS

DEAD = 1e-13    # of the longest vector so far: what is left of a dependent one after rounding, with room for cancellation in W1 diag W2


@njit(cache=True, nogil=True)
def complete(Q, j, M, r):
    """Vector j of lane r becomes orthonormal to those before it: the first unit vector of which enough is left."""
    v, square = np.empty(M, Q.dtype), Q.dtype.type(0)
    for c in range(M):
        v[:] = 0
        v[c] = 1
        for _ in range(2):
            for i in range(j):
                along = Q.dtype.type(0)
                for m in range(M):
                    along += Q[i * M + m, r] * v[m]
                for m in range(M):
                    v[m] -= along * Q[i * M + m, r]
        square = Q.dtype.type(0)
        for m in range(M):
            square += v[m] * v[m]
        if square >= 0.5 * (M - j) / M:                                         # the mean over c is (M - j) / M
            break
    for m in range(M):
        Q[j * M + m, r] = v[m] / np.sqrt(square)


@njit(cache=True, nogil=True)
def orthonormalise(Q, k, M, work, log_r, spread):
    """Q [k * M, ROWS] in place; log_r [k, ROWS] += ln of the lengths, spread [ROWS] = ln of the longest over the shortest live one. work [k + 3, ROWS]."""
    coefficients, square, by = work[:k], work[k : k + 1], work[k + 1 : k + 2]
    longest, shortest = np.zeros(ROWS, Q.dtype), np.full(ROWS, np.inf, Q.dtype)
    for j in range(k):
        dots(Q, j * M, 0, 1, Q, j * M, M, square, 0, 1)
        before = np.sqrt(square[0])
        for _ in range(2):
            if j > 0:
                dots(Q, 0, M, 1, Q, j * M, M, coefficients, 0, j)
                for i in range(j):
                    for r in range(ROWS):
                        coefficients[i, r] = -coefficients[i, r]
                    add_multiple(coefficients, i, Q, i * M, Q, j * M, M)
        dots(Q, j * M, 0, 1, Q, j * M, M, square, 0, 1)
        for r in range(ROWS):
            length = np.sqrt(square[0, r])
            longest[r] = max(longest[r], length)
            if length <= DEAD * max(before[r], longest[r]):                     # not for NaN
                log_r[j, r] = -np.inf
                by[0, r] = 0
            else:
                log_r[j, r] += np.log(length)
                shortest[r] = min(shortest[r], length)
                by[0, r] = 1 / length
        multiply(Q, j * M, 1, by, Q, j * M, M)
        for r in range(ROWS):
            if by[0, r] == 0:
                complete(Q, j, M, r)
    for r in range(ROWS):
        spread[r] = np.log(longest[r] / shortest[r]) if shortest[r] <= longest[r] else 0
