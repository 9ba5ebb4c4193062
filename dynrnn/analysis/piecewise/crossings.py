"""Where two sets of plane segments cross: a sweep over their boxes, then a 2 x 2 system each."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

EDGE = 1e-12                                                          # of a segment: its ends belong to it


def crossings(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Pairs (i, j) of segments p [n, 2, 2] and q [m, 2, 2] that meet, the share of each at which they do, and how many near pairs are parallel.

    Cost O((n + m) log(n + m)) and the number of pairs whose extents in the first coordinate overlap.
    """
    p, q = np.ascontiguousarray(p), np.ascontiguousarray(q)
    order = np.argsort(np.concatenate([p[:, :, 0].min(1), q[:, :, 0].min(1)]), kind="stable")
    pairs, shares, parallel = _sweep(p, q, order)
    return pairs[:, 0], pairs[:, 1], shares[:, 0], shares[:, 1], int(parallel)


@njit(cache=True, nogil=True)
@no_type_check
def _sweep(p, q, order):
    n = len(p)
    active_p, active_q = np.empty(n, np.int64), np.empty(len(q), np.int64)
    n_p, n_q, found, parallel = 0, 0, 0, 0
    pairs, shares = np.empty((64, 2), np.int64), np.empty((64, 2))
    for event in order:
        first = event < n
        here = p[event] if first else q[event - n]
        left = min(here[0, 0], here[1, 0])
        low, high = min(here[0, 1], here[1, 1]), max(here[0, 1], here[1, 1])
        others, active, count = (q, active_q, n_q) if first else (p, active_p, n_p)
        i = 0
        while i < count:
            other = others[active[i]]
            if max(other[0, 0], other[1, 0]) < left:                  # ended before: the last one takes its place
                count -= 1
                active[i] = active[count]
                continue
            if max(other[0, 1], other[1, 1]) >= low and min(other[0, 1], other[1, 1]) <= high:
                a, b = (here, other) if first else (other, here)
                ux, uy = a[1, 0] - a[0, 0], a[1, 1] - a[0, 1]
                vx, vy = b[1, 0] - b[0, 0], b[1, 1] - b[0, 1]
                wx, wy = b[0, 0] - a[0, 0], b[0, 1] - a[0, 1]
                det = ux * vy - uy * vx
                if abs(det) <= 1e-14 * np.sqrt((ux * ux + uy * uy) * (vx * vx + vy * vy)):
                    parallel += 1
                else:
                    s, t = (wx * vy - wy * vx) / det, (wx * uy - wy * ux) / det
                    if -EDGE <= s <= 1 + EDGE and -EDGE <= t <= 1 + EDGE:
                        if found == len(pairs):
                            more, wide = np.empty((2 * found, 2), np.int64), np.empty((2 * found, 2))
                            more[:found], wide[:found] = pairs, shares
                            pairs, shares = more, wide
                        pairs[found, 0], pairs[found, 1] = (event, active[i]) if first else (active[i], event - n)
                        shares[found, 0], shares[found, 1] = s, t
                        found += 1
            i += 1
        if first:
            n_q = count
            active_p[n_p] = event
            n_p += 1
        else:
            n_p = count
            active_q[n_q] = event - n
            n_q += 1
    return pairs[:found], shares[:found], parallel
