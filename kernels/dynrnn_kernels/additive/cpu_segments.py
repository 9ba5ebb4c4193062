"""Orbits with their frames, ROWS of them at once: how they come into lanes, what is done to them after an interval, and how they leave.

Whatever moves them; the arrays that hold all of them are those of ``tangent.carry``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.cpu_frames import orthonormalise, put_away
from dynrnn_kernels.additive.tile import ROWS


@njit(cache=True, nogil=True, error_model="numpy")
def renew_pair(z, other, Q, distance, growth):
    """growth [ROWS] *= how far the orbit beside has gone, in distances; it comes back to one distance. Two orbits that met go on apart, along q_1."""
    for r in range(ROWS):
        square = z.dtype.type(0)
        for m in range(z.shape[0]):
            square += (other[m, r] - z[m, r]) ** 2
        apart = np.sqrt(square)
        back, along = distance / apart, z.dtype.type(0)
        if apart == 0:
            back, along = z.dtype.type(0), distance
        growth[r] *= apart / distance
        for m in range(z.shape[0]):
            other[m, r] = z[m, r] + (back * (other[m, r] - z[m, r]) + along * Q[m, r])


@njit(cache=True, nogil=True)
def take_segments(f, first, n, z_all, Q_all, pair_all, X, Q):
    """States X [M or 2 M, ROWS], those beside them in the second half, and frames Q [k * M, ROWS] of n segments of fit f from ``first`` on; lanes past the
    last repeat the first."""
    M, k = z_all.shape[2], Q_all.shape[2]
    for r in range(ROWS):
        row = first + r if r < n else first
        for m in range(M):
            X[m, r] = z_all[f, row, m]
            if pair_all.shape[1] > 0:
                X[M + m, r] = pair_all[f, row, m]
            for j in range(k):
                Q[j * M + m, r] = Q_all[f, row, j, m]


@njit(cache=True, nogil=True)
def take_drive(f, first, n, u, t, drive):
    """drive [K, ROWS] = the inputs of step t; u [1 or F, 1 or S, n_steps, K]."""
    own = min(f, u.shape[0] - 1)
    for r in range(ROWS):
        row = min(first + r if r < n else first, u.shape[1] - 1)
        for i in range(drive.shape[0]):
            drive[i, r] = u[own, row, t, i]


@njit(cache=True, nogil=True)
def end_interval(t, X, Q, k, distance, work, growth, logs, ratio, failed):
    """After step t: the frame is made orthonormal, states that are not finite are noted in failed [n], and the orbits beside come back."""
    M = Q.shape[0] // k
    orthonormalise(Q, k, M, work, growth, logs, ratio)
    for r in range(failed.size):
        finite = True
        for m in range(M):
            finite &= np.isfinite(X[m, r])
        if not finite and failed[r] < 0:
            failed[r] = t
    if X.shape[0] > M:
        renew_pair(X[:M], X[M:], Q[:M], distance, growth[k])
        put_away(growth, logs, k)


@njit(cache=True, nogil=True)
def give_segments(f, first, n, X, Q, growth, logs, ratio, z_all, Q_all, pair_all, log_r, log_pair, widest):
    """The reverse of ``take_segments``, and the sums; growth and logs [k + 1, ROWS], the last row the pair's."""
    M, k = z_all.shape[2], Q_all.shape[2]
    for r in range(n):
        row = first + r
        for m in range(M):
            z_all[f, row, m] = X[m, r]
            if pair_all.shape[1] > 0:
                pair_all[f, row, m] = X[M + m, r]
            for j in range(k):
                Q_all[f, row, j, m] = Q[j * M + m, r]
        for j in range(k):
            log_r[f, row, j] += logs[j, r] + np.log(growth[j, r])
        widest[f, row] = max(widest[f, row], np.log(ratio[r]))
        if pair_all.shape[1] > 0:
            log_pair[f, row] += logs[k, r] + np.log(growth[k, r])
