"""Gaussian elimination of small systems inside compiled loops, which says when a system is singular and when it then has solutions."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PIVOT = 1e-11                             # of the largest entry: below it a pivot counts as zero, and the region is looked at again in full
MISMATCH = 1e-6                           # of the largest right side: a singular system whose rows disagree by more has no solution


@njit(cache=True, nogil=True)
@no_type_check
def solve_two(a, b, n):
    """Solve a x = b in place for the two columns of b; a (n, n), b (n, 2), leading parts of larger buffers, partial pivoting.

    Returns (sign of det, whether the first column can have a solution): the sign is 0 for a singular a, and b then holds no solution.
    """
    scale = 0.0
    size = 0.0
    for i in range(n):
        size = max(size, abs(b[i, 0]))
        for j in range(n):
            scale = max(scale, abs(a[i, j]))
    sign, row = 1, 0
    for col in range(n):
        best, at = 0.0, row
        for i in range(row, n):
            if abs(a[i, col]) > best:
                best, at = abs(a[i, col]), i
        if best <= PIVOT * scale:
            continue
        if at != row:
            sign = -sign
            for j in range(col, n):
                a[row, j], a[at, j] = a[at, j], a[row, j]
            b[row, 0], b[at, 0] = b[at, 0], b[row, 0]
            b[row, 1], b[at, 1] = b[at, 1], b[row, 1]
        if a[row, col] < 0:
            sign = -sign
        for i in range(row + 1, n):
            factor = a[i, col] / a[row, col]
            if factor != 0.0:
                for j in range(col + 1, n):
                    a[i, j] -= factor * a[row, j]
                b[i, 0] -= factor * b[row, 0]
                b[i, 1] -= factor * b[row, 1]
        row += 1
    if row < n:
        for i in range(row, n):
            if abs(b[i, 0]) > MISMATCH * size:
                return 0, False
        return 0, True
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            b[i, 0] -= a[i, j] * b[j, 0]
            b[i, 1] -= a[i, j] * b[j, 1]
        b[i, 0] /= a[i, i]
        b[i, 1] /= a[i, i]
    return sign, True


@njit(cache=True, nogil=True)
@no_type_check
def keep_nearest(distance, words, hashes, at, word, key):
    """Put a word at this distance among the nearest ones, unless it is there; distance (n,) starts as inf. ``at`` is where the furthest lies."""
    for i in range(len(distance)):
        if distance[i] < np.inf and hashes[i] == key:
            return np.argmax(distance)
    where = np.argmax(distance)
    distance[where] = at
    hashes[where] = key
    words[where] = word
    return np.argmax(distance)
