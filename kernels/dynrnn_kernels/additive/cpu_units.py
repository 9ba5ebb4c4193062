"""Frames moved by J = A + W1 diag(phi') W2 through the units whose slope is not zero: few of them where phi is made of pieces.

Each lane has units of its own, so that it is taken alone, with ROWS vectors of its frame side by side. With n such units the k vectors go
through them, 2 k M n, or J is formed first where that is cheaper, M^2 (n + k).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.cpu_norms import lanes
from dynrnn_kernels.additive.tile import ROWS, product


@njit(cache=True, nogil=True)
def units_scratch(M, H, flat):
    """What ``move_by_units`` writes to: O(M H + M^2) numbers."""
    units, columns, rows, J = np.empty(H, np.int64), np.empty(M * H, flat.dtype), np.empty(M * H, flat.dtype), np.empty((M, M), flat.dtype)
    return units, columns, rows, lanes(H, flat), lanes(M, flat), lanes(M, flat), J


@njit(cache=True, nogil=True)
def by_lane(Q, k, M, out):
    """Q [k * M, ROWS], a row a coordinate of a vector of all lanes, as out [lane, group, M] rows of ROWS vectors of one lane, zeros after the last."""
    groups = (k + ROWS - 1) // ROWS
    for g in range(groups):
        n = min(ROWS, k - g * ROWS)
        for m in range(M):
            for c in range(n):
                for r in range(ROWS):
                    out[(r * groups + g) * M + m, c] = Q[(g * ROWS + c) * M + m, r]
            for c in range(n, ROWS):
                for r in range(ROWS):
                    out[(r * groups + g) * M + m, c] = 0


@njit(cache=True, nogil=True)
def by_coordinate(frames, k, M, out):
    """The inverse of ``by_lane``."""
    groups = (k + ROWS - 1) // ROWS
    for g in range(groups):
        for m in range(M):
            for c in range(min(ROWS, k - g * ROWS)):
                for r in range(ROWS):
                    out[(g * ROWS + c) * M + m, r] = frames[(r * groups + g) * M + m, c]


@njit(cache=True, nogil=True)
def jacobian_of(columns, rows, A, group, part, J):
    """J [M, M] = A + columns [M, n] rows [n, M]; group [n, ROWS] and part [M, ROWS] are scratch."""
    M, n = columns.shape
    for first in range(0, M, ROWS):
        width = min(ROWS, M - first)
        for i in range(n):
            for c in range(width):
                group[i, c] = rows[i, first + c]
            for c in range(width, ROWS):
                group[i, c] = 0
        product(columns, group, part)
        for m in range(M):
            for c in range(width):
                J[m, first + c] = part[m, c] + A[m, first + c]


@njit(cache=True, nogil=True)
def move_by_units(W1_turned, W2, A, diagonal, d, k, scratch, frames):
    """frames, as ``by_lane`` makes them, become J q: W1_turned and W2 [H, M], A [M, M] whether or not it is ``diagonal``, slopes d [H, ROWS]."""
    (H, M), groups = W2.shape, (k + ROWS - 1) // ROWS
    active, all_columns, all_rows, middle, part, rest, J = scratch
    for r in range(ROWS):
        n = 0
        for h in range(H):
            active[n] = h
            n += d[h, r] != 0                                                   # NaN is not
        columns, rows, group = all_columns[: M * n].reshape((M, n)), all_rows[: M * n].reshape((n, M)), middle[:n]
        for i in range(n):
            for m in range(M):
                columns[m, i] = W1_turned[active[i], m] * d[active[i], r]
            for m in range(M):
                rows[i, m] = W2[active[i], m]
        formed = n * (2 * k - M) > M * k
        if formed:
            jacobian_of(columns, rows, A, group, part, J)
        for g in range(groups):
            vectors = frames[(r * groups + g) * M : (r * groups + g + 1) * M]
            if formed:
                product(J, vectors, part)
                vectors[:] = part
                continue
            product(rows, vectors, group)
            product(columns, group, part)
            if diagonal:
                for m in range(M):
                    for c in range(ROWS):
                        vectors[m, c] = vectors[m, c] * A[m, m] + part[m, c]
                continue
            product(A, vectors, rest)
            for m in range(M):
                for c in range(ROWS):
                    vectors[m, c] = rest[m, c] + part[m, c]
