"""Frames of tangent vectors of ROWS states at once, made orthonormal: Gram-Schmidt, twice, which is enough (Giraud et al. 2005, Numer. Math. 101, 87).

A frame is [k * M, ROWS], vector j at rows j M to (j + 1) M. A vector that the others span, up to rounding, has length zero: the
direction is dead, its logarithm is -inf, and any vector orthogonal to those before it takes its place.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.lanes import dots, take_length, take_multiple
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
def usual_range(like):
    """Growths that are left to multiply: two of them have a product within the range of numbers, and so has its inverse."""
    high = np.sqrt(np.sqrt(np.finfo(like.dtype).max))
    return 1 / high, high


@njit(cache=True, nogil=True)
def put_away(growth, log_r, j):
    """Move the growth of vector j to log_r where it is about to leave the range of numbers, or is not a number."""
    low, high = usual_range(growth)
    for r in range(ROWS):
        if not low < growth[j, r] < high:
            log_r[j, r] += np.log(growth[j, r])
            growth[j, r] = 1


@njit(cache=True, nogil=True)
def take_one_by_one(Q, j, M, work, first, growth, log_r):
    """What ``take_length`` does to usual lanes, one by one, with vector j made a unit vector; vectors that died are replaced."""
    square, before, by, longest, shortest = work[first], work[first + 1], work[first + 2], work[first + 3], work[first + 4]
    low, high = usual_range(Q)
    for r in range(ROWS):
        length = np.sqrt(square[r])
        longest[r] = max(longest[r], length)
        if length <= DEAD * max(np.sqrt(before[r]), longest[r]):                # not for NaN
            log_r[j, r] = -np.inf
            complete(Q, j, M, r)
            continue
        shortest[r] = min(shortest[r], length)
        if low < length < high:
            growth[j, r] *= length
        else:
            log_r[j, r] += np.log(length)
        for m in range(M):
            Q[j * M + m, r] *= by[r]
    put_away(growth, log_r, j)


@njit(cache=True, nogil=True)
def orthonormalise(Q, k, M, work, growth, log_r, widest):
    """Q [k * M, ROWS] in place; growth [k, ROWS] *= the lengths, widest [ROWS] = the longest over the shortest live one, or as before if that was more.

    ln growth is moved to log_r [k, ROWS] where growth would leave the range of numbers, since a logarithm at every call takes longer than the rest.
    work [k + 5, ROWS].
    """
    low, high = usual_range(Q)
    work[k + 3], work[k + 4] = 0, np.inf                                        # the longest and the shortest
    for j in range(k):
        dots(Q, j * M, 0, 1, Q, j * M, M, work, k + 1, 1)
        for _ in range(2 if j > 0 else 0):
            dots(Q, 0, M, 1, Q, j * M, M, work, 0, j)
            for i in range(j):
                take_multiple(work, i, Q, i * M, Q, j * M, M)
        dots(Q, j * M, 0, 1, Q, j * M, M, work, k, 1)
        if take_length(work, k, growth, j, DEAD, low, high):
            dots(Q, j * M, 1, 0, work, k + 2, 1, Q, j * M, M)                   # times the inverse of its length
        else:
            take_one_by_one(Q, j, M, work, k, growth, log_r)
    longest, shortest = work[k + 3], work[k + 4]
    for r in range(ROWS):
        if shortest[r] <= longest[r]:
            widest[r] = max(widest[r], longest[r] / shortest[r])
