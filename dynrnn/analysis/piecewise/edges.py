"""Fixed points of all regions of an arrangement, edge by edge along its lines (arrangement.py)."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from dynrnn.analysis.piecewise.arrangement import PARALLEL, begin, lines
from dynrnn.analysis.piecewise.candidates import Candidates
from dynrnn.analysis.piecewise.elimination import keep_nearest, solve_two
from dynrnn.analysis.piecewise.reduced import Reduced

LOOSE = 1e-8                              # relative: how far on the wrong side a solution may lie to be looked at again in full


def enumerate_arrangement(reduced: Reduced, n_virtual: int = 0, draw: int = 0) -> Candidates:
    """Words of all fixed points that lie at least the planes' displacement inside their regions, the nearest virtual ones, and the degree.

    ``draw`` numbers the perturbation. Solutions are those of the planes as they are, never of the moved ones.
    """
    H, r = reduced.n_units, reduced.rank
    n = len(reduced.g)
    keys = np.random.default_rng(1).integers(1, 2**63 - 1, H)
    room = max(4096, 4 * (H + 2) * 2 ** (r - 1))
    real, singular, infinite = (np.empty((room, H), np.bool_) for _ in range(3))
    possible, signs = np.empty(room, np.bool_), np.empty(room, np.int64)
    distance, virtual, hashes = np.full(n_virtual, np.inf), np.zeros((n_virtual, H), np.bool_), np.zeros(n_virtual, np.int64)
    found, at_infinity = Candidates(), {}
    for tight, start, slope in lines(reduced, draw):
        at = 0
        while at < len(tight) and not found.full:
            counts = np.zeros(4, np.int64)                                          # real, singular, at infinity, candidates
            at = _walk(
                reduced.B0, reduced.G, reduced.U, reduced.o, reduced.g, reduced.shift, tight, start, slope, at,
                PARALLEL, LOOSE, reduced.size, reduced.reach, keys,
                real, singular, possible, infinite, signs, distance, virtual, hashes, counts, np.empty((n, n)), np.empty((n, 2)),
            )
            found.add(real[: counts[0]])
            found.add_singular(singular[: counts[1]], possible[: counts[1]])
            at_infinity |= {word.tobytes(): int(sign) for word, sign in zip(infinite[: counts[2]], signs)}
            found.n_candidates += int(counts[3])
    found.degree += sum(at_infinity.values()) * reduced.sign
    if reduced.sign == 0:
        found.degree = np.nan
    found.set_virtual(virtual, distance)
    return found


@njit(cache=True, nogil=True)
@no_type_check
def _flip(B, b, G, U, o, i, side, n):
    """Unit ``i`` goes on (side 1) or off (side -1)."""
    for p in range(n):
        for q in range(n):
            B[p, q] -= side * G[p, i] * U[i, q]
        b[p] += side * G[p, i] * o[i]


@njit(cache=True, nogil=True)
@no_type_check
def _walk(
    B0, G, U, o, g, shift, tight, start, slope, at, parallel, loose, state, reach, keys,
    real, singular, possible, infinite, signs, distance, virtual, hashes, counts, a, rhs,
):
    """Lines ``at``, at + 1, ... until the buffers might not hold another line; returns the next line."""
    n, H, n_tight = len(g), len(o), tight.shape[1]
    word, times, order = np.empty(H, np.bool_), np.empty(H), np.empty(H, np.int64)
    B, b, size = np.empty((n, n)), np.empty(n), np.empty(H)
    furthest = np.argmax(distance) if len(distance) else 0
    for i in range(H):
        size[i] = np.abs(U[i]).sum()
    for line in range(at, len(tight)):
        if max(counts[0], counts[1], counts[2]) + ((H + 1) << n_tight) > len(real):
            return line
        n_cross = begin(tight[line], start[line], slope[line], parallel, word, times, order)
        B[:], b[:], key = B0, g, 0
        for i in range(H):
            if word[i]:
                _flip(B, b, G, U, o, i, 1.0, n)
                key ^= keys[i]
        for edge in range(n_cross + 1):
            if edge:
                i = order[edge - 1]
                _flip(B, b, G, U, o, i, -1.0 if word[i] else 1.0, n)
                word[i] = not word[i]
                key ^= keys[i]
            for pattern in range(1 << n_tight):
                own = key
                for p in range(n):
                    for q in range(n):
                        a[p, q] = B[p, q]
                    rhs[p, 0], rhs[p, 1] = b[p], shift[p]
                for j in range(n_tight):
                    i = tight[line, j]
                    word[i] = pattern >> j & 1 == 1
                    if word[i]:
                        own ^= keys[i]
                        for p in range(n):
                            for q in range(n):
                                a[p, q] -= G[p, i] * U[i, q]
                            rhs[p, 0] += G[p, i] * o[i]
                counts[3] += 1
                sign, has_solution = solve_two(a, rhs, n)
                if sign == 0:
                    singular[counts[1]] = word
                    possible[counts[1]] = has_solution
                    counts[1] += 1
                    continue
                scale = 0.0
                for p in range(n):
                    scale = max(scale, abs(rhs[p, 0]))
                worst, real_one = 0.0, True
                for i in range(H):
                    y = o[i]
                    for p in range(n):
                        y += U[i, p] * rhs[p, 0]
                    beyond = -y if word[i] else y
                    if beyond > loose * (state + scale * (size[i] + reach) + abs(o[i])):
                        real_one = False
                        worst = max(worst, beyond)
                        if len(distance) == 0 or worst >= distance[furthest]:
                            break
                if real_one:
                    real[counts[0]] = word
                    for i in range(H):                                              # units at exactly 0 count as off: one word for a point on many planes
                        y = o[i]
                        for p in range(n):
                            y += U[i, p] * rhs[p, 0]
                        if y == 0.0:
                            real[counts[0], i] = False
                    counts[0] += 1
                elif len(distance) and worst < distance[furthest]:
                    furthest = keep_nearest(distance, virtual, hashes, worst, word, own)
                at_infinity = True
                for i in range(H):
                    y = 0.0
                    for p in range(n):
                        y += U[i, p] * rhs[p, 1]
                    if y > 0 if not word[i] else y < 0:
                        at_infinity = False
                        break
                if at_infinity:
                    infinite[counts[2]] = word
                    signs[counts[2]] = sign
                    counts[2] += 1
            for j in range(n_tight):
                word[tight[line, j]] = False
    return len(tight)
