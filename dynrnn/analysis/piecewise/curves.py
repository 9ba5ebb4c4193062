"""From one fixed point to others: along the curve of fixed points that the map has when its biases move in one direction.

In a region, B x = b + mu w is a straight line x = p + mu d; at a switching plane one unit flips, which is a rank-1 change of B, and mu turns round where
det B changes sign, at a fold. Wherever the curve comes through mu = 0 it meets a fixed point of the map itself. (Katzenelson 1965, Bell
System Technical Journal 44, 1605; Eaves 1976, Mathematical Programming Study on piecewise-linear equations.)
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

MAX_STEPS = 500                           # planes crossed, in each of both directions
REFRESH = 50                              # crossings between two inversions from scratch


@njit(cache=True, nogil=True)
@no_type_check
def follow(B0, G, U, o, g, start, x, w, mu, direction, max_steps, met):
    """Follow the curve from ``x`` in region ``start`` (bits) at ``mu``, first with growing mu if ``direction`` is 1, with falling mu if it is -1.

    The words of fixed points go to ``met`` (n, H); returns how many. O(r^2 + r H) a crossing.
    """
    n, H = B0.shape[0], len(o)
    word, n_met, last = start.copy(), 0, -1
    inverse, p, d = np.empty((n, n)), np.empty(n), np.empty(n)
    for step in range(max_steps):
        if step % REFRESH == 0:
            B, b = B0.copy(), g.copy()
            for i in range(H):
                if word[i]:
                    for j in range(n):
                        b[j] += G[j, i] * o[i]
                        for k in range(n):
                            B[j, k] -= G[j, i] * U[i, k]
            if abs(np.linalg.det(B)) < 1e-200:
                return n_met
            inverse[:] = np.linalg.inv(B)
            p[:], d[:] = inverse @ b, inverse @ w
            if step == 0:
                off = p + mu * d - x                                                # the curve goes through x: a check
                if not np.abs(off).max() <= 1e-6 * (1.0 + np.abs(x).max()):
                    return n_met
        nearest, crossed = np.inf, -1
        for i in range(H):
            if i == last:
                continue
            y, rate = o[i], 0.0
            for j in range(n):
                y += U[i, j] * (p[j] + mu * d[j])
                rate += U[i, j] * d[j]
            rate *= direction
            if (rate < 0) == word[i] and rate != 0.0:
                ahead = max(0.0, (y if word[i] else -y) / abs(rate))
                if ahead < nearest:
                    nearest, crossed = ahead, i
        after = mu + direction * nearest
        if (mu < 0 and after >= 0) or (mu > 0 and after <= 0):
            if n_met == len(met):
                return n_met
            met[n_met] = word
            n_met += 1
        if crossed < 0:
            return n_met
        mu, last = after, crossed
        side = -1.0 if word[crossed] else 1.0
        k, row = np.zeros(n), np.zeros(n)
        value, rate = o[crossed], 0.0
        for i in range(n):
            for j in range(n):
                k[i] += inverse[i, j] * G[j, crossed]
                row[i] += U[crossed, j] * inverse[j, i]
            value += U[crossed, i] * p[i]
            rate += U[crossed, i] * d[i]
        ratio = 1.0                                                                 # of the determinants
        for i in range(n):
            ratio -= side * U[crossed, i] * k[i]
        if abs(ratio) < 1e-12:
            return n_met
        for i in range(n):
            p[i] += side * k[i] * value / ratio
            d[i] += side * k[i] * rate / ratio
            for j in range(n):
                inverse[i, j] += side * k[i] * row[j] / ratio
        word[crossed] = not word[crossed]
        if ratio < 0:
            direction = -direction
    return n_met
