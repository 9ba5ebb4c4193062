"""Chains on a CPU: free orbits, and tangent vectors along them, for ROWS states of one fit at once.

A stage is what a step of the additive recurrence is (its cells and matrices are used here), on the state as the stages before it left it. A frame goes through
J = J_L ... J_1 vector by vector, without a Jacobian being formed: O(k times the numbers of all stages) a state and step. The tables of the stages lie below
each other (``stages.py``), so that one compiled function takes chains of any length.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from dynrnn_kernels.additive.cpu_cells import activate, add_scaled, add_to, basis_of, matrix, spread, unit_slopes
from dynrnn_kernels.additive.cpu_matrices import Matrix, multiply, stored
from dynrnn_kernels.additive.cpu_norms import lanes
from dynrnn_kernels.additive.cpu_segments import end_interval, give_segments, take_drive, take_segments
from dynrnn_kernels.additive.cpu_steps import OF_A, OF_W1, OF_W2, hidden_drive
from dynrnn_kernels.additive.cpu_tangent import move_by_vectors
from dynrnn_kernels.additive.layout import Layout
from dynrnn_kernels.additive.pattern import UNROLLED
from dynrnn_kernels.additive.tile import ROWS, product
from dynrnn_kernels.threads import in_threads


class Stage(NamedTuple):
    """One stage of one fit, and what a step works in: flat arrays are of [units * ROWS], the same of [units, ROWS] have two axes."""

    lay: Layout
    W1: Matrix
    W2: Matrix
    A: Matrix
    C: np.ndarray
    D: np.ndarray
    slope: np.ndarray
    threshold: np.ndarray
    a: np.ndarray           # flat, as are h1 and h2, for all lanes
    h1: np.ndarray
    h2: np.ndarray
    p: np.ndarray           # [H, ROWS], then phi, and both flat
    phi: np.ndarray
    p1: np.ndarray
    phi1: np.ndarray
    d1: np.ndarray          # flat slopes
    ring: np.ndarray


@njit(cache=True, nogil=True)
def stage_of(flat, lay):
    M, H, K = lay.M, lay.H, lay.K
    p, phi, d, h2, a, h1 = lanes(H, flat), lanes(H, flat), lanes(H, flat), lanes(H, flat), lanes(M, flat), lanes(M, flat)
    slope, threshold = basis_of(flat, lay)
    spread(flat[lay.a : lay.a + M], a)
    spread(flat[lay.h1 : lay.h1 + M], h1)
    h2[:] = 0
    if lay.h2 >= 0:
        spread(flat[lay.h2 : lay.h2 + H], h2)
    W1, W2, A = stored(flat, lay.W1, lay.pattern, OF_W1), stored(flat, lay.W2, lay.pattern, OF_W2), stored(flat, lay.A, lay.pattern, OF_A)
    C, D = matrix(flat, lay.C, M, K), matrix(flat, lay.D, H, K)
    ring = np.empty(lay.pattern[UNROLLED] * ROWS, flat.dtype)
    return Stage(
        lay, W1, W2, A, C, D, slope, threshold, a.reshape(a.size), h1.reshape(h1.size), h2.reshape(h2.size), p, phi, p.reshape(p.size), phi.reshape(phi.size),
        d.reshape(d.size), ring,
    )


@njit(cache=True, nogil=True)
def stages_of(flat, table, patterns):
    """All stages of one fit from its numbers, flat."""
    stages, end = [], 0
    for row in table:
        M, H, K, n_bases, phi, w2 = row[0], row[1], row[2], row[3], row[4], row[5]
        a, W1, h1, A, W2, h2 = row[6], row[7], row[8], row[9], row[10], row[11]
        C, D, slope, threshold, size = row[12], row[13], row[14], row[15], row[16]
        lay = Layout(M, H, K, n_bases, phi, w2, a, W1, h1, A, W2, h2, C, D, slope, threshold, size, patterns[row[17] : row[18]])
        stages.append(stage_of(flat[end : end + lay.size], lay))
        end += lay.size
    return stages


@njit(cache=True, nogil=True)
def move(stage, z, z1, drive, extra, extra1, after, after1):
    """after = the stage's image of z, both [M, ROWS] and flat; its p1 and phi1 are left as ``unit_slopes`` wants them. extra [M, ROWS] is scratch."""
    lay = stage.lay
    hidden_drive(lay.w2, stage.W2, stage.D, z, drive, stage.ring, stage.p)
    activate(lay.phi, stage.slope, stage.threshold, stage.p1, stage.h2, stage.phi1)
    multiply(stage.W1, stage.phi, stage.ring, after)
    add_scaled(stage.a, z1, stage.h1, after1)
    if lay.A >= 0:
        multiply(stage.A, z, stage.ring, extra)
        add_to(extra1, after1)
    if lay.C >= 0:
        product(stage.C, drive, extra)
        add_to(extra1, after1)


@njit(cache=True, nogil=True)
def orbit_chunk(f, first, flat, table, patterns, z_all, u, path):
    """``orbit_of_thread`` for ROWS orbits of one fit, from ``first`` on; lanes past the last repeat the first."""
    M, n = z_all.shape[2], min(ROWS, z_all.shape[1] - first)
    X, Y, extra, drive = lanes(M, flat), lanes(M, flat), lanes(M, flat), lanes(u.shape[3], flat)
    X1, Y1, extra1 = X.reshape(X.size), Y.reshape(Y.size), extra.reshape(extra.size)
    stages = stages_of(flat, table, patterns)
    for r in range(ROWS):
        for m in range(M):
            X[m, r] = z_all[f, first + r if r < n else first, m]
    for t in range(path.shape[2]):
        take_drive(f, first, n, u, t, drive)
        for stage in stages:
            move(stage, X, X1, drive, extra, extra1, Y, Y1)
            X, Y, X1, Y1 = Y, X, Y1, X1
        for r in range(n):
            for m in range(M):
                path[f, first + r, t, m] = X[m, r]


@njit(cache=True, nogil=True)
def orbit_of_thread(thread, n_threads, flats, table, patterns, z, u, path):
    """Every n_threads-th chunk of orbits: z [F, S, M], u [1 or F, 1 or S, n_steps, K], path [F, S, n_steps, M] the states after each step."""
    per_fit = (z.shape[1] + ROWS - 1) // ROWS
    for item in range(thread, z.shape[0] * per_fit, n_threads):
        f = item // per_fit
        orbit_chunk(f, item % per_fit * ROWS, flats[f], table, patterns, z, u, path)


def orbits(flats, table, patterns, z, u, path):
    """All orbits on threads; arrays are C-contiguous and of one dtype."""
    in_threads(orbit_of_thread, z.shape[0] * -(-z.shape[1] // ROWS), flats, table, patterns, z, u, path)


@njit(cache=True, nogil=True)
def tangent_chunk(f, first, flat, table, patterns, z_all, Q_all, pair_all, u, interval, distance, log_r, log_pair, widest, failed, path):
    """``tangent_of_thread`` for ROWS segments of one fit, from ``first`` on; lanes past the last repeat the first."""
    M, k, n_steps = z_all.shape[2], Q_all.shape[2], u.shape[2]
    n, states, size = min(ROWS, z_all.shape[1] - first), 2 if pair_all.shape[1] > 0 else 1, M * ROWS
    X, Y, Q, R, extra, drive = lanes(states * M, flat), lanes(states * M, flat), lanes(k * M, flat), lanes(k * M, flat), lanes(M, flat), lanes(u.shape[3], flat)
    X1, Y1, extra1 = X.reshape(X.size), Y.reshape(Y.size), extra.reshape(size)
    work, logs, growth = lanes(k + 5, flat), lanes(k + 1, flat), lanes(k + 1, flat)    # the last row is the pair's
    ratio, since = np.ones(ROWS, flat.dtype), 0
    stages = stages_of(flat, table, patterns)
    logs[:], growth[:] = 0, 1
    take_segments(f, first, n, z_all, Q_all, pair_all, X, Q)
    for t in range(n_steps):
        take_drive(f, first, n, u, t, drive)
        if path.shape[1] > 0 and first == 0:
            for m in range(M):
                path[f, t, m] = X[m, 0]
        for stage in stages:
            lay = stage.lay
            for i in range(states):                                             # the orbit, and the one beside it
                now, after = X[i * M : (i + 1) * M], Y[i * M : (i + 1) * M]
                move(stage, now, X1[i * size : (i + 1) * size], drive, extra, extra1, after, Y1[i * size : (i + 1) * size])
                if i == 0:
                    unit_slopes(lay.phi, stage.slope, stage.threshold, stage.p1, stage.h2, stage.phi1, stage.d1)
            move_by_vectors(lay, stage.W1, stage.W2, stage.D, stage.A, stage.a, stage.d1, Q, k, stage.ring, stage.p, extra, R)
            X, Y, X1, Y1, Q, R = Y, X, Y1, X1, R, Q
        since += 1
        if since < interval and t < n_steps - 1:
            continue
        since = 0
        end_interval(t, X, Q, k, distance, work, growth, logs, ratio, failed[f, first : first + n])
    give_segments(f, first, n, X, Q, growth, logs, ratio, z_all, Q_all, pair_all, log_r, log_pair, widest)


@njit(cache=True, nogil=True)
def tangent_of_thread(thread, n_threads, flats, table, patterns, z, Q, pair, u, interval, distance, log_r, log_pair, widest, failed, path):
    """Every n_threads-th chunk of segments; ``additive.tangent.carry`` says what the arrays are."""
    per_fit = (z.shape[1] + ROWS - 1) // ROWS
    for item in range(thread, z.shape[0] * per_fit, n_threads):
        f = item // per_fit
        tangent_chunk(
            f, item % per_fit * ROWS, flats[f], table, patterns, z, Q, pair, u, interval[f], distance[f], log_r, log_pair, widest, failed, path
        )


def carry(flats, table, patterns, z, Q, *arrays):
    """All fits and segments on threads; arrays are C-contiguous and of one dtype."""
    in_threads(tangent_of_thread, z.shape[0] * -(-z.shape[1] // ROWS), flats, table, patterns, z, Q, *arrays)
