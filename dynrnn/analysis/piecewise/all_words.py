"""Every word of a map with few units, by one small linear system each.

With S = U (I - A)^-1 W1 and r the value that y takes where no unit is on, a fixed point solves y = S relu(y) + r, a linear complementarity
problem (Cottle, Pang & Stone 1992, The Linear Complementarity Problem). For a word with k units on this is k x k: y_on = S_on,on y_on + r_on; then
y_off follows. Cost O(2^H (H / 2)^3), memory O(H^2) and the fixed points.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from dynrnn.analysis.piecewise.candidates import Candidates
from dynrnn.analysis.piecewise.elimination import keep_nearest, solve_two
from dynrnn.analysis.piecewise.reduced import Reduced

LOOSE = 1e-8                              # of the state's size: how far on the wrong side a solution may lie to be looked at again in full
CHUNK = 2**17                             # words of one compiled call; Python hears an interrupt in between
ROOM = 4096                               # words kept by one call, which returns early when it is full


def n_words(n_units: int) -> int:
    return 2**n_units


def enumerate_words(reduced: Reduced, n_virtual: int = 0) -> Candidates:
    """Words of all fixed points, the nearest virtual ones, and the degree. Needs the reduced form (sign not 0) and at most 62 units."""
    H = reduced.n_units
    S = np.ascontiguousarray(reduced.U @ reduced.G)
    r, at_infinity = reduced.U @ reduced.g + reduced.o, reduced.U @ reduced.shift
    real, singular, possible = np.empty(ROOM, np.int64), np.empty(ROOM, np.int64), np.empty(ROOM, np.bool_)
    distance, virtual, hashes = np.full(n_virtual, np.inf), np.zeros(n_virtual, np.int64), np.zeros(n_virtual, np.int64)
    found = Candidates()
    total, start = n_words(H), 0
    while start < total and not found.full:
        counts = np.zeros(3, np.int64)                                              # real, singular, sum of signs at infinity
        start = _search(
            S, r, at_infinity, start, min(start + CHUNK, total), LOOSE, reduced.size, reduced.reach,
            real, singular, possible, distance, virtual, hashes, counts,
        )
        found.add(_bits(real[: counts[0]], H))
        found.add_singular(_bits(singular[: counts[1]], H), possible[: counts[1]])
        found.degree += int(counts[2]) * reduced.sign
    found.n_candidates = start
    found.set_virtual(_bits(virtual, H), distance)
    return found


def _bits(codes: np.ndarray, H: int) -> np.ndarray:
    return (codes[:, None] >> np.arange(H) & 1).astype(bool)


@njit(cache=True, nogil=True)
@no_type_check
def _search(S, r, at_infinity, start, stop, loose, size, reach, real, singular, possible, distance, virtual, hashes, counts):
    H = len(r)
    a, b = np.empty((H, H)), np.empty((H, 2))
    on, off = np.empty(H, np.int64), np.empty(H, np.int64)
    furthest = 0
    for code in range(start, stop):
        if counts[0] == len(real) or counts[1] == len(singular):
            return code
        k = 0
        for i in range(H):
            if code >> i & 1:
                on[k] = i
                k += 1
            else:
                off[i - k] = i
        for i in range(k):
            for j in range(k):
                a[i, j] = -S[on[i], on[j]]
            a[i, i] += 1.0
            b[i, 0] = r[on[i]]
            b[i, 1] = at_infinity[on[i]]
        sign, has_solution = solve_two(a, b, k)
        if sign == 0:
            singular[counts[1]], possible[counts[1]] = code, has_solution
            counts[1] += 1
            continue
        largest, worst = 0.0, 0.0
        for i in range(k):
            largest = max(largest, abs(b[i, 0]))
            worst = max(worst, -b[i, 0])
        near = loose * (size + (1.0 + reach) * largest)
        bound = near
        if len(distance) and distance[furthest] > near:
            bound = distance[furthest]
        for i in range(H - k):
            if worst > bound:
                break
            y = r[off[i]]
            for j in range(k):
                y += S[off[i], on[j]] * b[j, 0]
            worst = max(worst, y)
        if worst <= near:
            same = code                                                             # units at exactly 0 count as off: one word for a point on many planes
            for i in range(k):
                if b[i, 0] == 0.0:
                    same ^= 1 << on[i]
            if counts[0] == 0 or real[counts[0] - 1] != same:
                real[counts[0]] = same
                counts[0] += 1
        elif worst < bound:
            furthest = keep_nearest(distance, virtual, hashes, worst, code, code)
        worst = 0.0
        for i in range(k):
            worst = max(worst, -b[i, 1])
        for i in range(H - k):
            if worst > 0.0:
                break
            y = at_infinity[off[i]]
            for j in range(k):
                y += S[off[i], on[j]] * b[j, 1]
            worst = max(worst, y)
        if worst <= 0.0:
            counts[2] += sign
    return stop
